//! Who may ask for what: policies of deny, then of allow; those of audit decide nothing.
//!
//! A subject that is absent matches no value, so that a clause with `not` passes then. Of a subject with
//! several values every one must pass where a match allows, and any where it denies: a request is
//! as good as its worst part. A subject that the codec could not determine passes every clause of a policy
//! that denies or audits, and no clause of a policy that allows, with or without `not`; unless the policy takes the
//! codec's best guess.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io::Write as _;
use std::net::IpAddr;

use meltemi_config::{
    Authorization, Clause, IpBlock, Policy as Plain, PolicyRule, Subject, Undetermined, ValueMatch,
};
use meltemi_frame::{Interest, Lookup, Message, Spec};

use super::Peer;
use crate::matching::authoritative;

/// Compiled policies.
#[derive(Clone, Debug)]
pub struct Authorizer {
    deny: Box<[Policy]>,
    allow: Box<[Policy]>,
    audit: Box<[Policy]>,
}

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// It may.
    Allowed,
    /// It may not.
    Denied {
        /// The policy that says so; `None`: there are policies of allow, and none of them matches.
        policy: Option<&'a str>,
        /// The attribute that decided, if the codec could not determine it.
        undetermined: Option<&'a str>,
    },
}

#[derive(Clone, Debug)]
struct Policy {
    name: Box<str>,
    /// It tests the values that are there, even if the codec could not determine all.
    guesses: bool,
    rules: Box<[Rule]>,
}

#[derive(Clone, Debug)]
struct Rule {
    from: Box<[Box<[Test]>]>,
    to: Box<[Box<[Test]>]>,
    when: Box<[Test]>,
}

#[derive(Clone, Debug)]
struct Test {
    subject: Of,
    values: Values,
    not: bool,
    /// All values of an attribute must match, and there must be one; else one is enough.
    every: bool,
    /// The clause of a policy that allows.
    allows: bool,
    /// The clause of a policy that takes the codec's best guess.
    guesses: bool,
}

/// What a match comes to, and whether the policy takes the codec's best guess.
#[derive(Clone, Copy, Debug)]
struct Use {
    allows: bool,
    guesses: bool,
}

#[derive(Clone, Debug)]
enum Of {
    Attribute(Lookup, Box<str>),
    Principal,
    Namespace,
    ServiceAccount,
    TrustDomain,
    SourceIp,
    RemoteIp,
    DestinationPort,
}

/// The values of a clause, by kind: any may match.
#[derive(Clone, Debug, Default)]
struct Values {
    any: bool,
    exact: Exact,
    prefixes: Box<[Box<[u8]>]>,
    suffixes: Box<[Box<[u8]>]>,
    blocks: Box<[IpBlock]>,
}

/// Up to so many values are compared one by one.
const FEW: usize = 8;

#[derive(Clone, Debug)]
enum Exact {
    Few(Box<[Box<[u8]>]>),
    Many(HashSet<Box<[u8]>, BuildHasherDefault<DefaultHasher>>),
}

impl Default for Exact {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

impl Authorizer {
    /// Compiles policies for a protocol, and tells how deep `decode` must look for them. An attribute
    /// that the protocol does not have is one that no request has.
    pub fn compile(authorization: &Authorization, spec: &Spec) -> (Self, Interest) {
        let mut interest = Interest::Route;
        let mut policies = |plain: &[Plain], allows: bool| {
            let compile = |policy: &Plain| {
                let guesses = policy.undetermined == Undetermined::BestGuess;
                let to = Use { allows, guesses };
                let rules = policy.rules.iter();
                Policy {
                    name: policy.name.as_str().into(),
                    guesses,
                    rules: rules
                        .map(|rule| Rule::compile(rule, to, spec, &mut interest))
                        .collect(),
                }
            };
            plain.iter().map(compile).collect()
        };
        let compiled = Self {
            deny: policies(&authorization.deny, false),
            allow: policies(&authorization.allow, true),
            // They show what they would deny.
            audit: policies(&authorization.audit, false),
        };
        (compiled, interest)
    }

