//! Rules to routes of one protocol: its names for attributes, and what it can carry.

use std::sync::Arc;

use meltemi_config::{
    AttributeMatch, Change as Compiled, Mutation, Problem, Route, Template, WeightedCluster,
};
use meltemi_frame::{Protocol, Spec};

use super::clusters::Clusters;
use super::common::Common;
use super::{faults, limits, retry};
use crate::kinds::{Change, Name, Router, Rule, Test, Written};
use crate::near::{distance, nearest};
use crate::shadow::Shadows;
use crate::yaml::Cursor;

/// Makes the routes of one protocol on one listener.
pub(super) struct Compiler<'c, 'r> {
    pub(super) protocol: &'c Arc<dyn Protocol>,
    pub(super) listener_port: u16,
    pub(super) clusters: &'c mut Clusters<'r>,
    /// What the router whose routes are made says of all of them.
    pub(super) common: Option<Common>,
}

impl<'c, 'r> Compiler<'c, 'r> {
    pub(super) const fn new(
        protocol: &'c Arc<dyn Protocol>,
        listener_port: u16,
        clusters: &'c mut Clusters<'r>,
    ) -> Self {
        Self {
            protocol,
            listener_port,
            clusters,
            common: None,
        }
    }

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
            .filter_map(|test| attribute_match(test, spec, On::Requests, problems))
            .collect();
        if let Some(implied) = implied
            && !matches.iter().any(|own| own.name == implied.name)
        {
            matches.insert(0, implied.clone());
        }
        matches.shrink_to_fit();
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
        let mirrors = rule.mirrors.iter();
        let mirrors = mirrors
            .map(|copies| self.mirror(copies, namespace, problems))
            .collect();
        let faults = rule.faults.iter();
        let faults = faults
            .filter_map(|fault| faults::compile(fault, spec, problems))
            .collect();
        let local = rule.local.iter();
        let local_limits = local
            .map(|limit| limits::local(limit, spec, problems))
            .collect();
        let mut route = Route {
            matches,
            timeout: rule.timeout,
            caller_timeout: rule.caller_timeout,
            retry: retry::compile(rule.retries.as_deref(), rule.timeout, spec, problems),
            faults,
            mirrors,
            local_limits,
            mutation: Mutation {
                request: edits(&rule.request, spec, false, problems),
                response: edits(&rule.response, spec, true, problems),
            },
            origin: rule.at.origin(),
            ..Route::new(name, clusters)
        };
        self.common(router, &mut route, problems);
        route
    }
}

/// The messages in which an attribute is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    Requests,
    Responses,
}

/// The test of an attribute that messages of this kind have; none, with a problem, if they do not.
pub(super) fn attribute_match(
    test: &Test<'_>,
    spec: &Spec,
    on: On,
    problems: &mut Vec<Problem>,
) -> Option<AttributeMatch> {
    let name = match &test.name {
        Name::Exactly(name) => known_name(name, spec),
        Name::Header(name) => header_name(name, spec),
        Name::Method => known_name("method", spec).or_else(|| known_name(&spec.operation, spec)),
        Name::Key => known_name("key", spec).or_else(|| known_name("keys", spec)),
    };
    let written = test.name.written();
    let Some(name) = name else {
        problems.push(no_such_attribute(&test.at, written, spec));
        return None;
    };
    if !found_on(&name, written, &test.at, spec, on, problems) {
        return None;
    }
    Some(AttributeMatch {
        name,
        matcher: test.matcher.clone(),
        negate: test.negate,
    })
}

/// Whether messages of this kind have an attribute, which is named as the protocol names it. If not, it is a
/// problem.
pub(super) fn attribute(
    name: &str,
    at: &Cursor<'_>,
    spec: &Spec,
    on: On,
    problems: &mut Vec<Problem>,
) -> bool {
    if spec.lookup(name).is_none() {
        problems.push(no_such_attribute(at, name, spec));
        return false;
    }
    found_on(name, name, at, spec, on, problems)
}

/// Whether messages of this kind have an attribute that the protocol has.
fn found_on(
    name: &str,
    written: &str,
    at: &Cursor<'_>,
    spec: &Spec,
    on: On,
    problems: &mut Vec<Problem>,
) -> bool {
    let (there, other, wanted) = match (spec.key(name), on) {
        (None, _) => {
            suspicious(at, written, spec, problems);
            return true;
        }
        (Some(key), On::Requests) => (key.request, "responses", "requests"),
        (Some(key), On::Responses) => (key.response, "requests", "responses"),
    };
    if !there {
        problems.push(at.error(format!(
            "{} has `{name}` on {other} only, and this is for {wanted}",
            spec.name
        )));
    }
    there
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
                .remedy(spec.editable_names(response)),
            );
            continue;
        };
        let value = match change {
            Change::Set(_, value, _) | Change::Add(_, value, _) => value,
            Change::Remove(..) => {
                all.push(Compiled::Remove(name));
                continue;
            }
        };
        let Some(value) = template(value, spec, response, problems) else {
            continue;
        };
        all.push(match change {
            Change::Add(..) => Compiled::Add(name, value),
            _ => Compiled::Set(name, value),
        });
    }
    all
}

/// The value of a change; none, with a problem, if it stands for what is not there.
fn template(
    value: &Written<'_>,
    spec: &Spec,
    response: bool,
    problems: &mut Vec<Problem>,
) -> Option<Template> {
    if !value.holes {
        return Some(Template::text(value.text));
    }
    let template = match Template::parse(value.text) {
        Ok(template) => template,
        Err(error) => {
            let what = "cannot be read as text with attributes in it";
            problems.push(value.at.error(what).remedy(error.to_string()));
            return None;
        }
    };
    let on = if response {
        On::Responses
    } else {
        On::Requests
    };
    let mut known = true;
    for name in template.attributes() {
        known &= attribute(name, &value.at, spec, on, problems);
    }
    known.then_some(template)
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

/// Warns of routes that no request can reach. Tests that differ in case alone are the same where the protocol
/// ignores case.
pub(super) fn warn_unreachable(routes: &[Route], spec: &Spec, problems: &mut Vec<Problem>) {
    let mut shadows = Shadows::default();
    for route in routes {
        let tests = route.matches.iter().map(|test| test.normalised(spec));
        let Some((first, why)) = shadows.add(&tests.collect::<Vec<_>>()) else {
            continue;
        };
        let first = routes.get(first).unwrap_or(route);
        problems.push(
            Problem::warning(&route.origin, "route", &route.name)
                .says(format!(
                    "no request reaches it: the route at {} comes first and {}",
                    first.origin,
                    why.words()
                ))
                .remedy("routes are tried in order; put the more specific one first"),
        );
    }
}
