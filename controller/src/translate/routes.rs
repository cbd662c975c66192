//! Makes the routes of one protocol from rules: its names of attributes, and the changes that it
//! can carry.

use std::sync::Arc;

use meltemi_config::{
    AttributeMatch, Change as Compiled, Mutation, Problem, Route, Template, WeightedCluster,
};
use meltemi_frame::{Protocol, Spec};

use super::attributes::{On, attribute, attribute_match};
use super::clusters::Clusters;
use super::common::{Common, mirror};
use super::{faults, limits, retry};
use crate::kinds::{Change, Router, Rule, Written};
use crate::shadow::Shadows;

/// Makes the routes of one protocol on one listener.
pub(super) struct Compiler<'c, 'r> {
    pub(super) protocol: &'c Arc<dyn Protocol>,
    pub(super) listener_port: u16,
    pub(super) clusters: &'c mut Clusters<'r>,
    /// The settings of the current router for all of its routes.
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

    /// Makes the route of a rule. The tests that its host implies come first.
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
            .map(|copies| {
                let protocol = self.protocol.as_ref();
                let (port, clusters) = (self.listener_port, &mut *self.clusters);
                mirror(copies, namespace, protocol, port, clusters, problems)
            })
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

    /// Applies the router's settings for all routes to a route.
    pub(super) fn common(
        &mut self,
        router: &Router<'_>,
        route: &mut Route,
        problems: &mut Vec<Problem>,
    ) {
        let common = match self.common.take().filter(|common| common.is_of(router)) {
            Some(common) => common,
            None => Common::new(router, self.protocol.spec(), self.clusters, problems),
        };
        common.apply(route, problems);
        self.common = Some(common);
    }
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

/// Returns the value of a change. `None`, with a problem, if it refers to something that does not
/// exist.
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

/// Returns the attribute to change: a declared one, or a header by its bare name. `None` if it
/// cannot be changed.
fn editable(name: &str, spec: &Spec, response: bool) -> Option<String> {
    if spec.lookup(name).is_some() {
        return Some(name.to_owned()).filter(|name| spec.editable(name, response));
    }
    spec.open
        .iter()
        .map(|open| format!("{}{name}", open.prefix))
        .find(|name| spec.editable(name, response))
}

/// Warns of routes that no request can reach. Where the protocol ignores case, tests that differ
/// only in case are equal.
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
