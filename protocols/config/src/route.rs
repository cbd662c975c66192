//! A route: selects requests, and decides where and how they are sent.

use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::Spec;

use crate::check::{Check, On};
use crate::{
    AttributeMatch, Authorization, Change, FaultRule, GlobalLimit, LocalLimits, Mirror, Origin,
    Problem, Retry,
};

/// Selects requests, and sends them to clusters.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name for metrics, logs and dumps.
    pub name: String,
    /// The tests of a request. All must pass. If empty, every request matches.
    pub matches: Vec<AttributeMatch>,
    /// The clusters of matching requests. At least one, with a positive sum of weights.
    pub clusters: Vec<WeightedCluster>,
    /// The timeout, from the last byte of the request to the last byte of the response. `None` if
    /// there is none.
    pub timeout: Option<Duration>,
    /// `true` if the caller's timeout is always read, even from metadata behind the body, and
    /// applies if it is shorter. Default `false`: it applies only if it is found without further
    /// decoding.
    pub caller_timeout: bool,
    /// The retry rule.
    pub retry: Retry,
    /// The faults to inject. Each one is drawn independently, in this order.
    pub faults: Vec<FaultRule>,
    /// The clusters that get copies.
    pub mirrors: Vec<Mirror>,
    /// The attribute changes.
    pub mutation: Mutation,
    /// The authorization policies. They apply after those of the listener.
    pub authorization: Option<Arc<Authorization>>,
    /// The local limits. All must let a request pass. Several routes may share one.
    pub local_limits: Vec<Arc<LocalLimits>>,
    /// The limits that an external service decides. All must let a request pass.
    pub global_limits: Vec<Arc<GlobalLimit>>,
    /// Its position in the configuration source.
    pub origin: Origin,
}

/// A cluster with its share of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// The cluster's name.
    pub cluster: String,
    /// Its weight, relative to the sum of the route's weights.
    pub weight: u32,
}

/// Changes to attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mutation {
    /// Changes to requests, in order.
    pub request: Vec<Change>,
    /// Changes to responses, in order. They use the attributes of the response.
    pub response: Vec<Change>,
}

impl Mutation {
    /// Returns `true` if there are no changes.
    pub const fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

impl Route {
    /// Creates a route that sends every request to these clusters, with every default.
    pub fn new(name: impl Into<String>, clusters: Vec<WeightedCluster>) -> Self {
        Self {
            name: name.into(),
            matches: Vec::new(),
            clusters,
            timeout: None,
            caller_timeout: false,
            retry: Retry::default(),
            faults: Vec::new(),
            mirrors: Vec::new(),
            mutation: Mutation::default(),
            authorization: None,
            local_limits: Vec::new(),
            global_limits: Vec::new(),
            origin: Origin::default(),
        }
    }

    pub(crate) fn check(&self, spec: &Spec, problems: &mut Vec<Problem>) {
        let sum: u64 = self
            .clusters
            .iter()
            .map(|target| u64::from(target.weight))
            .sum();
        if sum == 0 {
            problems.push(
                Problem::error(&self.origin, "route", &self.name)
                    .says("the weights of its destinations sum to zero, so no request can go anywhere")
                    .remedy("give at least one destination a positive weight"),
            );
        }
        let mut check = Check { spec, problems };
        check.tests(
            &self.matches,
            On::Requests,
            &self.origin,
            "match.attributes",
        );
        check.retry(&self.retry, &self.origin);
        check.mutation(&self.mutation, &self.origin);
        for fault in &self.faults {
            check.fault(fault);
        }
        for limits in &self.local_limits {
            check.local(limits);
        }
        for limit in &self.global_limits {
            check.global(limit);
        }
    }
}
