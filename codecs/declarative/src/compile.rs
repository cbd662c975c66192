//! Compiles a description to a plan. Reports every problem that can be found at load, all at once.
//!
//! It must not read bytes from the wire. Each part of the language is compiled in its own file.

mod content;
mod fields;
mod meaning;
mod metadata;
mod reply;
mod shape;

use std::collections::BTreeMap;

use meltemi_frame::{Correlation, Reason, Sharing, Side, Spec, System};

use crate::description::{Description, From, ReplyOrder, SharingName};
use crate::intern::intern;
use crate::plan::{Field, Line, Plan, Variant};
use crate::problem::{DescriptionErrors, Problems};

/// Compiles a description.
pub(crate) fn compile(description: &Description) -> Result<Plan, DescriptionErrors> {
    let mut compiler = Compiler {
        all: description,
        problems: Problems::default(),
        fields: Vec::new(),
    };
    let plan = compiler.plan();
    compiler.problems.finish()?;
    Ok(plan)
}

struct Compiler<'d> {
    all: &'d Description,
    problems: Problems,
    /// The fields of each variant, by name.
    fields: Vec<BTreeMap<&'d str, Field>>,
}

impl<'d> Compiler<'d> {
    fn plan(&mut self) -> Plan {
        let all = self.all;
        self.name();
        let line = self.line();
        if all.variants.is_empty() {
            self.problems.add(
                "variants",
                "[]",
                "there is none",
                "describe at least one message",
            );
        }
        if all.variants.len() > 64 {
            let count = all.variants.len();
            self.problems.add(
                "variants",
                count,
                "there are too many",
                "at most 64 are allowed",
            );
        }
        for (at, variant) in all.variants.iter().enumerate() {
            if all
                .variants
                .iter()
                .take(at)
                .any(|other| other.name == variant.name)
            {
                let path = format!("variants[{at}].name");
                self.problems
                    .add(path, &variant.name, "the name is used twice", "rename one");
            }
            let fields = self.fields_of(at, variant);
            self.fields.push(fields);
        }
        let variants = all.variants.iter().enumerate();
        let mut variants: Vec<Variant> = variants
            .map(|(at, variant)| self.shape(at, variant, line.is_some()))
            .collect();
        self.meaning(&mut variants);
        let keys = self.attributes(&mut variants);
        let open = self.open(&mut variants);
        let (correlation, sharing) = self.correlation(&variants);
        let failure = self.templates("failure", &all.replies.failure, &variants);
        let ping = self.templates("ping", &all.replies.ping, &variants);
        let pong = self.templates("pong", &all.replies.pong, &variants);
        let go_away = self.templates("goAway", &all.replies.go_away, &variants);
        let keep = self.keep();
        let (operation, service) = self.roles();
        let mut spec = Spec::new(all.name.clone(), operation, correlation)
            .sharing(sharing)
            .heartbeat(!ping.is_empty())
            .keys(keys)
            .open(open)
            .system(System::Rpc(all.name.clone().into()));
        spec.service = service.map(Into::into);
        if !all.replies.failure.is_empty() {
            spec = spec.replies(Reason::ALL);
        }
        Plan {
            name: intern(&all.name),
            spec,
            line,
            max_length: all.max_length.unwrap_or(u64::MAX),
            variants: variants.into(),
            failure,
            ping,
            pong,
            go_away,
            keep,
        }
    }

    fn name(&mut self) {
        let name = &self.all.name;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if name.is_empty() || !name.chars().all(good) {
            self.problems.add(
                "name",
                name,
                "it is a part of port names (`tcp-<name>-x`)",
                "use lower-case letters, digits, - and _ only",
            );
        }
    }

    fn line(&mut self) -> Option<Line> {
        let delimiter = self.all.delimiter.as_ref()?;
        if !(1..=4).contains(&delimiter.end.len()) {
            self.problems.add(
                "delimiter.end",
                format!("{:?}", delimiter.end),
                format!("it has {} bytes", delimiter.end.len()),
                "use one to four bytes, such as \"\\n\"",
            );
        }
        let separator = match delimiter.separator.as_bytes() {
            [one] if one.is_ascii() && !delimiter.end.as_bytes().contains(one) => *one,
            _ => {
                self.problems.add(
                    "delimiter.separator",
                    format!("{:?}", delimiter.separator),
                    "it is not one ASCII character that the delimiter does not have",
                    "use one such as \" \" or \"|\"",
                );
                b' '
            }
        };
        Some(Line {
            end: delimiter.end.as_bytes().into(),
            separator,
        })
    }

    fn correlation(&mut self, variants: &[Variant]) -> (Correlation, Sharing) {
        let all = self.all;
        let ids = variants.iter().filter_map(|variant| variant.id);
        let bits = ids
            .map(|field| match field {
                Field::Number(number) => number.bits(),
                // Every peer that reads decimal words supports at least 31 bits.
                Field::Word { .. } | Field::Text { .. } => 31,
            })
            .min();
        if let (Some(bits @ ..8), Some(name)) = (bits, &all.id) {
            let what = format!("it has {bits} bits, too few for unique ids");
            self.problems
                .add("id", name, what, "use a field of 8 bits or more, or no id");
        }
        let in_order = all.reply_order == Some(ReplyOrder::Requests) || bits.is_none();
        if bits.is_none() && all.reply_order == Some(ReplyOrder::Any) {
            self.problems.add(
                "replyOrder",
                "any",
                "without an id, replies can only be matched by their order",
                "name the field with the id in `id`, or leave this out",
            );
        }
        let sharing = match all.sharing {
            Some(SharingName::Exclusive) => Sharing::Exclusive,
            Some(SharingName::Pipelined) => Sharing::Pipelined,
            Some(SharingName::Multiplexed) => Sharing::Multiplexed,
            None if in_order => Sharing::Exclusive,
            None => Sharing::Multiplexed,
        };
        if sharing == Sharing::Multiplexed && bits.is_none() {
            let remedy = "name the field with the id in `id`, or use pipelined or exclusive";
            self.problems
                .add("sharing", "multiplexed", "it needs an id", remedy);
        }
        if sharing == Sharing::Pipelined && !in_order {
            self.problems.add(
                "sharing",
                "pipelined",
                "replies may come in any order",
                "use multiplexed, or set `replyOrder: requests`",
            );
        }
        let correlation = match bits {
            Some(bits) if !in_order => Correlation::Id { bits },
            id_bits => Correlation::InOrder { id_bits },
        };
        (correlation, sharing)
    }

    /// Returns `true` if any variant has a field with this name. Otherwise reports a problem.
    fn known_field(&mut self, path: &str, name: &str) -> bool {
        let known = self.fields.iter().any(|fields| fields.contains_key(name));
        if !known {
            let names: std::collections::BTreeSet<&str> = self
                .fields
                .iter()
                .flat_map(|fields| fields.keys().copied())
                .collect();
            let names: Vec<&str> = names.into_iter().collect();
            let remedy = format!("use one of: {}", names.join(", "));
            self.problems
                .add(path, name, "no variant has such a field", remedy);
        }
        known
    }
}

/// Returns the side whose codec reads the messages of this sender.
const fn reader(from: From) -> Side {
    match from {
        From::Client => Side::Server,
        From::Server => Side::Client,
    }
}

#[cfg(test)]
mod tests;
