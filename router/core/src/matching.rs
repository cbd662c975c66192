//! Tests of a message's attributes, with their names looked up once: routes, faults, limits and
//! retries all ask in the same way.

use meltemi_config::{AttributeMatch, Matcher};
use meltemi_frame::{Interest, KeyId, Lookup, Message, Spec};

use crate::explain::FailedTest;

/// Tests that must all pass; none: every message passes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tests(Box<[Test]>);

#[derive(Clone, Debug)]
struct Test {
    lookup: Lookup,
    rule: AttributeMatch,
}

/// How an attribute is found; `interest` becomes as deep as that needs.
///
/// The configuration is checked: an attribute that the protocol does not have does not occur. It would be
/// one that no message has.
pub(crate) fn lookup(name: &str, spec: &Spec, interest: &mut Interest) -> Lookup {
    match spec.lookup(name) {
        Some((lookup, depth)) => {
            *interest = (*interest).max(depth);
            lookup
        }
        None => Lookup::Slot(KeyId(u8::MAX)),
    }
}

/// How an attribute is found where the value counts that the server acts on; `interest` becomes as deep as
/// that needs.
pub(crate) fn authoritative(name: &str, spec: &Spec, interest: &mut Interest) -> Lookup {
    let found = lookup(name, spec, interest);
    if let Some((_, depth)) = spec.authoritative(name) {
        *interest = (*interest).max(depth);
    }
    found
}

impl Tests {
    /// Compiles tests; `interest` becomes as deep as they need.
    pub(crate) fn compile(rules: &[AttributeMatch], spec: &Spec, interest: &mut Interest) -> Self {
        let test = |rule: &AttributeMatch| Test {
            lookup: lookup(&rule.name, spec, interest),
            rule: rule.normalised(spec),
        };
        Self(rules.iter().map(test).collect())
    }

    /// Whether there is no test.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a message passes all of them.
    pub(crate) fn pass(&self, message: &Message<'_>) -> bool {
        self.0.iter().all(|test| test.passes(message))
    }

    /// Returns `true` if a message passes all of them, or could pass them: a test of an attribute that the
    /// codec could not determine counts as passed. For rules that restrict.
    pub(crate) fn may_pass(&self, message: &Message<'_>) -> bool {
        let undetermined = |test: &Test| message.attributes.is_undetermined(&test.lookup);
        self.0
            .iter()
            .all(|test| test.passes(message) || undetermined(test))
    }

    /// Whether a message passes one of them.
    pub(crate) fn any(&self, message: &Message<'_>) -> bool {
        self.0.iter().any(|test| test.passes(message))
    }

    /// The first that a message fails.
    pub(crate) fn first_failure(&self, message: &Message<'_>) -> Option<FailedTest> {
        let test = self.0.iter().find(|test| !test.passes(message))?;
        Some(FailedTest::new(&test.rule, &test.lookup, message))
    }

    /// The attributes that must have one certain value.
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
