//! What counts against the limits of a cluster, for all workers together.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use meltemi_config::Cluster;
use meltemi_router_core::Budget;

use crate::worker::Counted;

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

/// A number that goes up and down. It decides nothing but limits, so that a moment's delay between
/// workers does no harm.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
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

    /// Whether one more request may be under retry.
    pub(crate) fn may_retry(&self, cluster: &Cluster) -> bool {
        let (requests, retries) = (self.requests.value(), self.retries.value());
        Budget::new(cluster.budget).allows(
            requests as u64,
            retries as u64,
            cluster.limits.retries as u64,
        )
    }
}
