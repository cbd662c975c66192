//! Attributes and open metadata: their positions, and their specification for the router.

use meltemi_frame::{Interest, KeyId, KeySpec, MAX_KEYS, OpenKeys};

use super::Compiler;
use crate::description::{Attribute, InterestName, On, Scalar, Values};
use crate::intern::intern;
use crate::plan::{Extent, Field, Key, MAX_WORDS, Open, Source, Test, Variant};
use crate::words;

impl Compiler<'_> {
    /// Returns the declared keys. Adds their positions to the variants.
    pub(super) fn attributes(&mut self, variants: &mut [Variant]) -> Vec<KeySpec> {
        let all = self.all;
        if all.attributes.len() > MAX_KEYS {
            let problem = format!("there are more than {MAX_KEYS}");
            self.problems.add(
                "attributes",
                all.attributes.len(),
                problem,
                "leave out those that no route needs",
            );
        }
        let mut keys: Vec<Vec<Key>> = variants.iter().map(|_| Vec::new()).collect();
        let mut specs = Vec::new();
        for (at, attribute) in all.attributes.iter().take(MAX_KEYS).enumerate() {
            let path = format!("attributes[{at}]");
            let lower = |c: char| !c.is_whitespace() && !c.is_uppercase();
            if attribute.name.is_empty() || !attribute.name.chars().all(lower) {
                let problem = "attribute names are lower case and without blanks";
                self.problems.add(
                    format!("{path}.name"),
                    &attribute.name,
                    problem,
                    "rename it",
                );
            }
            if all
                .attributes
                .iter()
                .take(at)
                .any(|other| other.name == attribute.name)
            {
                let problem = "the name is used twice";
                self.problems.add(
                    format!("{path}.name"),
                    &attribute.name,
                    problem,
                    "rename one",
                );
            }
            specs.push(Self::spec(attribute));
            let id = KeyId(u8::try_from(at).unwrap_or(u8::MAX));
            for (at, source) in self.sources(&path, attribute, variants) {
                let variant = variants.get(at);
                let content =
                    variant.and_then(|variant| self.content(&path, attribute, at, variant));
                let key = Key {
                    content,
                    id,
                    interest: interest(attribute.interest),
                    requests: attribute.on != On::Responses,
                    responses: attribute.on != On::Requests,
                    source,
                };
                if let Some(keys) = keys.get_mut(at) {
                    keys.push(key);
                }
            }
        }
        for (variant, keys) in variants.iter_mut().zip(keys) {
            for key in &keys {
                if let Source::Section(section) = key.source {
                    need(variant, section);
                }
            }
            variant.keys = keys.into();
        }
        specs
    }

    /// Returns the position of an attribute, by variant.
    fn sources(
        &mut self,
        path: &str,
        attribute: &Attribute,
        variants: &[Variant],
    ) -> Vec<(usize, Source)> {
        if !attribute.values.is_empty() && attribute.field.is_none() {
            self.problems.add(
                format!("{path}.values"),
                "given",
                "only fields have values",
                "leave it out",
            );
        }
        match (
            &attribute.field,
            &attribute.section,
            attribute.entry.is_empty(),
        ) {
            (Some(name), None, true) => {
                if !self.known_field(&format!("{path}.field"), name) {
                    return Vec::new();
                }
                let fields = self.fields.iter().enumerate();
                let fields: Vec<(usize, Field)> = fields
                    .filter_map(|(at, fields)| Some((at, *fields.get(&**name)?)))
                    .collect();
                let path = format!("{path}.values");
                let sources = fields.into_iter();
                sources
                    .map(|(at, field)| {
                        (
                            at,
                            Source::Field {
                                field,
                                words: self.words_of(&path, field, attribute),
                            },
                        )
                    })
                    .collect()
            }
            (None, Some(name), true) => {
                let found: Vec<(usize, Source)> = (0..variants.len())
                    .filter_map(|at| {
                        Some((at, Source::Section(section_of(variants.get(at)?, name)?)))
                    })
                    .collect();
                if found.is_empty() {
                    let problem = "no variant has such a section";
                    self.problems
                        .add(format!("{path}.section"), name, problem, "correct the name");
                }
                found
            }
            (None, None, false) => {
                if self.all.open.is_none() {
                    let remedy = "describe `open`, which gives the position of the entries";
                    self.problems.add(
                        format!("{path}.entry"),
                        &attribute.name,
                        "there are no entries",
                        remedy,
                    );
                }
                let names: Vec<Box<[u8]>> = attribute
                    .entry
                    .0
                    .iter()
                    .map(|name| name.as_bytes().into())
                    .collect();
                (0..variants.len())
                    .map(|at| (at, Source::Entry(names.clone().into())))
                    .collect()
            }
            _ => {
                let problem = "one of `field`, `section` and `entry` must give its position";
                self.problems
                    .add(path, &attribute.name, problem, "give exactly one");
                Vec::new()
            }
        }
    }

    fn words_of(
        &mut self,
        path: &str,
        field: Field,
        attribute: &Attribute,
    ) -> Box<[(Test, &'static str)]> {
        let mut words = Vec::new();
        for (value, word) in &attribute.values {
            let path = format!("{path}.{value}");
            let value = match number(value) {
                Some(number) if field.is_numeric() => Scalar::Number(number),
                _ => Scalar::Text(value.clone()),
            };
            words.extend(
                self.test(&path, field, &Values(vec![value]))
                    .map(|test| (test, intern(word))),
            );
        }
        words.into()
    }

    pub(super) fn open(&mut self, variants: &mut [Variant]) -> Vec<OpenKeys> {
        let Some(open) = &self.all.open else {
            return Vec::new();
        };
        let at = interest(open.interest);
        match (&open.section, open.from_word) {
            (Some(name), None) => {
                let mut found = false;
                for (n, variant) in variants.iter_mut().enumerate() {
                    let Some(section) = section_of(variant, name) else {
                        continue;
                    };
                    found = true;
                    self.open_section(n, section, name, at, variant);
                }
                if !found {
                    let problem = "no variant has such a section";
                    self.problems
                        .add("open.section", name, problem, "correct the name");
                }
            }
            (None, Some(from)) if self.all.delimiter.is_some() => {
                let separator = self
                    .all
                    .delimiter
                    .as_ref()
                    .and_then(|line| line.separator.bytes().next());
                let walk = separator.and_then(words::walk);
                match walk.filter(|_| (from as usize) < MAX_WORDS) {
                    Some(walk) => {
                        for variant in variants.iter_mut() {
                            variant.open = Some(Open::Words {
                                from: from as usize,
                                walk,
                                interest: at,
                            });
                        }
                    }
                    None => {
                        let problem = "words can be pairs from word 0 to 15, between blanks, tabs or one of , ; | &";
                        self.problems
                            .add("open.fromWord", from, problem, "use another separator");
                    }
                }
                if open.edit.is_some() {
                    let problem = "words cannot be edited";
                    self.problems
                        .add("open.edit", "given", problem, "leave it out");
                }
            }
            _ => {
                let problem =
                    "`section` (or `fromWord` in delimited messages) must give its position";
                self.problems
                    .add("open", &open.prefix, problem, "give exactly one");
            }
        }
        let doc = text_or(&open.doc, "an entry of the message's metadata");
        let keys = OpenKeys::new(open.prefix.clone(), doc).at(at).editable(
            matches!(open.edit, Some(On::Both | On::Requests)),
            matches!(open.edit, Some(On::Both | On::Responses)),
        );
        vec![keys]
    }

    fn open_section(
        &mut self,
        n: usize,
        at: usize,
        name: &str,
        interest: Interest,
        variant: &mut Variant,
    ) {
        let path = format!("variants[{n}].sections[{at}]");
        let Some(section) = variant.sections.get(at) else {
            return;
        };
        let entries = section.entries;
        let edited = self
            .all
            .open
            .as_ref()
            .is_some_and(|open| open.edit.is_some());
        if edited && !section.when.is_empty() {
            let problem = "a section that may be absent cannot be edited";
            self.problems.add(
                format!("{path}.when"),
                name,
                problem,
                "leave out `when`, or `open.edit`",
            );
        }
        match entries.and_then(|entries| Some((entries, entries.format.walk()?))) {
            Some((entries, walk)) => {
                variant.open = Some(Open::Section {
                    section: at,
                    entries,
                    walk,
                    interest,
                });
                need(variant, at);
            }
            None => {
                let problem = "it has no names and values";
                self.problems.add(
                    format!("{path}.entries"),
                    name,
                    problem,
                    "describe its `entries`",
                );
            }
        }
    }

    /// Returns the attributes that name the operation and the service.
    pub(super) fn roles(&mut self) -> (String, Option<String>) {
        let all = self.all;
        let declared = |name: &str| {
            all.attributes
                .iter()
                .any(|attribute| attribute.name == name)
        };
        let open = |name: &str| {
            all.open.as_ref().is_some_and(|open| {
                name.len() > open.prefix.len() && name.starts_with(&open.prefix)
            })
        };
        for (path, name) in [("operation", &all.operation), ("service", &all.service)] {
            if let Some(name) = name
                && !declared(name)
                && !open(name)
            {
                let problem = "there is no such attribute";
                self.problems
                    .add(path, name, problem, "name one of `attributes`");
            }
        }
        if all.attributes.is_empty() && all.operation.is_none() {
            let problem = "there is no attribute for routing";
            self.problems.add(
                "attributes",
                "[]",
                problem,
                "declare at least the attribute that names the operation",
            );
        }
        let first = if declared("method") {
            Some("method")
        } else {
            all.attributes.first().map(|first| &*first.name)
        };
        let operation = all.operation.as_deref().or(first).unwrap_or_default();
        let service = all
            .service
            .clone()
            .or_else(|| declared("service").then(|| "service".to_owned()));
        (operation.to_owned(), service)
    }
}

/// Marks a section as needed for the attributes. If only the whole message can locate the section,
/// the front is not enough.
fn need(variant: &mut Variant, section: usize) {
    variant.needed = variant.needed.max(section + 1);
    let whole = |extent: &Extent| matches!(extent, Extent::Rest | Extent::Counted);
    if variant
        .sections
        .iter()
        .take(variant.needed)
        .any(|section| whole(&section.extent))
    {
        variant.streams = false;
    }
}

pub(super) fn section_of(variant: &Variant, name: &str) -> Option<usize> {
    variant
        .sections
        .iter()
        .position(|section| section.name == name)
}

pub(super) fn text_or(text: &str, default: &str) -> String {
    (if text.is_empty() { default } else { text }).to_owned()
}

pub(super) const fn interest(name: InterestName) -> Interest {
    match name {
        InterestName::Route => Interest::Route,
        InterestName::Headers => Interest::Headers,
        InterestName::Body => Interest::Body,
    }
}

/// Parses a number that is a key of a map. YAML and JSON convert such keys to text.
fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
