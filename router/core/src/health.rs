//! Whether an endpoint may be used: what probes say, and what became of its requests. Shared by all
//! workers; it sends no probe and no request itself.

mod health;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use meltemi_config::{Cluster, HealthCheck};

use crate::outlier::{Admission, Counts, Ejection, Outcome, Outliers, Record};

pub use health::Health;

/// Whether an endpoint may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthStatus {
    /// It gets its share.
    Healthy,
    /// It was ejected and is being tried with one request: it counts as fit, but gets nothing else
    /// until that has ended.
    Probation,
    /// Nothing is known against it but that it could not be reached lately: used only if nobody is
    /// fit, as it may be back.
    Degraded,
    /// It failed its probes, or is ejected: used only in panic.
    Unhealthy,
}

/// The fitness of a cluster's endpoints, one for all workers. Its times are microseconds on a clock
/// that all of them share.
#[derive(Debug)]
pub struct ClusterHealth {
    check: Option<HealthCheck>,
    outliers: Option<Outliers>,
    counts: Arc<Counts>,
    /// Locked when endpoints come and in sweeps, never for a request.
    members: Mutex<HashMap<SocketAddr, Weak<EndpointHealth>>>,
}

/// The fitness of one endpoint.
#[derive(Debug)]
pub struct EndpointHealth {
    health: Option<Health>,
    record: Option<Record>,
    /// When it joined or became healthy again, in microseconds.
    since_us: AtomicU64,
}

impl ClusterHealth {
    /// `None` if the cluster has no probes, no outlier detection and no warm-up: then nothing needs to
    /// be kept of its endpoints.
    pub fn new(cluster: &Cluster) -> Option<Self> {
        if cluster.health.is_none() && cluster.outlier.is_none() && cluster.warmup.is_none() {
            return None;
        }
        let counts = Arc::new(Counts::default());
        let outliers = cluster.outlier.as_ref();
        Some(Self {
            check: cluster.health.clone(),
            outliers: outliers.map(|config| Outliers::counted(config, Arc::clone(&counts))),
            counts,
            members: Mutex::default(),
        })
    }

    /// What is known of an endpoint. It is the same for every worker, as long as any of them holds it; then it
    /// is forgotten.
    pub fn join(&self, address: SocketAddr, now_us: u64) -> Arc<EndpointHealth> {
        let mut members = self.members();
        if let Some(known) = members.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        members.retain(|_, member| member.strong_count() > 0);
        let outliers = self.outliers.as_ref();
        let vitals = Arc::new(EndpointHealth {
            health: self.check.as_ref().map(Health::new),
            record: outliers.map(|outliers| outliers.join(now_us)),
            since_us: AtomicU64::new(now_us),
        });
        members.insert(address, Arc::downgrade(&vitals));
        self.counts.changed();
        vitals
    }

    /// What is known of an endpoint, if a worker holds it.
    pub fn find(&self, address: SocketAddr) -> Option<Arc<EndpointHealth>> {
        self.members().get(&address)?.upgrade()
    }

    /// The endpoints that workers hold, in order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let members = self.members();
        let held = members
            .iter()
            .filter(|(_, vitals)| vitals.strong_count() > 0);
        let mut addresses: Vec<SocketAddr> = held.map(|(address, _)| *address).collect();
        addresses.sort_unstable();
        addresses
    }

    /// A number that changes when an endpoint becomes fit or unfit, but for what happens by time
    /// alone: for [`Ask::epoch`](crate::Ask::epoch).
    pub fn epoch(&self) -> u64 {
        self.counts.epoch()
    }

    /// A request has ended: see [`Outliers::report`].
    pub fn report(
        &self,
        vitals: &EndpointHealth,
        admission: Admission,
        outcome: Outcome,
        now_us: u64,
    ) -> Option<Ejection> {
        let outliers = self.outliers.as_ref()?;
        outliers.report(vitals.record.as_ref()?, admission, outcome, now_us)
    }

    /// A probe has ended: see [`Health::probed`].
    pub fn probed(&self, vitals: &EndpointHealth, ok: bool, now_us: u64) -> Option<bool> {
        let changed = vitals.health.as_ref()?.probed(ok)?;
        if changed {
            vitals.since_us.store(now_us, Relaxed);
        }
        self.counts.changed();
        Some(changed)
    }

    /// To be called often, by every worker: once per interval it does what [`Outliers::sweep`] does.
    pub fn sweep(&self, now_us: u64) -> Vec<(SocketAddr, Ejection)> {
        let Some(outliers) = self.outliers.as_ref().filter(|one| one.is_due(now_us)) else {
            return Vec::new();
        };
        let members: Vec<(SocketAddr, Arc<EndpointHealth>)> = {
            let members = self.members();
            let alive = members
                .iter()
                .filter_map(|(address, member)| Some((*address, member.upgrade()?)));
            alive.collect()
        };
        let (addresses, records): (Vec<SocketAddr>, Vec<&Record>) = members
            .iter()
            .filter_map(|(address, vitals)| Some((*address, vitals.record.as_ref()?)))
            .unzip();
        let ejections = outliers.sweep(now_us, &records).into_iter();
        ejections
            .filter_map(|(at, ejection)| Some((*addresses.get(at)?, ejection)))
            .collect()
    }

    /// Endpoints that are ejected or on trial.
    pub fn ejected(&self) -> u32 {
        self.outliers.as_ref().map_or(0, Outliers::ejected)
    }

    fn members(&self) -> MutexGuard<'_, HashMap<SocketAddr, Weak<EndpointHealth>>> {
        // Whatever panicked, a map of weak references is as good as before.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndpointHealth {
    /// Whether it may be used now, as far as probes and outcomes tell: never
    /// [`Degraded`](HealthStatus::Degraded).
    pub fn fitness(&self, now_us: u64) -> HealthStatus {
        if self.health.as_ref().is_some_and(|one| !one.is_healthy()) {
            return HealthStatus::Unhealthy;
        }
        let record = self.record.as_ref();
        record.map_or(HealthStatus::Healthy, |record| record.fitness(now_us))
    }

    /// A request is about to be sent: see [`Record::admit`].
    pub fn admit(&self, now_us: u64) -> Option<Admission> {
        let record = self.record.as_ref();
        record.map_or(Some(Admission::Plain), |record| record.admit(now_us))
    }

    /// When it joined or became fit again, in microseconds.
    pub fn since_us(&self) -> u64 {
        let healthy = self.since_us.load(Relaxed);
        let record = self.record.as_ref();
        record.map_or(healthy, |record| record.since_us().max(healthy))
    }

    /// What probes say; `None` if it is not probed.
    pub const fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// What became of its requests; `None` without outlier detection.
    pub const fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }
}

#[cfg(test)]
mod tests;
