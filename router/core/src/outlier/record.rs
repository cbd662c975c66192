//! The outlier detection state of one endpoint, in atomic numbers that all workers write.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
};

use crate::HealthStatus;

/// The shared state of all records of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// The number of records.
    pub(super) members: AtomicU32,
    /// The number of records that are not in use. Never more than allowed, because a place is
    /// reserved before an endpoint is ejected.
    pub(super) ejected: AtomicU32,
    /// Changes when the health of any endpoint changes.
    epoch: AtomicU64,
}

impl Counts {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    pub(crate) fn changed(&self) {
        self.epoch.fetch_add(1, AcqRel);
    }
}

/// The outlier detection state of one endpoint. The endpoint leaves its cluster when the record is
/// dropped.
#[derive(Debug)]
pub struct Record {
    /// A time in microseconds and a [`Phase`], so that both change at once.
    pub(super) state: AtomicU64,
    /// Failures in a row, of any kind.
    pub(super) failures: AtomicU32,
    /// Failures in a row to connect, or to get a response.
    pub(super) gateway_failures: AtomicU32,
    /// Ejections in a row.
    pub(super) ejections: AtomicU32,
    /// Requests since the last sweep. Only counted if success rates are compared.
    pub(super) requests: AtomicU32,
    pub(super) successes: AtomicU32,
    /// When the endpoint joined or was last readmitted, in microseconds.
    pub(super) since_us: AtomicU64,
    /// The maximum duration of a trial, in microseconds.
    pub(super) patience_us: u64,
    pub(super) counts: Arc<Counts>,
}

/// The phase of a record. Each phase gives the time in the state its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In use; the time has no meaning.
    InUse,
    /// Ejected until the time.
    Ejected,
    /// On trial; the trial is given up at the time.
    OnTrial,
}

/// How a request was admitted. The caller passes it back to
/// [`Outliers::report`](super::Outliers::report).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// An ordinary request.
    #[default]
    Plain,
    /// The trial request to an endpoint that was ejected.
    Trial,
}

pub(super) const fn state(phase: Phase, time_us: u64) -> u64 {
    // Times of more than 62 bits are never reached.
    (time_us << 2)
        | match phase {
            Phase::InUse => 0,
            Phase::Ejected => 1,
            Phase::OnTrial => 2,
        }
}

pub(super) const fn phase(state: u64) -> (Phase, u64) {
    let phase = match state & 3 {
        0 => Phase::InUse,
        1 => Phase::Ejected,
        _ => Phase::OnTrial,
    };
    (phase, state >> 2)
}

pub(super) const IN_USE: u64 = state(Phase::InUse, 0);

/// The longest time that fits into a state.
pub(super) const NEVER_US: u64 = u64::MAX >> 2;

/// Increments a counter, saturating. Returns the new value.
pub(super) fn count(counter: &AtomicU32) -> u32 {
    counter.fetch_add(1, Relaxed).saturating_add(1)
}

impl Record {
    /// Returns [`HealthStatus::Healthy`] if the endpoint is in use or its trial may begin.
    pub fn fitness(&self, now_us: u64) -> HealthStatus {
        match phase(self.state.load(Acquire)) {
            (Phase::InUse, _) => HealthStatus::Healthy,
            (_, until_us) if now_us >= until_us => HealthStatus::Healthy,
            (Phase::Ejected, _) => HealthStatus::Unhealthy,
            (Phase::OnTrial, _) => HealthStatus::Probation,
        }
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.state.load(Acquire) == IN_USE
    }

    /// Admits a request that is about to be sent. `None` if it must not be sent, because another
    /// worker has sent the trial request or the endpoint has been ejected: pick again.
    pub fn admit(&self, now_us: u64) -> Option<Admission> {
        let before = self.state.load(Acquire);
        let (phase, until_us) = phase(before);
        if phase == Phase::InUse {
            return Some(Admission::Plain);
        }
        let given_up = now_us.saturating_add(self.patience_us).min(NEVER_US);
        let begins = now_us >= until_us && self.change(before, state(Phase::OnTrial, given_up));
        begins.then_some(Admission::Trial)
    }

    /// Returns when the endpoint joined or was last readmitted, in microseconds.
    pub fn since_us(&self) -> u64 {
        self.since_us.load(Relaxed)
    }

    pub(super) fn change(&self, before: u64, after: u64) -> bool {
        self.state
            .compare_exchange(before, after, AcqRel, Relaxed)
            .is_ok()
    }

    pub(super) fn forget_failures(&self) {
        for counter in [&self.failures, &self.gateway_failures] {
            // Other workers read the same cache line. Writes only if needed, so that they keep it.
            if counter.load(Relaxed) != 0 {
                counter.store(0, Relaxed);
            }
        }
    }

    pub(super) fn forgive(&self) {
        let fewer = |ejections: u32| ejections.checked_sub(1);
        let _ = self.ejections.fetch_update(Relaxed, Relaxed, fewer);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.counts.members.fetch_sub(1, AcqRel);
        if !self.is_in_use() {
            self.counts.ejected.fetch_sub(1, AcqRel);
        }
        self.counts.changed();
    }
}
