//! Translates rate limits for one protocol: the names that they use, and the clusters of rate-limit
//! services.

use std::sync::Arc;

use meltemi_config::{Bucket, GlobalLimit, LocalLimits, Problem};
use meltemi_frame::Spec;

use super::attributes::{On, attribute, attribute_match};
use super::clusters::Clusters;
use crate::kinds::{GlobalRate, LocalRate, Names};
use crate::shadow::Shadows;

/// The name that means the client's address.
const SOURCE_IP: &str = "source.ip";

/// Checks the limits against the protocol and returns them. Errors become problems. Callers that
/// return the same limits for several protocols or routes share the buckets.
pub(super) fn local(
    written: &LocalRate<'_>,
    spec: &Spec,
    problems: &mut Vec<Problem>,
) -> Arc<LocalLimits> {
    names(&written.names, spec, problems);
    warn_shadowed(written, spec, problems);
    Arc::clone(&written.limits)
}

/// Warns of conditions that no request reaches. Where the protocol ignores case, tests that differ
/// only in case are equal.
fn warn_shadowed(written: &LocalRate<'_>, spec: &Spec, problems: &mut Vec<Problem>) {
    let mut shadows = Shadows::default();
    let rules = &written.limits.rules;
    for (rule, at) in rules.iter().zip(&written.buckets) {
        let tests = rule.matches.iter().map(|test| test.normalised(spec));
        let Some((first, why)) = shadows.add(&tests.collect::<Vec<_>>()) else {
            continue;
        };
        let first = rules.get(first).unwrap_or(rule);
        problems.push(
            at.warning(format!(
                "limits nothing: the condition at {} comes first and {}",
                first.origin,
                why.words()
            ))
            .remedy("only the first matching condition counts; put the more specific one first"),
        );
    }
}

/// Warns of limits of a route that never refuse a request, because an earlier and stricter limit
/// applies to all requests of the route.
pub(super) fn warn_idle(
    route: &[Arc<LocalLimits>],
    before: &LocalLimits,
    problems: &mut Vec<Problem>,
) {
    let [all] = before.rules.as_slice() else {
        return;
    };
    if !all.matches.is_empty() || !all.per.is_empty() {
        return;
    }
    let rules = route.iter().flat_map(|limits| &limits.rules);
    for rule in rules.filter(|rule| lets_through(&rule.bucket, &all.bucket)) {
        problems.push(
            Problem::warning(&rule.origin, "localRateLimit", "tokenBucket")
                .says(format!(
                    "refuses nothing: the limit of the router at {} comes first and lets fewer requests through",
                    all.origin
                ))
                .remedy("give it fewer tokens or a longer fillInterval, or leave it out"),
        );
    }
}

/// Returns `true` if one bucket always lets everything through that the other lets through.
fn lets_through(wide: &Bucket, narrow: &Bucket) -> bool {
    let rate = |of: &Bucket, other: &Bucket| u128::from(of.fill) * other.interval.as_nanos();
    wide.size >= narrow.size && rate(wide, narrow) >= rate(narrow, wide)
}

/// Returns the limit. `None`, with a problem, if its service is not loaded.
pub(super) fn global(
    written: &GlobalRate<'_>,
    namespace: &str,
    spec: &Spec,
    clusters: &mut Clusters<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<GlobalLimit>> {
    names(&written.names, spec, problems);
    let tests = written.names.tests.iter();
    let limit = GlobalLimit {
        name: written.name.clone(),
        matches: tests
            .filter_map(|test| attribute_match(test, spec, On::Requests, &mut Vec::new()))
            .collect(),
        domain: written.domain.clone(),
        descriptors: written.descriptors.clone(),
        cluster: clusters.plain(&written.service, namespace, problems)?,
        timeout: written.timeout,
        deny_on_failure: written.deny,
        origin: written.at.origin(),
    };
    Some(Arc::new(limit))
}

fn names(names: &Names<'_>, spec: &Spec, problems: &mut Vec<Problem>) {
    for test in &names.tests {
        attribute_match(test, spec, On::Requests, problems);
    }
    for (name, at) in &names.values {
        if name != SOURCE_IP {
            attribute(name, at, spec, On::Requests, problems);
        }
    }
}
