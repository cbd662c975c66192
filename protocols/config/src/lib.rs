//! The agreement between controller and router: what the router needs to know, and nothing of
//! where it came from.
//!
//! A [`Config`] is valid by construction: [`Config::new`] refuses what the router could not carry
//! out, so that the router has nothing to check and nothing to refuse.

mod authorization;
mod cluster;
mod health;
mod limits;
mod listener;
mod matcher;
mod problem;
mod rate;
mod route;
mod rules;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use authorization::{Authorization, Clause, IpBlock, Policy, PolicyRule, Subject, ValueMatch};
pub use cluster::{Address, Balancing, Cluster, ClusterLimits, Endpoint, Locality};
pub use health::{HealthCheck, LocalityShares, Outlier, Probe, RetryBudget, SuccessRate, Warmup};
pub use limits::ListenerLimits;
pub use listener::{Listener, Served};
pub use matcher::{AttributeMatch, Matcher, PatternError, WholeRegex};
pub use problem::{Origin, Problem, Severity};
pub use rate::{
    Bucket, Descriptor, DescriptorEntry, DescriptorValue, GlobalLimit, LocalLimit, LocalLimits,
};
pub use route::{Mutation, Route, WeightedCluster};
pub use rules::{Abort, Change, FaultRule, Mirror, Retry, Share};
pub use template::{Part, Template, TemplateError, Variable};

/// Everything the router needs: listeners with their routes, and clusters.
#[derive(Clone, Debug, Default)]
pub struct Config {
    listeners: Vec<Arc<Listener>>,
    clusters: Vec<Arc<Cluster>>,
    by_name: BTreeMap<String, usize>,
}

impl Config {
    /// A configuration of these listeners and clusters.
    ///
    /// # Errors
    /// Every problem found, all of them in one go: names or addresses that are used twice, routes
    /// to clusters that do not exist, weights that sum to zero, attributes that the protocol does
    /// not have, edits that it cannot carry.
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
            for route in listener.served.iter().flat_map(|served| &served.routes) {
                for target in &route.clusters {
                    if !by_name.contains_key(&target.cluster) {
                        problems.push(
                            Problem::error(&route.origin, "destination", &target.cluster)
                                .says("there is no such cluster"),
                        );
                    }
                }
            }
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

    /// The listeners.
    pub fn listeners(&self) -> &[Arc<Listener>] {
        &self.listeners
    }

    /// The clusters, in the order that [`Config::cluster_index`] counts.
    pub fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    /// The position of a cluster in [`Config::clusters`].
    pub fn cluster_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}
