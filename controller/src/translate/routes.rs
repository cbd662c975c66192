//! Rules to routes of one protocol: its names for attributes, and what it can carry.

use std::collections::HashMap;
use std::sync::Arc;

use meltemi_config::{
    AttributeMatch, Change as Compiled, Mutation, Origin, Problem, Route, Template, WeightedCluster,
};
use meltemi_frame::{Protocol, Spec};

use super::clusters::Clusters;
use crate::kinds::{Change, Name, Router, Rule, Test};
use crate::near::{distance, nearest};
use crate::yaml::Cursor;

/// Makes the routes of one protocol on one listener.
pub(super) struct Compiler<'c, 'r> {
    pub(super) protocol: &'c Arc<dyn Protocol>,
    pub(super) listener_port: u16,
    pub(super) clusters: &'c mut Clusters<'r>,
}

impl Compiler<'_, '_> {
    /// The route of a rule, behind the tests that are implied by its host.
    pub(super) fn route(
        &mut self,
        router: &Router<'_>,
        at: usize,
        rule: &Rule<'_>,
        implied: Option<&AttributeMatch>,
        problems: &mut Vec<Problem>,
    ) -> Route {
        let spec = self.protocol.spec();
        let mut matches: Vec<AttributeMatch> = rule
            .tests
            .iter()
            .filter_map(|test| attribute_match(test, spec, problems))
            .collect();
        if let Some(implied) = implied
            && !matches.iter().any(|own| own.name == implied.name)
        {
            matches.insert(0, implied.clone());
        }
        let namespace = &router.document.namespace;
        let clusters = rule.destinations.iter().map(|destination| WeightedCluster {
            cluster: self.clusters.of(
                destination,
                namespace,
                self.protocol.as_ref(),
                self.listener_port,
                problems,
            ),
            weight: destination.weight,
        });
        let clusters = clusters.collect();
        let name = if rule.name.is_empty() {
            format!("{}[{at}]", router.document.name)
        } else {
            rule.name.clone()
        };
        Route {
            matches,
            timeout: rule.timeout,
            mutation: Mutation {
                request: edits(&rule.request, spec, false, problems),
                response: edits(&rule.response, spec, true, problems),
            },
            origin: rule.at.origin(),
            ..Route::new(name, clusters)
        }
    }
}

fn attribute_match(
    test: &Test<'_>,
    spec: &Spec,
    problems: &mut Vec<Problem>,
) -> Option<AttributeMatch> {
    let name = match &test.name {
        Name::Exactly(name) => known_name(name, spec),
        Name::Header(name) => header_name(name, spec),
        Name::Method => known_name("method", spec).or_else(|| known_name(&spec.operation, spec)),
        Name::Key => known_name("key", spec).or_else(|| known_name("keys", spec)),
    };
    let written = match &test.name {
        Name::Exactly(name) | Name::Header(name) => name,
        Name::Method => "method",
        Name::Key => "key",
    };
    let Some(name) = name else {
        problems.push(no_such_attribute(&test.at, written, spec));
        return None;
    };
    match spec.key(&name) {
        Some(key) if !key.request => {
            problems.push(test.at.error(format!(
                "{} has `{name}` on responses only, and routes are for requests",
                spec.name
            )));
            return None;
        }
        Some(_) => {}
        None => suspicious(&test.at, written, spec, problems),
    }
    Some(AttributeMatch {
        name,
        matcher: test.matcher.clone(),
        negate: test.negate,
    })
}

/// Warns of a name that open metadata takes, but that looks like a slip of a declared one.
pub(super) fn suspicious(at: &Cursor<'_>, written: &str, spec: &Spec, problems: &mut Vec<Problem>) {
    let near = spec
        .keys
        .iter()
        .find(|key| distance(written, &key.name) <= 1);
    if let Some(near) = near {
        problems.push(
            at.warning(format!(
                "`{written}` is taken for the name of a header or attachment"
            ))
            .remedy(format!("did you mean `{}`?", near.name)),
        );
    }
}