    /// Whether a request may go on.
    pub fn decide(&self, message: &Message<'_>, peer: &Peer) -> Access<'_> {
        if let Some(policy) = self.deny.iter().find(|one| one.matches(message, peer)) {
            return Access::Denied {
                policy: Some(&policy.name),
                undetermined: policy.undetermined(message),
            };
        }
        if self.allow.is_empty() || self.allow.iter().any(|one| one.matches(message, peer)) {
            return Access::Allowed;
        }
        let undetermined = |policy: &'_ Policy| policy.undetermined(message).is_some();
        let unread = self.allow.iter().find(|policy| undetermined(policy));
        Access::Denied {
            policy: None,
            undetermined: unread.and_then(|policy| policy.undetermined(message)),
        }
    }

    /// The policies of audit that match a request: to be counted and logged, whatever was decided.
    pub fn audits<'a>(
        &'a self,
        message: &'a Message<'_>,
        peer: &'a Peer,
    ) -> impl Iterator<Item = &'a str> + 'a {
        let matching = self.audit.iter().filter(|one| one.matches(message, peer));
        matching.map(|policy| &*policy.name)
    }

    /// The policy of allow that lets a request pass, for people.
    pub(crate) fn allowing(&self, message: &Message<'_>, peer: &Peer) -> Option<&str> {
        let policy = self.allow.iter().find(|one| one.matches(message, peer))?;
        Some(&policy.name)
    }
}

impl Policy {
    fn matches(&self, message: &Message<'_>, peer: &Peer) -> bool {
        self.rules.iter().any(|rule| rule.matches(message, peer))
    }

    /// The first attribute in its rules that the codec could not determine.
    fn undetermined(&self, message: &Message<'_>) -> Option<&str> {
        if self.guesses || !message.attributes.has_undetermined() {
            return None;
        }
        let tests = self.rules.iter().flat_map(Rule::tests);
        tests
            .filter_map(|test| match &test.subject {
                Of::Attribute(lookup, name) => Some((lookup, &**name)),
                _ => None,
            })
            .find(|(lookup, _)| message.attributes.is_undetermined(lookup))
            .map(|(_, name)| name)
    }
}

impl Rule {
    fn compile(plain: &PolicyRule, to: Use, spec: &Spec, interest: &mut Interest) -> Self {
        let mut tests = |clauses: &[Clause]| -> Box<[Test]> {
            let compile = |clause: &Clause| Test::compile(clause, to, spec, interest);
            clauses.iter().map(compile).collect()
        };
        let mut alternatives = |plain: &[Vec<Clause>]| plain.iter().map(|one| tests(one)).collect();
        Self {
            from: alternatives(&plain.from),
            to: alternatives(&plain.to),
            when: tests(&plain.when),
        }
    }

    fn tests(&self) -> impl Iterator<Item = &Test> {
        let alternatives = self.from.iter().chain(&self.to);
        alternatives.flatten().chain(&self.when)
    }

    fn matches(&self, message: &Message<'_>, peer: &Peer) -> bool {
        let all = |tests: &[Test]| tests.iter().all(|test| test.passes(message, peer));
        let one = |alternatives: &[Box<[Test]>]| {
            alternatives.is_empty() || alternatives.iter().any(|tests| all(tests))
        };
        one(&self.from) && one(&self.to) && all(&self.when)
    }
}

impl Test {
    fn compile(clause: &Clause, to: Use, spec: &Spec, interest: &mut Interest) -> Self {
        let subject = match &clause.subject {
            Subject::Attribute(name) => {
                Of::Attribute(authoritative(name, spec, interest), name.as_str().into())
            }
            Subject::Principal => Of::Principal,
            Subject::Namespace => Of::Namespace,
            Subject::ServiceAccount => Of::ServiceAccount,
            Subject::TrustDomain => Of::TrustDomain,
            Subject::SourceIp => Of::SourceIp,
            Subject::RemoteIp => Of::RemoteIp,
            Subject::DestinationPort => Of::DestinationPort,
        };
        Self {
            subject,
            values: Values::compile(&clause.values, |text| match &clause.subject {
                Subject::Attribute(name) => spec.normalise(name, text),
                _ => Cow::Borrowed(text),
            }),
            not: clause.not,
            // What is said of each value by itself, turned around by `not`.
            every: to.allows != clause.not,
            allows: to.allows,
            guesses: to.guesses,
        }
    }

