//! Counts usage against the limits of a cluster, across all workers.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use meltemi_config::Cluster;
use meltemi_router_core::Budget;

/// A snapshot of the usage counters of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests in flight.
    pub requests: usize,
    /// Connections that are open or connecting.
    pub connections: usize,
    /// Requests that wait for a connection.
    pub pending: usize,
    /// Requests in a retry.
    pub retries: usize,
}

/// The usage counters of a cluster, shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests in flight.
    pub(crate) requests: Gauge,
    /// Connections that are open or connecting.
    pub(crate) connections: Gauge,
    /// Requests that wait for a connection.
    pub(crate) pending: Gauge,
    /// Requests in a retry.
    pub(crate) retries: Gauge,
}

/// A gauge. It is used only for limits, so relaxed memory ordering is enough.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Adds one if the current value allows it. Atomic, so that concurrent workers cannot exceed a
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
    /// Returns a snapshot of all counters.
    pub(crate) fn counted(&self) -> Counted {
        Counted {
            requests: self.requests.value(),
            connections: self.connections.value(),
            pending: self.pending.value(),
            retries: self.retries.value(),
        }
    }

    /// Counts one more retry if the retry budget and the limit allow it.
    pub(crate) fn add_retry(&self, cluster: &Cluster) -> bool {
        let budget = Budget::new(cluster.budget);
        let (requests, most) = (self.requests.value() as u64, cluster.limits.retries as u64);
        self.retries
            .add_if(|retries| budget.allows(requests, retries as u64, most))
    }
}
