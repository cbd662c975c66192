//! Authorization: evaluates DENY policies, then ALLOW policies. AUDIT policies only report.
//!
//! A missing subject matches no value, so a clause with `not` passes. If a subject has several
//! values, an ALLOW match needs all of them to match, and a DENY match needs one: a request is
//! judged by its worst part. A subject that the codec could not determine passes every clause of a
//! DENY or AUDIT policy, and no clause of an ALLOW policy, with or without `not`. The exception is
//! a policy that accepts the codec's best guess.

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

/// The decision on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// The request is allowed.
    Allowed,
    /// The request is denied.
    Denied {
        /// The DENY policy that matched. `None` if there are ALLOW policies and none of them
        /// matched.
        policy: Option<&'a str>,
        /// The attribute that decided, if the codec could not determine it.
        undetermined: Option<&'a str>,
    },
}

#[derive(Clone, Debug)]
struct Policy {
    name: Box<str>,
    /// `true` if the policy tests the values that are present, even if the codec could not
    /// determine all of them.
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
    /// `true` if all values of an attribute must match and at least one is required. `false` if one
    /// match is enough.
    every: bool,
    /// `true` if the policy allows.
    allows: bool,
    /// `true` if the policy accepts the codec's best guess.
    guesses: bool,
}

/// The effect of a match, and whether the policy accepts the codec's best guess.
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

/// The values of a clause, by kind. Any of them may match.
#[derive(Clone, Debug, Default)]
struct Values {
    any: bool,
    exact: Exact,
    prefixes: Box<[Box<[u8]>]>,
    suffixes: Box<[Box<[u8]>]>,
    blocks: Box<[IpBlock]>,
}

/// Up to this number, values are compared one by one.
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
    /// Compiles policies for a protocol. Also returns the decode depth that they need. An attribute
    /// that the protocol does not have counts as absent from every request.
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
            // AUDIT policies show the requests that they would deny.
            audit: policies(&authorization.audit, false),
        };
        (compiled, interest)
    }

    /// Returns policies that allow no request.
    pub(crate) fn nobody() -> Self {
        let policy = Policy {
            name: Box::default(),
            guesses: false,
            rules: Box::default(),
        };
        Self {
            deny: Box::default(),
            allow: Box::new([policy]),
            audit: Box::default(),
        }
    }

    /// Decides whether a request is allowed.
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

    /// Returns the AUDIT policies that match a request, for metrics and logs. The decision does not
    /// matter.
    pub fn audits<'a>(
        &'a self,
        message: &'a Message<'_>,
        peer: &'a Peer,
    ) -> impl Iterator<Item = &'a str> + 'a {
        let matching = self.audit.iter().filter(|one| one.matches(message, peer));
        matching.map(|policy| &*policy.name)
    }

    /// Returns the ALLOW policy that lets a request pass, for people. `None` if none matches.
    pub(crate) fn allowing(&self, message: &Message<'_>, peer: &Peer) -> Option<&str> {
        let policy = self.allow.iter().find(|one| one.matches(message, peer))?;
        Some(&policy.name)
    }
}

impl Policy {
    fn matches(&self, message: &Message<'_>, peer: &Peer) -> bool {
        self.rules.iter().any(|rule| rule.matches(message, peer))
    }

    /// Returns the first attribute in its rules that the codec could not determine.
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
            // `not` inverts the quantifier over the values.
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
    /// `normalise` converts a value to the form that the codec reports.
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

    /// Matches a value without text of its own. Formats it on the stack, not on the heap.
    fn match_shown(&self, value: &impl Display) -> bool {
        let mut text = [0; 48];
        let room = text.len();
        let mut rest = text.as_mut_slice();
        // An address takes at most 39 bytes, a port 5.
        let shown = write!(rest, "{value}");
        let used = room - rest.len();
        shown.is_ok() && text.get(..used).is_some_and(|text| self.match_text(text))
    }
}

#[cfg(test)]
mod tests;
