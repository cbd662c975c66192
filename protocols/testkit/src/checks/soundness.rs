//! Checks the protocol's description of itself.

use std::collections::BTreeSet;

use meltemi_frame::{Correlation, MAX_KEYS, Sharing};

use crate::failure::ensure;
use crate::{Subject, Verdict};

/// The [`Spec`](meltemi_frame::Spec) is valid: names are lower case and unique, keys fit their
/// slots, the operation and service keys exist, ids have 8 to 64 bits, and every line of the
/// reference has a text.
pub fn spec_is_sound(subject: &Subject) -> Verdict {
    let spec = subject.spec();
    let lower = |name: &str| {
        !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_uppercase())
    };
    ensure!(
        lower(&spec.name) && !spec.name.contains('-'),
        "the name `{}` must be lower case, without blanks and dashes: it is a part of port names",
        spec.name
    );
    let slots = spec.keys.iter().filter(|key| !key.many).count();
    ensure!(
        slots <= MAX_KEYS,
        "{slots} keys need slots, but there are only {MAX_KEYS}"
    );
    let mut names = BTreeSet::new();
    for (at, key) in spec.keys.iter().enumerate() {
        ensure!(
            lower(&key.name),
            "the key `{}` must be lower case",
            key.name
        );
        ensure!(
            names.insert(&*key.name),
            "the key `{}` is declared twice",
            key.name
        );
        ensure!(!key.doc.is_empty(), "the key `{}` has no doc", key.name);
        ensure!(
            key.request || key.response,
            "the key `{}` is declared for neither requests nor responses",
            key.name
        );
        ensure!(
            key.many || at < MAX_KEYS,
            "the key `{}` is at position {at}, past the last slot: put keys with `many` last",
            key.name
        );
    }
    for open in &spec.open {
        ensure!(
            !open.doc.is_empty(),
            "the open keys `{}<name>` have no doc",
            open.prefix
        );
    }
    for (role, name) in [
        ("operation", Some(&spec.operation)),
        ("generic operation", spec.generic_operation.as_ref()),
        ("service", spec.service.as_ref()),
    ] {
        if let Some(name) = name {
            ensure!(
                spec.lookup(name).is_some(),
                "the {role} is the attribute `{name}`, which does not exist (known: {})",
                spec.known_names()
            );
        }
    }
    if let Some(bits) = spec.correlation.id_bits() {
        ensure!(
            (8..=64).contains(&bits),
            "an id of {bits} bits: it must be 8 to 64"
        );
    }
    ensure!(
        spec.sharing != Sharing::Multiplexed || spec.correlation.id_bits().is_some(),
        "requests are multiplexed by default, but there is no id to tell them apart"
    );
    ensure!(
        !matches!(spec.correlation, Correlation::Id { .. }) || spec.sharing != Sharing::Pipelined,
        "replies come in any order, so requests cannot be pipelined by default"
    );
    let reasons: BTreeSet<_> = spec.replies.iter().collect();
    ensure!(
        reasons.len() == spec.replies.len(),
        "a reply is claimed twice"
    );
    let again = subject.protocol.spec();
    ensure!(again == spec, "the spec differs from one call to the next");
    Ok(())
}
