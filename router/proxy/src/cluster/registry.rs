//! What the workers of a proxy share of its clusters: what counts against limits, and how fit endpoints
//! are. It outlives configurations, as far as these leave it as it is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meltemi_config::Cluster;
use meltemi_router_core::{ClusterHealth, Ejection};

use crate::cluster::counters::Counters;
use crate::health::ProbeTarget;
use crate::telemetry::stats::{MetricSet, cluster};

/// A cluster with what all workers share of it.
#[derive(Clone)]
pub(crate) struct CompiledCluster {
    pub(crate) config: Arc<Cluster>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) fleet: Option<Arc<ClusterHealth>>,
}

/// What is shared, by the names of clusters.
#[derive(Default)]
pub(crate) struct ClusterRegistry(Mutex<Registered>);

#[derive(Default)]
struct Registered {
    clusters: HashMap<String, CompiledCluster>,
    /// Counts configurations.
    version: u64,
}

impl ClusterRegistry {
    /// What would be shared of these clusters. What is known of a cluster stays if it is watched in the same
    /// way. Changes nothing before [`ClusterRegistry::commit`].
    pub(crate) fn compile(&self, clusters: &[Arc<Cluster>]) -> Vec<CompiledCluster> {
        let known = self.known();
        clusters
            .iter()
            .map(|config| match known.clusters.get(&config.name) {
                Some(before) => CompiledCluster {
                    config: Arc::clone(config),
                    counters: Arc::clone(&before.counters),
                    fleet: if watched_alike(&before.config, config) {
                        before.fleet.clone()
                    } else {
                        ClusterHealth::new(config).map(Arc::new)
                    },
                },
                None => CompiledCluster {
                    config: Arc::clone(config),
                    counters: Arc::default(),
                    fleet: ClusterHealth::new(config).map(Arc::new),
                },
            })
            .collect()
    }

    /// These clusters are the ones in use from now on.
    pub(crate) fn commit(&self, compiled: &[CompiledCluster]) {
        let by_name = |one: &CompiledCluster| (one.config.name.clone(), one.clone());
        let mut known = self.known();
        known.clusters = compiled.iter().map(by_name).collect();
        known.version += 1;
    }

    /// The fitness of a cluster's endpoints, if it is watched.
    pub(crate) fn fleet(&self, cluster: &str) -> Option<Arc<ClusterHealth>> {
        self.known().clusters.get(cluster)?.fleet.clone()
    }

    /// Whether any cluster wants its endpoints probed.
    pub(crate) fn probes(&self) -> bool {
        let known = self.known();
        let mut clusters = known.clusters.values();
        clusters.any(|one| one.config.health.is_some())
    }

    /// The number of the configuration, and the endpoints to be probed, always in the same order.
    pub(crate) fn probed(&self) -> (u64, Vec<ProbeTarget>) {
        let known = self.known();
        let mut targets: Vec<ProbeTarget> = known
            .clusters
            .values()
            .filter(|one| one.config.health.is_some())
            .filter_map(|one| {
                Some(ProbeTarget {
                    cluster: Arc::clone(&one.config),
                    addresses: one.fleet.as_ref()?.addresses(),
                })
            })
            .collect();
        targets.sort_by(|a, b| a.cluster.name.cmp(&b.cluster.name));
        (known.version, targets)
    }

    fn known(&self) -> MutexGuard<'_, Registered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watched_alike(a: &Cluster, b: &Cluster) -> bool {
    a.health == b.health && a.outlier == b.outlier && a.warmup == b.warmup
}

/// Tells that an endpoint was ejected.
pub(crate) fn tell_ejection(group: &MetricSet, address: SocketAddr, ejection: &Ejection) {
    group.add(cluster::EJECTIONS, 1);
    tracing::warn!(
        endpoint = %address,
        cause = ejection.cause.name(),
        number = ejection.number,
        "endpoint ejected"
    );
}