fn known_name(name: &str, spec: &Spec) -> Option<String> {
    spec.lookup(name).map(|_| name.to_owned())
}

/// The attribute that a bare name means where headers are meant: that of the name, or else the
/// header of the name.
pub(super) fn header_name(name: &str, spec: &Spec) -> Option<String> {
    known_name(name, spec).or_else(|| {
        let open = spec.open.first()?;
        Some(format!("{}{name}", open.prefix)).filter(|_| !name.is_empty())
    })
}

/// What to say of a name that the protocol does not have.
pub(super) fn no_such_attribute(at: &Cursor<'_>, name: &str, spec: &Spec) -> Problem {
    let near = nearest(name, spec.keys.iter().map(|key| &*key.name));
    let hint = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    at.error(format!("{} has no attribute `{name}`", spec.name))
        .remedy(format!("{hint}it has {}", spec.known_names()))
}

fn edits(
    changes: &[Change<'_>],
    spec: &Spec,
    response: bool,
    problems: &mut Vec<Problem>,
) -> Vec<Compiled> {
    let mut all = Vec::new();
    for change in changes {
        let (name, at) = match change {
            Change::Set(name, _, at) | Change::Add(name, _, at) | Change::Remove(name, at) => {
                (name, at)
            }
        };
        let Some(name) = editable(name, spec, response) else {
            problems.push(
                at.error(format!(
                    "{} cannot change `{name}` on {}",
                    spec.name,
                    if response { "responses" } else { "requests" }
                ))
                .remedy(can_change(spec, response)),
            );
            continue;
        };
        all.push(match change {
            Change::Set(_, value, _) => Compiled::Set(name, Template::text(value)),
            Change::Add(_, value, _) => Compiled::Add(name, Template::text(value)),
            Change::Remove(..) => Compiled::Remove(name),
        });
    }
    all
}

/// The attribute that is changed, if it can be: a declared one, or a header by its bare name.
fn editable(name: &str, spec: &Spec, response: bool) -> Option<String> {
    if spec.lookup(name).is_some() {
        return Some(name.to_owned()).filter(|name| spec.editable(name, response));
    }
    spec.open
        .iter()
        .map(|open| format!("{}{name}", open.prefix))
        .find(|name| spec.editable(name, response))
}

fn can_change(spec: &Spec, response: bool) -> String {
    let declared = spec.keys.iter().map(|key| key.name.to_string());
    let open = spec
        .open
        .iter()
        .map(|open| format!("{}<name>", open.prefix));
    let names: Vec<String> = declared
        .chain(open)
        .filter(|name| spec.editable(name, response))
        .collect();
    if names.is_empty() {
        "nothing in it can be changed".to_owned()
    } else {
        format!("it can change {}", names.join(", "))
    }
}

/// Warns of routes that no request can reach.
pub(super) fn warn_unreachable(routes: &[Route], problems: &mut Vec<Problem>) {
    let mut all: Option<&Origin> = None;
    let mut seen: HashMap<Vec<String>, &Origin> = HashMap::new();
    for route in routes {
        if let Some(first) = all {
            problems.push(unreachable(route, "takes every request", first));
            continue;
        }
        let mut tests: Vec<String> = route
            .matches
            .iter()
            .map(|test| format!("{} {} {}", test.name, test.negate, test.matcher))
            .collect();
        tests.sort();
        tests.dedup();
        if let Some(first) = seen.get(&tests) {
            problems.push(unreachable(route, "has the same tests", first));
        } else {
            if tests.is_empty() {
                all = Some(&route.origin);
            }
            seen.insert(tests, &route.origin);
        }
    }
}

fn unreachable(route: &Route, why: &str, first: &Origin) -> Problem {
    Problem::warning(&route.origin, "route", &route.name)
        .says(format!(
            "no request reaches it: the route at {first} comes first and {why}"
        ))
        .remedy("routes are tried in order; put the more specific one first")
}
