//! What counts against the limits of a cluster, for all workers together.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use meltemi_config::Cluster;
use meltemi_router_core::Budget;

/// What counts against the limits of a cluster, as numbers of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests in flight.
    pub requests: usize,
    /// Connections open or being made.
    pub connections: usize,
    /// Requests that wait for a connection.
    pub pending: usize,
    /// Requests under retry.
    pub retries: usize,
}

/// What counts against the limits of a cluster, of all workers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests in flight.
    pub(crate) requests: Gauge,
    /// Connections open or being made.
    pub(crate) connections: Gauge,
    /// Requests that wait for a connection.
    pub(crate) pending: Gauge,
    /// Requests under retry.
    pub(crate) retries: Gauge,
}

/// A number that goes up and down. It decides nothing but limits, so that nothing else needs to be
/// ordered with it.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Counts one more if the number so far allows it: workers that ask at one moment do not get past a
    /// limit together.
    pub(crate) fn add_if(&self, allows: impl Fn(usize) -> bool) -> bool {
        let more = |value| allows(value).then_some(value + 1);
        self.0.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub(crate) fn subtract(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(crate) fn value(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Counters {
    /// All of them.
    pub(crate) fn counted(&self) -> Counted {
        Counted {
            requests: self.requests.value(),
            connections: self.connections.value(),
            pending: self.pending.value(),
            retries: self.retries.value(),
        }
    }

    /// Counts one more request under retry, if that may be.
    pub(crate) fn add_retry(&self, cluster: &Cluster) -> bool {
        let budget = Budget::new(cluster.budget);
        let (requests, most) = (self.requests.value() as u64, cluster.limits.retries as u64);
        self.retries
            .add_if(|retries| budget.allows(requests, retries as u64, most))
    }
}
