//! A compiled description: offsets and tables for decoding. It contains no names to look up.
//!
//! Only `compile` creates it, after all checks. A read from it cannot fail; it can only find no
//! value.

mod field;

use meltemi_frame::{Fault, Interest, KeyId, Kind, Reason, Safety, Side, Spec, Violation, Walk};

use crate::entries::Format;
use crate::number::Number;

pub(crate) use field::{Field, Test, View, all_pass};

/// The maximum number of sections after the header.
pub(crate) const MAX_SECTIONS: usize = 8;
/// The maximum number of words of a delimited message.
pub(crate) const MAX_WORDS: usize = 16;

/// A whole protocol.
#[derive(Debug)]
pub(crate) struct Plan {
    pub name: &'static str,
    pub spec: Spec,
    pub line: Option<Line>,
    pub max_length: u64,
    pub variants: Box<[Variant]>,
    pub failure: Box<[Template]>,
    pub ping: Box<[Template]>,
    pub pong: Box<[Template]>,
    pub go_away: Box<[Template]>,
    /// The number of bytes at the front of a request that a receipt must store, for replies that
    /// copy fields.
    pub keep: usize,
}

/// Messages that end with a delimiter.
#[derive(Debug)]
pub(crate) struct Line {
    pub end: Box<[u8]>,
    pub separator: u8,
}

/// One shape of a message.
#[derive(Debug)]
pub(crate) struct Variant {
    /// The side that reads it; `None`: both.
    pub side: Option<Side>,
    pub magic: Box<[Pattern]>,
    pub detect: Box<[Pattern]>,
    pub header: usize,
    pub rules: Box<[Rule]>,
    /// The number of bytes that the rules inspect.
    pub rules_end: usize,
    pub length: Length,
    pub trailer: Option<Trailer>,
    pub id: Option<Field>,
    /// The field, and its unit in microseconds.
    pub timeout: Option<(Field, u64)>,
    pub status: Option<StatusTable>,
    pub sections: Box<[Section]>,
    /// The number of sections that must be located for the attributes.
    pub needed: usize,
    /// The attributes are at the front: the bytes after them may arrive later, in pieces.
    pub streams: bool,
    pub keys: Box<[Key]>,
    pub open: Option<Open>,
}

/// Bytes at a fixed position: any of the alternatives.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub at: usize,
    pub any: Box<[Box<[u8]>]>,
}

/// The result of a match on the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Yes,
    No,
    /// At least this many bytes are needed.
    Need(usize),
}

impl Pattern {
    pub(crate) fn end(&self) -> usize {
        self.at + self.any.first().map_or(0, |first| first.len())
    }

    fn fits(&self, input: &[u8]) -> Fit {
        let have = input.get(self.at..).unwrap_or_default();
        let mut fit = Fit::No;
        for bytes in &self.any {
            if have.starts_with(bytes) {
                return Fit::Yes;
            }
            if bytes.starts_with(have) {
                fit = Fit::Need(self.end());
            }
        }
        fit
    }
}

/// Matches all patterns. Returns a mismatch as early as the bytes allow.
pub(crate) fn fits<'p>(patterns: impl Iterator<Item = &'p Pattern>, input: &[u8]) -> Fit {
    let mut need = None;
    for pattern in patterns {
        match pattern.fits(input) {
            Fit::Yes => {}
            Fit::No => return Fit::No,
            Fit::Need(bytes) => need = need.max(Some(bytes)),
        }
    }
    need.map_or(Fit::Yes, Fit::Need)
}

/// The kind of a message, if its fields have these values.
#[derive(Debug)]
pub(crate) struct Rule {
    pub side: Option<Side>,
    pub tests: Box<[Test]>,
    pub kind: Kind,
    pub safety: Safety,
}

/// The length of a message.
#[derive(Debug)]
pub(crate) enum Length {
    /// The length of its header.
    Header,
    /// The base plus these fields.
    Sum {
        fields: Box<[(Number, &'static str)]>,
        base: i64,
    },
    /// The field plus the base, plus the trailer if it is not counted.
    Total {
        field: Number,
        name: &'static str,
        base: i64,
        counts_trailer: bool,
    },
}

/// The end of a message.
#[derive(Debug)]
pub(crate) struct Trailer {
    pub when: Box<[Test]>,
    pub what: Ending,
}

#[derive(Debug)]
pub(crate) enum Ending {
    Bytes(Box<[u8]>),
    /// A CRC-32 in these 4 bytes (`at` 0).
    Crc32(Number),
}

impl Ending {
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Crc32(number) => number.size,
        }
    }
}

/// The result of a response.
#[derive(Debug)]
pub(crate) struct StatusTable {
    pub ok: Test,
    pub faults: Box<[(Test, Fault)]>,
    pub otherwise: Fault,
}

/// A part of the bytes after the header.
#[derive(Debug)]
pub(crate) struct Section {
    pub name: &'static str,
    pub when: Box<[Test]>,
    pub extent: Extent,
    pub entries: Option<Entries>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// The header field with its size in bytes.
    Field(Number),
    /// The number before it, with its size (`at` 0).
    Prefix(Number),
    /// The section ends with the last of its counted entries.
    Counted,
    /// All remaining bytes.
    Rest,
}

/// Names and values, after their number if there is one (`at` 0).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries {
    pub format: Format,
    pub count: Option<Number>,
}