    fn passes(&self, message: &Message<'_>, peer: &Peer) -> bool {
        let values = &self.values;
        let text =
            |text: Option<&str>| text.is_some_and(|text| values.match_bytes(text.as_bytes()));
        let matched = match &self.subject {
            Of::Attribute(lookup, _)
                if !self.guesses && message.attributes.is_undetermined(lookup) =>
            {
                return !self.allows;
            }
            Of::Attribute(lookup, _) => {
                let (attributes, wire) = (&message.attributes, message.wire());
                if self.every {
                    let mut there = false;
                    let mut fails = |value: &[u8]| {
                        there = true;
                        !values.match_bytes(value)
                    };
                    !attributes.any(lookup, wire, &mut fails) && there
                } else {
                    let mut test = |value: &[u8]| values.match_bytes(value);
                    attributes.any(lookup, wire, &mut test)
                }
            }
            Of::Principal => text(peer.name()),
            Of::Namespace => text(peer.namespace()),
            Of::ServiceAccount => text(peer.account()),
            Of::TrustDomain => text(peer.trust_domain()),
            Of::SourceIp => values.match_address(peer.source.ip()),
            Of::RemoteIp => values.match_address(peer.remote),
            Of::DestinationPort => values.match_shown(&peer.port),
        };
        matched != self.not
    }
}

impl Values {
    /// `normalise` brings a value into the form in which the codec gives it.
    fn compile<'v>(plain: &'v [ValueMatch], normalise: impl Fn(&'v str) -> Cow<'v, str>) -> Self {
        let (mut exact, mut prefixes, mut suffixes, mut blocks) = (vec![], vec![], vec![], vec![]);
        let mut any = false;
        let bytes = |text: &'v String| -> Box<[u8]> { normalise(text).as_bytes().into() };
        for value in plain {
            match value {
                ValueMatch::Present => any = true,
                ValueMatch::Exact(text) => exact.push(bytes(text)),
                ValueMatch::Prefix(text) => prefixes.push(bytes(text)),
                ValueMatch::Suffix(text) => suffixes.push(bytes(text)),
                ValueMatch::Block(block) => blocks.push(*block),
            }
        }
        Self {
            any,
            exact: if exact.len() <= FEW {
                Exact::Few(exact.into())
            } else {
                Exact::Many(exact.into_iter().collect())
            },
            prefixes: prefixes.into(),
            suffixes: suffixes.into(),
            blocks: blocks.into(),
        }
    }

    fn match_bytes(&self, value: &[u8]) -> bool {
        self.match_text(value)
            || !self.blocks.is_empty()
                && std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .is_some_and(|address| self.match_blocks(address))
    }

    fn match_text(&self, value: &[u8]) -> bool {
        self.any
            || match &self.exact {
                Exact::Few(values) => values.iter().any(|one| **one == *value),
                Exact::Many(values) => values.contains(value),
            }
            || self.prefixes.iter().any(|one| value.starts_with(one))
            || self.suffixes.iter().any(|one| value.ends_with(one))
    }

    fn match_blocks(&self, address: IpAddr) -> bool {
        self.blocks.iter().any(|block| block.contains(address))
    }

    fn match_address(&self, address: IpAddr) -> bool {
        self.match_blocks(address) || self.match_shown(&address.to_canonical())
    }

    /// Matches what has no text of its own, without making one on the heap.
    fn match_shown(&self, value: &impl Display) -> bool {
        let mut text = [0; 48];
        let room = text.len();
        let mut rest = text.as_mut_slice();
        // An address takes 39 bytes at most, a port 5.
        let shown = write!(rest, "{value}");
        let used = room - rest.len();
        shown.is_ok() && text.get(..used).is_some_and(|text| self.match_text(text))
    }
}

#[cfg(test)]
mod tests;
