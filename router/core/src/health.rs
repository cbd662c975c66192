//! The health of endpoints, from probes and from the outcomes of requests. All workers share it. It
//! sends no probe and no request itself.

mod probes;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use meltemi_config::{Cluster, HealthCheck};

use crate::outlier::{Admission, Counts, Ejection, Outcome, Outliers, Record};

pub use probes::Health;

/// Decides how an endpoint may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthStatus {
    /// The endpoint gets its full share.
    Healthy,
    /// The endpoint was ejected and is on trial with one request. It counts as fit, but gets no
    /// other request until the trial has ended.
    Probation,
    /// The endpoint could not be reached lately; nothing else is wrong with it. It is used only if
    /// no endpoint is healthy, because it may be reachable again.
    Degraded,
    /// The endpoint failed its probes or is ejected. It is used only in panic.
    Unhealthy,
}

/// The health of a cluster's endpoints, shared by all workers. Times are in microseconds, on one
/// clock that all workers share.
#[derive(Debug)]
pub struct ClusterHealth {
    check: Option<HealthCheck>,
    outliers: Option<Outliers>,
    counts: Arc<Counts>,
    /// Locked when an endpoint joins and during a sweep, never for a request.
    members: Mutex<HashMap<SocketAddr, Weak<EndpointHealth>>>,
}

/// The health of one endpoint.
#[derive(Debug)]
pub struct EndpointHealth {
    health: Option<Health>,
    record: Option<Record>,
    /// When the endpoint joined or became healthy again, in microseconds.
    since_us: AtomicU64,
}

impl ClusterHealth {
    /// Returns `None` if the cluster has no probes, no outlier detection and no warm-up, because
    /// then there is no state to keep.
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

    /// Returns the shared state of an endpoint, and creates it if no worker holds it. The state is
    /// dropped when the last worker drops it.
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

    /// Returns the state of an endpoint. `None` if no worker holds it.
    pub fn find(&self, address: SocketAddr) -> Option<Arc<EndpointHealth>> {
        self.members().get(&address)?.upgrade()
    }

    /// Returns the endpoints that workers hold, in ascending order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let members = self.members();
        let held = members
            .iter()
            .filter(|(_, vitals)| vitals.strong_count() > 0);
        let mut addresses: Vec<SocketAddr> = held.map(|(address, _)| *address).collect();
        addresses.sort_unstable();
        addresses
    }

    /// Returns a number that changes when an endpoint becomes fit or unfit, for
    /// [`PickRequest::epoch`](crate::PickRequest::epoch). Changes that only the passing of time
    /// causes do not change it.
    pub fn epoch(&self) -> u64 {
        self.counts.epoch()
    }

    /// Records the end of a request. See [`Outliers::report`].
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

    /// Records the result of a probe. See [`Health::probed`].
    pub fn probed(&self, vitals: &EndpointHealth, ok: bool, now_us: u64) -> Option<bool> {
        let changed = vitals.health.as_ref()?.probed(ok)?;
        if changed {
            vitals.since_us.store(now_us, Relaxed);
        }
        self.counts.changed();
        Some(changed)
    }

    /// Runs [`Outliers::sweep`] once per interval. Every worker must call this often; other calls
    /// are cheap.
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

    /// Returns the number of endpoints that are ejected or on trial.
    pub fn ejected(&self) -> u32 {
        self.outliers.as_ref().map_or(0, Outliers::ejected)
    }

    fn members(&self) -> MutexGuard<'_, HashMap<SocketAddr, Weak<EndpointHealth>>> {
        // A panic cannot leave a map of weak references in a bad state.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndpointHealth {
    /// Returns the health from probes and outcomes. Never returns
    /// [`Degraded`](HealthStatus::Degraded).
    pub fn fitness(&self, now_us: u64) -> HealthStatus {
        if self.health.as_ref().is_some_and(|one| !one.is_healthy()) {
            return HealthStatus::Unhealthy;
        }
        let record = self.record.as_ref();
        record.map_or(HealthStatus::Healthy, |record| record.fitness(now_us))
    }

    /// Asks to send a request to this endpoint. See [`Record::admit`].
    pub fn admit(&self, now_us: u64) -> Option<Admission> {
        let record = self.record.as_ref();
        record.map_or(Some(Admission::Plain), |record| record.admit(now_us))
    }

    /// Returns when the endpoint joined or became healthy again, in microseconds.
    pub fn since_us(&self) -> u64 {
        let healthy = self.since_us.load(Relaxed);
        let record = self.record.as_ref();
        record.map_or(healthy, |record| record.since_us().max(healthy))
    }

    /// Returns the state of the probes. `None` if the cluster has no probes.
    pub const fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// Returns the state of outlier detection. `None` if the cluster has none.
    pub const fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }
}

#[cfg(test)]
mod tests;
