//! Tests of a message's attributes. Attribute names are looked up once, when the tests are
//! compiled. Routes, faults, limits and retries share this code.

use meltemi_config::{AttributeMatch, Matcher};
use meltemi_frame::{Interest, KeyId, Lookup, Message, Spec};

use crate::explain::FailedTest;

/// A list of tests that must all pass. An empty list passes every message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tests(Box<[Test]>);

#[derive(Clone, Debug)]
struct Test {
    lookup: Lookup,
    rule: AttributeMatch,
}

/// Looks up an attribute name, and raises `interest` to the decode depth that the attribute needs.
///
/// A checked configuration names only attributes that the protocol has. Any other name gives a
/// lookup that no message matches.
pub(crate) fn lookup(name: &str, spec: &Spec, interest: &mut Interest) -> Lookup {
    match spec.lookup(name) {
        Some((lookup, depth)) => {
            *interest = (*interest).max(depth);
            lookup
        }
        None => Lookup::Slot(KeyId(u8::MAX)),
    }
}

/// Looks up an attribute name for rules that must use the value that the server acts on. Raises
/// `interest` to the decode depth that this needs.
pub(crate) fn authoritative(name: &str, spec: &Spec, interest: &mut Interest) -> Lookup {
    let found = lookup(name, spec, interest);
    if let Some((_, depth)) = spec.authoritative(name) {
        *interest = (*interest).max(depth);
    }
    found
}

impl Tests {
    /// Compiles tests, and raises `interest` to the decode depth that they need.
    pub(crate) fn compile(rules: &[AttributeMatch], spec: &Spec, interest: &mut Interest) -> Self {
        let test = |rule: &AttributeMatch| Test {
            lookup: lookup(&rule.name, spec, interest),
            rule: rule.normalised(spec),
        };
        Self(rules.iter().map(test).collect())
    }

    /// Returns `true` if there is no test.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `true` if a message passes all tests.
    pub(crate) fn pass(&self, message: &Message<'_>) -> bool {
        self.0.iter().all(|test| test.passes(message))
    }

    /// Returns `true` if a message passes all tests, or could pass them: a test of an attribute
    /// that the codec could not determine counts as passed. For rules that restrict.
    pub(crate) fn may_pass(&self, message: &Message<'_>) -> bool {
        let undetermined = |test: &Test| message.attributes.is_undetermined(&test.lookup);
        self.0
            .iter()
            .all(|test| test.passes(message) || undetermined(test))
    }

    /// Returns `true` if a message passes at least one test.
    pub(crate) fn any(&self, message: &Message<'_>) -> bool {
        self.0.iter().any(|test| test.passes(message))
    }

    /// Returns the first test that a message fails. `None` if it passes all.
    pub(crate) fn first_failure(&self, message: &Message<'_>) -> Option<FailedTest> {
        let test = self.0.iter().find(|test| !test.passes(message))?;
        Some(FailedTest::new(&test.rule, &test.lookup, message))
    }

    /// Iterates over the attributes that must have one exact value.
    pub(crate) fn exact(&self) -> impl Iterator<Item = (&Lookup, &str)> {
        self.0.iter().filter_map(|test| match &test.rule.matcher {
            Matcher::Exact(value) if !test.rule.negate => Some((&test.lookup, value.as_str())),
            _ => None,
        })
    }
}

impl Test {
    fn passes(&self, message: &Message<'_>) -> bool {
        let matcher = &self.rule.matcher;
        let passed = match &self.lookup {
            Lookup::Slot(key) => message
                .attributes
                .slot(*key, message.wire())
                .is_some_and(|value| matcher.test(value)),
            Lookup::Open(_) => {
                let mut test = |value: &[u8]| matcher.test(value);
                message
                    .attributes
                    .any(&self.lookup, message.wire(), &mut test)
            }
        };
        passed != self.rule.negate
    }
}
