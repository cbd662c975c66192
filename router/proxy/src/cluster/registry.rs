//! The state of the clusters that all workers of a proxy share: usage counters and endpoint health.
//! It survives a configuration change if the relevant settings do not change.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meltemi_config::Cluster;
use meltemi_router_core::{ClusterHealth, Ejection};

use crate::cluster::counters::Counters;
use crate::health::ProbeTarget;
use crate::telemetry::stats::{MetricSet, cluster};

/// A cluster and the state that all workers share.
#[derive(Clone)]
pub(crate) struct CompiledCluster {
    pub(crate) config: Arc<Cluster>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) fleet: Option<Arc<ClusterHealth>>,
}

/// The shared state, by cluster name.
#[derive(Default)]
pub(crate) struct ClusterRegistry(Mutex<Registered>);

#[derive(Default)]
struct Registered {
    clusters: HashMap<String, CompiledCluster>,
    /// Number of the current configuration.
    version: u64,
}

impl ClusterRegistry {
    /// Returns the shared state for these clusters. Health state is kept if its settings are
    /// unchanged. Changes nothing until [`ClusterRegistry::commit`].
    pub(crate) fn compile(&self, clusters: &[Arc<Cluster>]) -> Vec<CompiledCluster> {
        let known = self.known();
        clusters
            .iter()
            .map(|config| match known.clusters.get(&config.name) {
                Some(before) => CompiledCluster {
                    config: Arc::clone(config),
                    counters: Arc::clone(&before.counters),
                    fleet: if same_health_settings(&before.config, config) {
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

    /// Makes these clusters the current ones.
    pub(crate) fn commit(&self, compiled: &[CompiledCluster]) {
        let by_name = |one: &CompiledCluster| (one.config.name.clone(), one.clone());
        let mut known = self.known();
        known.clusters = compiled.iter().map(by_name).collect();
        known.version += 1;
    }

    /// Returns the endpoint health of a cluster. `None` if it is not tracked.
    pub(crate) fn fleet(&self, cluster: &str) -> Option<Arc<ClusterHealth>> {
        self.known().clusters.get(cluster)?.fleet.clone()
    }

    /// Returns `true` if any cluster has active health checks.
    pub(crate) fn probes(&self) -> bool {
        let known = self.known();
        let mut clusters = known.clusters.values();
        clusters.any(|one| one.config.health.is_some())
    }

    /// Returns the number of the configuration and the endpoints to probe, sorted by cluster name.
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

fn same_health_settings(a: &Cluster, b: &Cluster) -> bool {
    a.health == b.health && a.outlier == b.outlier && a.warmup == b.warmup
}

/// Logs and counts an ejection.
pub(crate) fn tell_ejection(group: &MetricSet, address: SocketAddr, ejection: &Ejection) {
    group.add(cluster::EJECTIONS, 1);
    tracing::warn!(
        endpoint = %address,
        cause = ejection.cause.name(),
        number = ejection.number,
        "endpoint ejected"
    );
}
