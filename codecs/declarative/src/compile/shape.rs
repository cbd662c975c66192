//! The shape of a variant: its first bytes, its length, its sections, its trailer.

use super::{Compiler, reader};
use crate::description::{self, ByteOrder, Checksum, Counts};
use crate::entries::Format;
use crate::intern::intern;
use crate::number::{Form, Number, all_bits};
use crate::plan::{
    Ending, Entries, Extent, Field, Length, MAX_SECTIONS, Pattern, Section, Trailer, Variant,
};
use crate::scalar::hex;

/// No protocol needs more bytes than this for its detection.
const MAX_PATTERN_END: usize = 64;
/// A fixed header of a protocol has some tens of bytes. A larger value in a description is a
/// mistake.
const MAX_HEADER: u32 = 1024;

impl<'d> Compiler<'d> {
    pub(super) fn shape(
        &mut self,
        at: usize,
        variant: &'d description::Variant,
        line: bool,
    ) -> Variant {
        let path = format!("variants[{at}]");
        if line {
            self.no_header(&path, variant);
        } else {
            match variant.header_length {
                None | Some(0) => {
                    let problem = "messages without a delimiter have a header";
                    let remedy =
                        "give the length of the fixed header in bytes, or describe a `delimiter`";
                    self.problems
                        .add(format!("{path}.headerLength"), "missing", problem, remedy);
                }
                Some(length) if length > MAX_HEADER => {
                    let problem = format!("it is over {MAX_HEADER}");
                    self.problems.add(
                        format!("{path}.headerLength"),
                        length,
                        problem,
                        "correct it",
                    );
                }
                Some(_) => {}
            }
        }
        let header = variant.header_length.unwrap_or(0).min(MAX_HEADER) as usize;
        Variant {
            side: variant.from.map(reader),
            magic: self.patterns(&format!("{path}.magic"), &variant.magic, header),
            detect: self.patterns(&format!("{path}.detect"), &variant.detect, header),
            header,
            rules: Box::default(),
            rules_end: 0,
            length: self.length(
                &format!("{path}.length"),
                at,
                variant.length.as_ref(),
                header,
            ),
            trailer: variant
                .trailer
                .as_ref()
                .and_then(|trailer| self.trailer(&path, at, trailer)),
            id: None,
            timeout: None,
            status: None,
            sections: self.sections(&path, at, &variant.sections),
            needed: 0,
            streams: !line,
            keys: Box::default(),
            open: None,
        }
    }

    /// Reports the properties that only messages with a header can have.
    fn no_header(&mut self, path: &str, variant: &description::Variant) {
        let fields = [
            ("magic", !variant.magic.is_empty()),
            ("detect", !variant.detect.is_empty()),
            ("headerLength", variant.header_length.is_some()),
            ("length", variant.length.is_some()),
            ("sections", !variant.sections.is_empty()),
            ("trailer", variant.trailer.is_some()),
        ];
        for (name, _) in fields.into_iter().filter(|(_, there)| *there) {
            let problem = "a delimited message does not have it";
            self.problems.add(
                format!("{path}.{name}"),
                "given",
                problem,
                "leave it out, or the `delimiter`",
            );
        }
    }

    fn patterns(
        &mut self,
        path: &str,
        patterns: &[description::Pattern],
        header: usize,
    ) -> Box<[Pattern]> {
        let mut all = Vec::new();
        for (at, pattern) in patterns.iter().enumerate() {
            let path = format!("{path}[{at}]");
            let mut any: Vec<Box<[u8]>> = Vec::new();
            for text in &pattern.bytes.0 {
                match hex(text) {
                    Some(bytes) => any.push(bytes.into()),
                    None => {
                        let remedy = "write pairs of hexadecimal digits: \"da bb\"";
                        self.problems.add(
                            format!("{path}.bytes"),
                            text,
                            "it is not hexadecimal",
                            remedy,
                        );
                    }
                }
            }
            any.extend(pattern.text.0.iter().map(|text| text.as_bytes().into()));
            let length = any.first().map_or(0, |first| first.len());
            if any.is_empty() || length == 0 || any.iter().any(|bytes| bytes.len() != length) {
                let problem = "it needs one or several alternatives of one length, not empty";
                self.problems
                    .add(&path, any.len(), problem, "give `bytes` or `text`");
                continue;
            }
            let end = pattern.offset as usize + length;
            if end > header.min(MAX_PATTERN_END) {
                let problem = format!(
                    "it ends at byte {end}, outside the header of {header} bytes or past {MAX_PATTERN_END}"
                );
                self.problems.add(
                    format!("{path}.offset"),
                    pattern.offset,
                    problem,
                    "correct it",
                );
                continue;
            }
            all.push(Pattern {
                at: pattern.offset as usize,
                any: any.into(),
            });
        }
        all.into()
    }

