//! A route: which requests, to which clusters, how.

use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::Spec;

use crate::check::{Check, On};
use crate::{
    AttributeMatch, Authorization, Change, FaultRule, GlobalLimit, LocalLimits, Mirror, Origin,
    Problem, Retry,
};

/// Which requests go where.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in metrics, logs and dumps.
    pub name: String,
    /// All must pass; none: every request.
    pub matches: Vec<AttributeMatch>,
    /// Where matching requests go: at least one, with a positive sum of weights.
    pub clusters: Vec<WeightedCluster>,
    /// How long a request may take from its last byte in to its last byte out; `None`: for ever.
    pub timeout: Option<Duration>,
    /// How long the caller says that it waits is looked for wherever the protocol writes it, metadata
    /// behind the body included, and counts if it is shorter. Default false: it counts where it is
    /// found without that.
    pub caller_timeout: bool,
    /// What is done about requests that failed.
    pub retry: Retry,
    /// Faults that are injected: each is drawn by itself, in this order.
    pub faults: Vec<FaultRule>,
    /// Clusters that get copies.
    pub mirrors: Vec<Mirror>,
    /// What changes on the way.
    pub mutation: Mutation,
    /// Who may take the route; asked after those of the listener.
    pub authorization: Option<Arc<Authorization>>,
    /// Local limits; all must let a request pass. Several routes may share one.
    pub local_limits: Vec<Arc<LocalLimits>>,
    /// Limits that a service decides; all must let a request pass.
    pub global_limits: Vec<Arc<GlobalLimit>>,
    /// Where it was written.
    pub origin: Origin,
}

/// A share of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// The cluster's name.
    pub cluster: String,
    /// Its share, relative to the sum of the route's weights.
    pub weight: u32,
}

/// Changes to attributes on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mutation {
    /// Made to requests, in order.
    pub request: Vec<Change>,
    /// Made to responses, in order. Their attributes are those of the response.
    pub response: Vec<Change>,
}

impl Mutation {
    /// Whether nothing changes.
    pub const fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

impl Route {
    /// A route of every request to these clusters, with every default.
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
