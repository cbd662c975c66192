//! The interface between controller and router: the configuration that the router needs. It does
//! not depend on the source of the configuration.
//!
//! A [`Config`] is valid by construction: [`Config::new`] rejects everything that the router cannot
//! carry out. So the router needs no further checks.

mod authorization;
mod check;
mod cluster;
mod duration;
mod health;
mod limits;
mod listener;
mod matcher;
mod possible;
mod problem;
mod rate;
mod route;
mod rules;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use authorization::{
    Authorization, Clause, IpBlock, Policy, PolicyRule, Subject, Undetermined, ValueMatch,
};
pub use cluster::{Address, Balancing, Cluster, ClusterLimits, Endpoint, Locality};
pub use duration::parse_duration;
pub use health::{HealthCheck, LocalityShares, Outlier, Probe, RetryBudget, SuccessRate, Warmup};
pub use limits::ListenerLimits;
pub use listener::{Listener, Served};
pub use matcher::{AttributeMatch, Matcher, PatternError, WholeRegex};
pub use possible::Impossible;
pub use problem::{Origin, Problem, Severity};
pub use rate::{
    Bucket, Descriptor, DescriptorEntry, DescriptorValue, GlobalLimit, LocalLimit, LocalLimits,
};
pub use route::{Mutation, Route, WeightedCluster};
pub use rules::{Abort, Change, FaultRule, Mirror, Retry, Share};
pub use template::{Part, Template, TemplateError, Variable};

/// The router's configuration: listeners with their routes, and clusters.
#[derive(Clone, Debug, Default)]
pub struct Config {
    listeners: Vec<Arc<Listener>>,
    clusters: Vec<Arc<Cluster>>,
    by_name: BTreeMap<String, usize>,
}

impl Config {
    /// Creates a configuration of these listeners and clusters.
    ///
    /// # Errors
    /// Returns all problems at once: duplicate names or addresses, routes to clusters that do not
    /// exist, weights that sum to zero, attributes that the protocol does not have, edits that it
    /// cannot carry, rules without effect.
    pub fn new(listeners: Vec<Listener>, clusters: Vec<Cluster>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut by_name = BTreeMap::new();
        for (at, cluster) in clusters.iter().enumerate() {
            if by_name.insert(cluster.name.clone(), at).is_some() {
                problems.push(
                    Problem::error(&cluster.origin, "cluster", &cluster.name)
                        .says("two clusters have this name"),
                );
            }
            cluster.check(&mut problems);
        }
        let mut addresses = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut limits = BTreeMap::new();
        for listener in &listeners {
            if !addresses.insert(listener.address) && listener.address.port() != 0 {
                problems.push(
                    Problem::error(&listener.origin, "address", &listener.address.to_string())
                        .says("two listeners have this address"),
                );
            }
            if !names.insert(listener.name.as_str()) {
                problems.push(
                    Problem::error(&listener.origin, "name", &listener.name)
                        .says("two listeners have this name"),
                );
            }
            listener.check(&mut problems);
            references(listener, &by_name, &mut limits, &mut problems);
        }
        if problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
        {
            return Err(problems);
        }
        Ok(Self {
            listeners: listeners.into_iter().map(Arc::new).collect(),
            clusters: clusters.into_iter().map(Arc::new).collect(),
            by_name,
        })
    }

    /// Returns the listeners.
    pub fn listeners(&self) -> &[Arc<Listener>] {
        &self.listeners
    }

    /// Returns the clusters, in the order of [`Config::cluster_index`].
    pub fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    /// Returns the position of a cluster in [`Config::clusters`]. `None` if there is none with this
    /// name.
    pub fn cluster_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

/// Checks that the clusters in a listener's rules exist, and that its limits have unique names.
fn references<'l>(
    listener: &'l Listener,
    clusters: &BTreeMap<String, usize>,
    limits: &mut BTreeMap<&'l str, &'l LocalLimits>,
    problems: &mut Vec<Problem>,
) {
    let mut wanted = |origin: &Origin, field: &str, name: &str| {
        if !clusters.contains_key(name) {
            problems.push(Problem::error(origin, field, name).says("there is no such cluster"));
        }
    };
    let mut local = Vec::new();
    let mut global = Vec::new();
    for served in &listener.served {
        local.extend(&served.local_limits);
        global.extend(&served.global_limits);
        for route in &served.routes {
            for target in &route.clusters {
                wanted(&route.origin, "destination", &target.cluster);
            }
            for mirror in &route.mirrors {
                wanted(&mirror.origin, "mirror", &mirror.cluster);
            }
            local.extend(&route.local_limits);
            global.extend(&route.global_limits);
        }
    }
    for limit in global {
        wanted(&limit.origin, "rateLimitService", &limit.cluster);
    }
    for own in local {
        let first = *limits.entry(&own.name).or_insert(&**own);
        if first != &**own {
            problems.push(
                Problem::error(&own.origin, "localRateLimit", &own.name)
                    .says(format!(
                        "the limits at {} have this name, too",
                        first.origin
                    ))
                    .remedy("give routers, and the routes of one router, names of their own"),
            );
        }
    }
}