    /// Compiles a field that contains a length.
    fn length_field(
        &mut self,
        path: &str,
        at: usize,
        name: &str,
    ) -> Option<(Number, &'static str)> {
        match self.fields.get(at).and_then(|fields| fields.get(name)) {
            Some(Field::Number(number)) => Some((*number, intern(name))),
            Some(_) => {
                self.problems
                    .add(path, name, "the field is text", "use a field with a number");
                None
            }
            None => {
                let known = self
                    .fields
                    .get(at)
                    .map(|fields| fields.keys().copied().collect::<Vec<_>>());
                let remedy = format!(
                    "use one of its fields: {}",
                    known.unwrap_or_default().join(", ")
                );
                self.problems
                    .add(path, name, "the variant has no such field", remedy);
                None
            }
        }
    }

    fn length(
        &mut self,
        path: &str,
        at: usize,
        length: Option<&description::Length>,
        header: usize,
    ) -> Length {
        let Some(length) = length else {
            return Length::Header;
        };
        let header = i64::try_from(header).unwrap_or(i64::MAX);
        if length.adjust.unsigned_abs() > 1 << 32 {
            self.problems.add(
                format!("{path}.adjust"),
                length.adjust,
                "it is over 4 GiB",
                "correct it",
            );
            return Length::Header;
        }
        match (&length.total, length.sum.is_empty()) {
            (None, false) => {
                let names = length.sum.iter().enumerate();
                let fields: Vec<_> = names
                    .filter_map(|(n, name)| {
                        self.length_field(&format!("{path}.sum[{n}]"), at, name)
                    })
                    .collect();
                Length::Sum {
                    fields: fields.into(),
                    base: header.saturating_add(length.adjust),
                }
            }
            (Some(name), true) => {
                let Some((field, name)) = self.length_field(&format!("{path}.total"), at, name)
                else {
                    return Length::Header;
                };
                let base = match length.counts {
                    Counts::Message => 0,
                    Counts::AfterField => i64::try_from(field.end()).unwrap_or(i64::MAX),
                    Counts::AfterHeader | Counts::Body => header,
                };
                Length::Total {
                    field,
                    name,
                    base: base.saturating_add(length.adjust),
                    counts_trailer: length.counts != Counts::Body,
                }
            }
            _ => {
                self.problems.add(
                    path,
                    "?",
                    "one of `sum` and `total` must give the length",
                    "give exactly one",
                );
                Length::Header
            }
        }
    }

    fn trailer(
        &mut self,
        path: &str,
        at: usize,
        trailer: &description::Trailer,
    ) -> Option<Trailer> {
        let when = self.when(&format!("{path}.trailer.when"), at, &trailer.when);
        let what = match (&trailer.bytes, trailer.checksum) {
            (Some(text), None) => match hex(text) {
                Some(bytes) => Ending::Bytes(bytes.into()),
                None => {
                    let remedy = "write pairs of hexadecimal digits: \"0d 0a\"";
                    self.problems.add(
                        format!("{path}.trailer.bytes"),
                        text,
                        "it is not hexadecimal",
                        remedy,
                    );
                    return None;
                }
            },
            (None, Some(Checksum::Crc32)) => Ending::Crc32(self.prefix(4, None)),
            _ => {
                let problem = "one of `bytes` and `checksum` must be set";
                self.problems
                    .add(format!("{path}.trailer"), "?", problem, "give exactly one");
                return None;
            }
        };
        Some(Trailer { when, what })
    }

