//! Reads Istio's AuthorizationPolicy, ours, and Aeraki's DubboAuthorizationPolicy: which clients
//! may send which requests. This module must not know what a test means in a protocol.

mod terms;

use meltemi_config::{Problem, Subject, Undetermined, ValueMatch};

use super::service::{Labels, labels};
use crate::yaml::{Cursor, Document};
use terms::Reader;

/// A policy.
#[derive(Debug)]
pub(crate) struct AccessPolicy<'a> {
    pub(crate) document: &'a Document,
    pub(crate) flavour: Flavour,
    pub(crate) action: Action,
    /// Labels that the selector of a Gateway must have.
    pub(crate) selector: Option<(Labels, Cursor<'a>)>,
    pub(crate) targets: Vec<Target<'a>>,
    pub(crate) rules: Vec<AccessRule<'a>>,
    pub(crate) undetermined: Undetermined,
}

/// The kind in which a policy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Istio's kind. With `operations`, its methods mean operations.
    Istio { operations: bool },
    /// Aeraki's kind.
    Dubbo,
    /// Our kind.
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
    Audit,
}

/// What a policy applies to.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
}

/// A rule matches if one of `from`, one of `to`, and all of `when` match.
#[derive(Debug)]
pub(crate) struct AccessRule<'a> {
    pub(crate) from: Vec<Group<'a>>,
    pub(crate) to: Vec<Group<'a>>,
    pub(crate) when: Group<'a>,
}

/// Tests that must all pass.
pub(crate) type Group<'a> = Vec<Term<'a>>;

/// A test: one of the values must match; with `not`, no value may match.
#[derive(Debug)]
pub(crate) struct Term<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) what: What,
    pub(crate) values: Vec<ValueMatch>,
    pub(crate) not: bool,
}

/// The subject of a test.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A subject that every protocol has.
    Subject(Subject),
    /// The operation of the protocol.
    Operation,
    /// The service of the protocol.
    Service,
    /// Any of the keys of the request.
    Key,
    /// An attribute or a header with this name.
    Header(String),
    /// An attribute.
    Attribute(String),
    /// A field that only HTTP has; holds the replacement to suggest.
    Http(&'static str),
}

/// With this annotation, Istio's `methods` and `paths` mean operations and services.
const OPERATIONS: &str = "meltemi.io/operations";

impl Flavour {
    /// Reads Istio's AuthorizationPolicy.
    pub(super) fn istio(document: &Document) -> Self {
        let metadata = document.cursor().at("metadata");
        let operations = metadata.at("annotations").at(OPERATIONS);
        Self::Istio {
            operations: operations.text() == Some("true"),
        }
    }
}

impl<'a> AccessPolicy<'a> {
    pub(crate) fn read(
        document: &'a Document,
        flavour: Flavour,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let spec = document.cursor().at("spec");
        let action = spec.at("action");
        if action.text() == Some("CUSTOM") {
            problems.push(
                action
                    .error("asks a provider outside, and nobody is asked here")
                    .remedy("write ALLOW or DENY policies instead"),
            );
        }
        let mut policy = Self {
            document,
            flavour,
            action: match action.text() {
                Some("DENY") => Action::Deny,
                Some("AUDIT") => Action::Audit,
                _ => Action::Allow,
            },
            selector: None,
            targets: targets(&spec, &document.namespace, problems),
            rules: Vec::new(),
            undetermined: match spec.at("undetermined").text() {
                Some("BestGuess") if flavour == Flavour::Own => Undetermined::BestGuess,
                _ => Undetermined::Deny,
            },
        };
        let selector = spec.at("selector");
        if selector.exists() {
            if !policy.targets.is_empty() {
                problems.push(
                    selector
                        .error("targetRefs are given, too")
                        .remedy("give one of them"),
                );
            }
            policy.selector = Some((labels(&selector.at("matchLabels")), selector));
        }
        let rules = spec.at("rules").items();
        if rules.is_empty() {
            match policy.action {
                Action::Allow => {}
                Action::Deny => problems.push(
                    spec.at("rules")
                        .error("a DENY policy without rules denies nothing")
                        .remedy("add rules; `- {}` denies everything"),
                ),
                Action::Audit => problems.push(
                    spec.at("rules")
                        .warning("an AUDIT policy without rules sees nothing")
                        .remedy("add rules; `- {}` sees everything"),
                ),
            }
        }
        let reader = Reader {
            flavour,
            namespace: &document.namespace,
        };
        policy.rules = rules
            .iter()
            .map(|rule| AccessRule {
                from: reader.alternatives(&rule.at("from"), "source", problems),
                to: reader.alternatives(&rule.at("to"), "operation", problems),
                when: reader.conditions(&rule.at("when"), problems),
            })
            .collect();
        policy
    }
}

fn targets<'a>(spec: &Cursor<'a>, namespace: &str, problems: &mut Vec<Problem>) -> Vec<Target<'a>> {
    let (one, several) = (spec.at("targetRef"), spec.at("targetRefs"));
    if one.exists() && several.exists() {
        problems.push(
            one.error("targetRefs are given, too")
                .remedy("give only targetRefs"),
        );
    }
    let mut all = several.items();
    all.extend(one.exists().then_some(one));
    all.into_iter()
        .filter_map(|at| {
            let other = at.at("namespace");
            if other.text().is_some_and(|other| other != namespace) {
                problems.push(
                    other
                        .error("is another namespace than the policy's")
                        .remedy("put the policy into the namespace of its target"),
                );
            }
            Some(Target {
                kind: at.at("kind").text()?,
                name: at.at("name").text()?,
                at,
            })
        })
        .collect()
}
