//! The meaning of messages: kinds, ids, timeouts, statuses.

use meltemi_frame::{Fault, Kind, Safety};

use super::{Compiler, reader};
use crate::description::{KindName, SafetyName, StatusTable, Unit};
use crate::number::Form;
use crate::number::Number;
use crate::plan::{self, Field, Rule, Test, Variant};

/// Faults by name. Logs and metrics use the same names.
const FAULTS: [Fault; 17] = [
    Fault::NoRoute,
    Fault::NoEndpoint,
    Fault::Connect,
    Fault::Reset,
    Fault::Timeout,
    Fault::Overload,
    Fault::RateLimited,
    Fault::Malformed,
    Fault::TooLarge,
    Fault::Unsupported,
    Fault::Denied,
    Fault::Misrouted,
    Fault::Draining,
    Fault::Injected,
    Fault::BadResponse,
    Fault::Application,
    Fault::Server,
];

impl Compiler<'_> {
    pub(super) fn meaning(&mut self, variants: &mut [Variant]) {
        self.kinds(variants);
        let all = self.all;
        if let Some(name) = &all.id
            && self.known_field("id", name)
        {
            self.id(name, variants);
        }
        if let Some(timeout) = &all.timeout
            && self.known_field("timeout.field", &timeout.field)
        {
            let micros = match timeout.unit {
                Unit::Seconds => 1_000_000,
                Unit::Milliseconds => 1_000,
                Unit::Microseconds => 1,
            };
            for (variant, fields) in variants.iter_mut().zip(&self.fields) {
                variant.timeout = fields.get(&*timeout.field).map(|field| (*field, micros));
            }
            if variants.iter().any(|variant| {
                variant
                    .timeout
                    .is_some_and(|(field, _)| !field.is_numeric())
            }) {
                self.problems.add(
                    "timeout.field",
                    &timeout.field,
                    "the field is text",
                    "use one with a number",
                );
            }
        }
        if let Some(status) = &all.status
            && self.known_field("status.field", &status.field)
        {
            for (at, variant) in variants.iter_mut().enumerate() {
                let field = self
                    .fields
                    .get(at)
                    .and_then(|fields| fields.get(&*status.field))
                    .copied();
                variant.status = field.and_then(|field| self.status(field, status));
            }
        }
    }

    fn kinds(&mut self, variants: &mut [Variant]) {
        let all = self.all;
        let there = |kind| all.kinds.iter().any(|rule| rule.kind == kind);
        let missing = if !there(KindName::Request) && !there(KindName::OneWay) {
            Some("request")
        } else if there(KindName::Request) && !there(KindName::Response) {
            Some("response")
        } else {
            None
        };
        if let Some(name) = missing {
            let problem = format!("no rule makes a message a {name}");
            let remedy = format!("add a rule `{{kind: {name}, when: …}}`");
            self.problems.add(
                "kinds",
                format!("{} rules", all.kinds.len()),
                problem,
                remedy,
            );
        }
        for (at, rule) in all.kinds.iter().enumerate() {
            for name in rule.when.keys() {
                self.known_field(&format!("kinds[{at}].when.{name}"), name);
            }
        }
        for (at, variant) in variants.iter_mut().enumerate() {
            let mut rules = Vec::new();
            for (n, rule) in all.kinds.iter().enumerate() {
                let has = |name: &String| {
                    self.fields
                        .get(at)
                        .is_some_and(|fields| fields.contains_key(&**name))
                };
                if !rule.when.keys().all(has) {
                    continue;
                }
                let tests = self.when(&format!("kinds[{n}].when"), at, &rule.when);
                rules.push(Rule {
                    side: rule.from.map(reader),
                    tests,
                    kind: kind(rule.kind),
                    safety: match rule.safety {
                        None => Safety::Unknown,
                        Some(SafetyName::Read) => Safety::Read,
                        Some(SafetyName::Idempotent) => Safety::Idempotent,
                    },
                });
            }
            if rules.is_empty() && !all.kinds.is_empty() {
                let name = all.variants.get(at).map_or("", |variant| &variant.name);
                let remedy = "add a rule on fields that the variant has";
                self.problems.add(
                    format!("variants[{at}].name"),
                    name,
                    "no rule of `kinds` matches it",
                    remedy,
                );
            }
            let ends = rules
                .iter()
                .flat_map(|rule| &rule.tests)
                .map(|test| test.field.end());
            variant.rules_end = ends.max().unwrap_or(0);
            variant.rules = rules.into();
        }
    }

    fn id(&mut self, name: &str, variants: &mut [Variant]) {
        for (at, (variant, fields)) in variants.iter_mut().zip(&self.fields).enumerate() {
            match fields.get(name) {
                // The frame interface requires sign-extended ids, so that every value has one form.
                Some(Field::Number(number)) if number.form != Form::Digits => {
                    variant.id = Some(Field::Number(Number {
                        signed: true,
                        ..*number
                    }));
                }
                Some(field) if field.is_numeric() => variant.id = Some(*field),
                Some(_) => {
                    let path = format!("variants[{at}].fields.{name}");
                    self.problems.add(
                        path,
                        "text",
                        "an id is a number",
                        "use an integer or `encoding: digits`",
                    );
                }
                None => {
                    let carries = |rule: &Rule| matches!(rule.kind, Kind::Request | Kind::Response);
                    if variant.rules.iter().any(carries) {
                        let path = format!("variants[{at}].fields");
                        let problem =
                            "requests and responses need the id, and the variant can be either";
                        self.problems
                            .add(path, "?", problem, format!("add the field `{name}`"));
                    }
                }
            }
        }
    }

    fn status(&mut self, field: Field, table: &StatusTable) -> Option<plan::StatusTable> {
        let ok = self.test("status.ok", field, &table.ok)?;
        let mut faults: Vec<(Test, Fault)> = Vec::new();
        for (name, values) in &table.faults {
            let path = format!("status.faults.{name}");
            if let (Some(fault), Some(test)) =
                (self.fault(&path, name), self.test(&path, field, values))
            {
                faults.push((test, fault));
            }
        }
        let otherwise = match &table.otherwise {
            Some(name) => self.fault("status.otherwise", name)?,
            None => Fault::Server,
        };
        Some(plan::StatusTable {
            ok,
            faults: faults.into(),
            otherwise,
        })
    }

    fn fault(&mut self, path: &str, name: &str) -> Option<Fault> {
        let found = FAULTS.into_iter().find(|fault| fault.name() == name);
        if found.is_none() {
            let names: Vec<&str> = FAULTS.iter().map(|fault| fault.name()).collect();
            self.problems.add(
                path,
                name,
                "there is no such fault",
                format!("use one of: {}", names.join(", ")),
            );
        }
        found
    }
}

const fn kind(name: KindName) -> Kind {
    match name {
        KindName::Request => Kind::Request,
        KindName::OneWay => Kind::OneWay,
        KindName::Response => Kind::Response,
        KindName::Push => Kind::Push,
        KindName::Ping => Kind::Ping,
        KindName::Pong => Kind::Pong,
        KindName::GoAway => Kind::GoAway,
    }
}
