//! Adds a note to policies that test attributes which a codec cannot always determine. The note
//! explains the effect.

use meltemi_config::{Policy, PolicyRule, Problem, Subject, Undetermined};
use meltemi_frame::Spec;

use crate::kinds::{AccessPolicy, Action};

/// Returns the note on a policy. `None` if the codec of the protocol always determines the tested
/// attributes.
pub(super) fn note(policy: &AccessPolicy<'_>, compiled: &Policy, spec: &Spec) -> Option<Problem> {
    // Groups attributes with the same cause, in the order of the rules.
    let mut hidden: Vec<(&str, Vec<&str>)> = Vec::new();
    for name in compiled.rules.iter().flat_map(attributes) {
        let Some(when) = spec.blind(name) else {
            continue;
        };
        match hidden.iter_mut().find(|(known, _)| *known == when) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => hidden.push((when, vec![name])),
        }
    }
    if hidden.is_empty() {
        return None;
    }
    let hidden: Vec<String> = hidden
        .iter()
        .map(|(when, names)| format!("`{}` ({when})", names.join("`, `")))
        .collect();
    let then = match (compiled.undetermined, policy.action) {
        (Undetermined::BestGuess, _) => "then the policy tests the values that the codec reads",
        (Undetermined::Deny, Action::Allow) => "then the policy does not allow the request",
        (Undetermined::Deny, Action::Deny) => "then the policy denies the request",
        (Undetermined::Deny, Action::Audit) => "then the policy matches the request",
    };
    let rules = policy.document.cursor().at("spec").at("rules");
    let what = format!(
        "the codec of {} cannot always determine {}",
        spec.name,
        hidden.join("; ")
    );
    Some(rules.note(what).remedy(format!(
        "{then}, and `undetermined` in the access log names the attribute"
    )))
}

/// Returns the attributes that a rule tests.
fn attributes(rule: &PolicyRule) -> impl Iterator<Item = &str> {
    let clauses = rule.from.iter().chain(&rule.to).flatten();
    clauses
        .chain(&rule.when)
        .filter_map(|clause| match &clause.subject {
            Subject::Attribute(name) => Some(name.as_str()),
            _ => None,
        })
}
