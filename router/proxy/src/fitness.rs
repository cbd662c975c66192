//! What the workers of a proxy share of its clusters: what counts against limits, and how fit endpoints
//! are. It outlives configurations, as far as these leave it as it is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use meltemi_config::Cluster;
use meltemi_router_core::{Ejection, Fleet};

use crate::counters::Counters;
use crate::stats::{Group, cluster};

/// A cluster with what all workers share of it.
#[derive(Clone)]
pub(crate) struct CompiledCluster {
    pub(crate) config: Arc<Cluster>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) fleet: Option<Arc<Fleet>>,
}

/// What is shared, by the names of clusters.
#[derive(Default)]
pub(crate) struct Shared(Mutex<HashMap<String, CompiledCluster>>);

impl Shared {
    /// What is shared of these clusters from now on. What is known of a cluster stays if it is watched in
    /// the same way.
    pub(crate) fn compile(&self, clusters: &[Arc<Cluster>]) -> Vec<CompiledCluster> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled: Vec<CompiledCluster> = clusters
            .iter()
            .map(|config| match known.get(&config.name) {
                Some(before) => CompiledCluster {
                    config: Arc::clone(config),
                    counters: Arc::clone(&before.counters),
                    fleet: if watched_alike(&before.config, config) {
                        before.fleet.clone()
                    } else {
                        Fleet::new(config).map(Arc::new)
                    },
                },
                None => CompiledCluster {
                    config: Arc::clone(config),
                    counters: Arc::default(),
                    fleet: Fleet::new(config).map(Arc::new),
                },
            })
            .collect();
        let by_name = |one: &CompiledCluster| (one.config.name.clone(), one.clone());
        *known = compiled.iter().map(by_name).collect();
        compiled
    }

    /// Every cluster whose endpoints are watched.
    pub(crate) fn fleets(&self) -> Vec<(Arc<Cluster>, Arc<Fleet>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .values()
            .filter_map(|one| Some((Arc::clone(&one.config), one.fleet.clone()?)))
            .collect()
    }
}

fn watched_alike(a: &Cluster, b: &Cluster) -> bool {
    a.health == b.health && a.outlier == b.outlier && a.warmup == b.warmup
}

/// Tells that an endpoint was ejected.
pub(crate) fn tell_ejection(group: &Group, address: SocketAddr, ejection: &Ejection) {
    group.add(cluster::EJECTIONS, 1);
    tracing::warn!(
        endpoint = %address,
        cause = ejection.cause.name(),
        number = ejection.number,
        "endpoint ejected"
    );
}
