//! Every decision on a request, as a value for people: printable, and serialisable with the feature
//! `serde`. The request path does not use this module.

mod asked;
mod plan;
mod target;

use std::fmt;

use meltemi_config::{AttributeMatch, Config, Served};
use meltemi_frame::{Lookup, Message};

use crate::{CompiledRoute, Peer, Step, Table};
pub use asked::{AccessGiven, Asked, LimitAsked, ServiceAsked};
pub use plan::{FaultShare, MirrorShare, Plan, RetryPlan};
pub use target::{EndpointShare, TargetShare};

/// The result of testing a message against one route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Verdict {
    /// The route's position, from 0.
    pub position: usize,
    /// The route's name.
    pub route: String,
    /// The first test that the message failed. `None` if the route matched.
    pub failed: Option<FailedTest>,
}

/// A test that a message failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FailedTest {
    /// The attribute.
    pub attribute: String,
    /// The condition that the attribute must meet, as text.
    pub demand: String,
    /// The values in the message: the first eight, each cut to 128 bytes. Empty if the attribute is
    /// absent.
    pub seen: Vec<String>,
}

const VALUES_SHOWN: usize = 8;
const BYTES_SHOWN: usize = 128;

impl FailedTest {
    pub(crate) fn new(rule: &AttributeMatch, lookup: &Lookup, message: &Message<'_>) -> Self {
        let mut seen = Vec::new();
        message
            .attributes
            .any(lookup, message.wire(), &mut |value| {
                let shown = value.get(..BYTES_SHOWN).unwrap_or(value);
                seen.push(String::from_utf8_lossy(shown).into_owned());
                seen.len() == VALUES_SHOWN
            });
        let not = if rule.negate { "not: " } else { "" };
        Self {
            attribute: rule.name.clone(),
            demand: format!("{not}{}", rule.matcher),
            seen,
        }
    }
}

/// Every decision on a request: the policies that apply, the route that matches, the changes to the
/// request, and the clusters it can go to.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Decision {
    /// The protocol.
    pub protocol: String,
    /// The policies that apply before a route is selected.
    pub asked: Asked,
    /// The result of each route that was tested, up to and including the one that matched.
    pub verdicts: Vec<Verdict>,
    /// The name of the route that matched. `None` if no route matched.
    pub route: Option<String>,
    /// The policies of the route.
    pub route_asked: Asked,
    /// The other effects of the route. `None` if no route matched.
    pub plan: Option<Plan>,
    /// The clusters of the route.
    pub clusters: Vec<TargetShare>,
}

impl Decision {
    /// Returns the decisions of `table` on a message from `peer`. `table` must be compiled from
    /// `served`, a part of `config`.
    pub fn new(
        served: &Served,
        table: &Table,
        config: &Config,
        message: &Message<'_>,
        peer: &Peer,
    ) -> Self {
        let verdicts = table.explain(message);
        let won = verdicts.last().filter(|verdict| verdict.failed.is_none());
        let route = won.and_then(|verdict| {
            let compiled = table.routes().get(verdict.position)?;
            Some((compiled, served.routes.get(verdict.position)?))
        });
        let asked = Asked::new(
            table.policies(),
            &served.local_limits,
            &served.global_limits,
            message,
            peer,
        );
        let mut decision = Self {
            protocol: served.protocol.spec().name.to_string(),
            asked,
            route: route.map(|(route, _)| route.name.to_string()),
            route_asked: Asked::default(),
            plan: None,
            clusters: Vec::new(),
            verdicts,
        };
        if let Some((route, plain)) = route {
            let policies = route
                .rules
                .extras()
                .and_then(|extras| extras.policies.as_ref());
            decision.route_asked = Asked::new(
                policies,
                &plain.local_limits,
                &plain.global_limits,
                message,
                peer,
            );
            decision.plan = Some(Plan::new(route, plain, config, message, peer));
            let target = |(cluster, weight): (usize, u32)| {
                let hash = route.hash(cluster, message, peer.remote);
                Some(TargetShare::new(
                    config.clusters().get(cluster)?,
                    weight,
                    hash,
                    access(route, cluster, message, peer),
                ))
            };
            decision.clusters = route.targets().filter_map(target).collect();
        }
        decision
    }
}

/// Returns the decision of a cluster's policies on a request that a route sends there.
fn access(
    route: &CompiledRoute,
    cluster: usize,
    message: &Message<'_>,
    peer: &Peer,
) -> Option<AccessGiven> {
    let authorizer = route.rules.guards()?.of(cluster)?;
    Some(AccessGiven::new(authorizer, message, peer))
}

impl fmt::Display for FailedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` should be: {}; it ", self.attribute, self.demand)?;
        match self.seen.as_slice() {
            [] => f.write_str("is absent"),
            [one] => write!(f, "is `{one}`"),
            many => write!(f, "is `{}`", many.join("`, `")),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {} `{}`: ", self.position, self.route)?;
        match &self.failed {
            Some(failed) => write!(f, "no: {failed}"),
            None => f.write_str("yes"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "protocol {}", self.protocol)?;
        for step in Step::ALL {
            if step == Step::RoutePolicies && self.plan.is_none() {
                return writeln!(f, "no route matches");
            }
            self.show(step, f)?;
        }
        Ok(())
    }
}

impl Decision {
    /// Writes the decisions of one step.
    fn show(&self, step: Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan.as_ref();
        match step {
            Step::Policies => write!(f, "{}", self.asked),
            Step::Route => {
                let mut verdicts = self.verdicts.iter();
                verdicts.try_for_each(|one| writeln!(f, "{one}"))?;
                plan.map_or(Ok(()), |plan| plan.show_route(f))
            }
            Step::RoutePolicies => write!(f, "{}", self.route_asked),
            Step::Faults => plan.map_or(Ok(()), |plan| plan.show_faults(f)),
            Step::Changes => plan.map_or(Ok(()), |plan| plan.show_changes(f)),
            // These steps decide nothing about a single request.
            Step::Trace | Step::Wait => Ok(()),
            Step::Dispatch => {
                plan.map_or(Ok(()), |plan| plan.show_mirrors(f))?;
                let mut clusters = self.clusters.iter();
                clusters.try_for_each(|one| write!(f, "{one}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