    fn prefix(&self, size: u32, order: Option<ByteOrder>) -> Number {
        let size = size as usize;
        let form = match order.unwrap_or(self.all.byte_order) {
            ByteOrder::Big => Form::Big,
            ByteOrder::Little => Form::Little,
        };
        Number {
            at: 0,
            size,
            form,
            signed: false,
            mask: all_bits(size),
        }
    }

    fn size(&mut self, path: String, size: u32, allowed: &[u32]) -> bool {
        if allowed.contains(&size) {
            return true;
        }
        let problem = format!("the sizes are {allowed:?}");
        self.problems.add(path, size, problem, "correct it");
        false
    }

    fn sections(
        &mut self,
        path: &str,
        at: usize,
        sections: &[description::Section],
    ) -> Box<[Section]> {
        if sections.len() > MAX_SECTIONS {
            let problem = format!("there are more than {MAX_SECTIONS}");
            let remedy = "leave out the last ones: undescribed bytes are payload";
            self.problems
                .add(format!("{path}.sections"), sections.len(), problem, remedy);
        }
        let mut all = Vec::new();
        for (n, section) in sections.iter().take(MAX_SECTIONS).enumerate() {
            let path = format!("{path}.sections[{n}]");
            if sections
                .iter()
                .take(n)
                .any(|other| other.name == section.name)
            {
                let problem = "the name is used twice";
                self.problems
                    .add(format!("{path}.name"), &section.name, problem, "rename one");
            }
            let when = self.when(&format!("{path}.when"), at, &section.when);
            let entries = section
                .entries
                .as_ref()
                .and_then(|entries| self.entries(&path, entries));
            let counted = entries.is_some_and(|entries| entries.count.is_some());
            let extent = match (&section.length, section.prefix) {
                (Some(name), None) => {
                    let field = self.length_field(&format!("{path}.length"), at, name);
                    field.map_or(Extent::Rest, |(number, _)| Extent::Field(number))
                }
                (None, Some(size)) => {
                    self.size(format!("{path}.prefix"), size, &[1, 2, 4, 8]);
                    Extent::Prefix(self.prefix(size.clamp(1, 8), None))
                }
                (None, None) if counted => Extent::Counted,
                (None, None) if n + 1 == sections.len() => Extent::Rest,
                (None, None) => {
                    let problem = "its end is not defined, and it is not the last";
                    self.problems.add(
                        &path,
                        &section.name,
                        problem,
                        "give `length`, `prefix` or `entries.count`",
                    );
                    Extent::Rest
                }
                (Some(_), Some(_)) => {
                    let problem = "both `length` and `prefix` give its length";
                    self.problems
                        .add(&path, &section.name, problem, "leave out one");
                    Extent::Rest
                }
            };
            all.push(Section {
                name: intern(&section.name),
                when,
                extent,
                entries,
            });
        }
        all.into()
    }

    fn entries(&mut self, path: &str, entries: &description::Entries) -> Option<Entries> {
        let path = format!("{path}.entries");
        let key = self.size(format!("{path}.keyLength"), entries.key_length, &[1, 2, 4]);
        let value = self.size(
            format!("{path}.valueLength"),
            entries.value_length,
            &[1, 2, 4],
        );
        let count = entries.count;
        let count_good =
            count.is_none_or(|size| self.size(format!("{path}.count"), size, &[1, 2, 4]));
        if !(key && value && count_good) {
            return None;
        }
        let little = entries.byte_order.unwrap_or(self.all.byte_order) == ByteOrder::Little;
        let small = |size: u32| u8::try_from(size).unwrap_or(0);
        let format = Format {
            key: small(entries.key_length),
            value: small(entries.value_length),
            little,
        };
        Some(Entries {
            format,
            count: count.map(|size| self.prefix(size, entries.byte_order)),
        })
    }
}