/// An attribute with a slot.
#[derive(Debug)]
pub(crate) struct Key {
    pub id: KeyId,
    pub interest: Interest,
    pub requests: bool,
    pub responses: bool,
    pub source: Source,
    /// The position where the server reads it instead.
    pub content: Option<Content>,
}

/// A text in the object of the content. A server uses it instead of the entry in the header.
#[derive(Debug)]
pub(crate) struct Content {
    pub section: usize,
    /// The section that names the class. For messages of other classes the value is unknown.
    pub class_section: Option<usize>,
    pub class: Box<[u8]>,
    pub field: Box<[u8]>,
    /// The content is an object in Hessian 2.
    pub when: Box<[Test]>,
    /// The server uses the entry.
    pub entry_when: Option<Box<[Test]>>,
}

#[derive(Debug)]
pub(crate) enum Source {
    Field {
        field: Field,
        words: Box<[(Test, &'static str)]>,
    },
    Section(usize),
    /// The open entry with the first of these names that exists.
    Entry(Box<[Box<[u8]>]>),
}

/// Open metadata.
#[derive(Debug)]
pub(crate) enum Open {
    Section {
        section: usize,
        entries: Entries,
        walk: Walk,
        interest: Interest,
    },
    Words {
        from: usize,
        walk: Walk,
        interest: Interest,
    },
}

/// A message that the proxy creates.
#[derive(Debug)]
pub(crate) struct Template {
    pub variant: usize,
    /// By variant of the message to reply to.
    pub serves: Box<[bool]>,
    /// The header with magic and fixed values (empty for delimited messages).
    pub base: Box<[u8]>,
    /// The words of a delimited message.
    pub words: Box<[Word]>,
    /// Own field, and the field of the message to reply to, by its variant.
    pub copies: Box<[Copied]>,
    /// The status field's value for each reason.
    pub reasons: Option<(Number, Box<[i64]>)>,
    /// The section for the text.
    pub text: Option<usize>,
}

/// A field that is copied from the message to reply to. It has another position in each variant.
#[derive(Debug)]
pub(crate) struct Copied {
    pub own: Number,
    pub from: Box<[Option<Number>]>,
}

/// One word of a delimited message that the proxy creates.
#[derive(Debug)]
pub(crate) enum Word {
    Fixed(Box<[u8]>),
    Id,
    Copy(Box<[Option<Field>]>),
    Reason(Box<[Box<[u8]>]>),
    Text,
}

/// Returns the index of a reason in the tables of a [`Template`]: its index in [`Reason::ALL`].
pub(crate) fn reason_at(reason: Reason) -> usize {
    Reason::ALL
        .iter()
        .position(|other| *other == reason)
        .unwrap_or(0)
}

impl Variant {
    /// Returns the rule for a message. `Err` has the kind that the message would have from another
    /// side, or `None` if no rule matches.
    pub(crate) fn kind(&self, side: Side, view: View<'_>) -> Result<&Rule, Option<Kind>> {
        let mut other = None;
        for rule in self.rules.iter().filter(|rule| all_pass(&rule.tests, view)) {
            if rule.side.is_none_or(|only| only == side) {
                return if sends(side, rule.kind) {
                    Ok(rule)
                } else {
                    Err(Some(rule.kind))
                };
            }
            other = other.or(Some(rule.kind));
        }
        Err(other)
    }

    pub(crate) fn trailer_length(&self, view: View<'_>) -> usize {
        self.trailer
            .as_ref()
            .filter(|trailer| all_pass(&trailer.when, view))
            .map_or(0, |trailer| trailer.what.size())
    }

    /// Returns the length of the whole message. Its header must be complete.
    pub(crate) fn total(&self, wire: &[u8]) -> Result<u64, Violation> {
        let view = View::of(wire);
        let trailer = i64::try_from(self.trailer_length(view)).unwrap_or(0);
        let header = i64::try_from(self.header).unwrap_or(i64::MAX);
        let (length, field) = match &self.length {
            Length::Header => (Some(header.saturating_add(trailer)), "header"),
            Length::Sum { fields, base } => {
                let mut sum = base.checked_add(trailer);
                for (number, name) in fields {
                    let value = length_of(*number, name, wire)?;
                    sum = sum.and_then(|sum| sum.checked_add(value));
                }
                (sum, fields.first().map_or("length", |(_, name)| name))
            }
            Length::Total {
                field,
                name,
                base,
                counts_trailer,
            } => {
                let value = length_of(*field, name, wire)?;
                let extra = if *counts_trailer { 0 } else { trailer };
                (
                    value
                        .checked_add(*base)
                        .and_then(|sum| sum.checked_add(extra)),
                    *name,
                )
            }
        };
        match length {
            Some(length) if length >= header.saturating_add(trailer) => Ok(length.cast_unsigned()),
            other => Err(Violation::Length {
                field,
                value: other.unwrap_or(i64::MAX),
            }),
        }
    }
}

fn length_of(number: Number, name: &'static str, wire: &[u8]) -> Result<i64, Violation> {
    match number.read(wire) {
        Some(value) if value >= 0 => Ok(value),
        other => Err(Violation::Length {
            field: name,
            value: other.unwrap_or(-1),
        }),
    }
}

/// Returns `true` if the peer of this side sends such messages.
const fn sends(side: Side, kind: Kind) -> bool {
    match kind {
        Kind::Request | Kind::OneWay => matches!(side, Side::Server),
        Kind::Response | Kind::Push => matches!(side, Side::Client),
        _ => true,
    }
}
