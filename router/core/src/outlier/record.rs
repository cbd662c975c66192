//! What outlier detection knows of one endpoint, in atomic numbers that all workers write.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
};

use crate::HealthStatus;

/// What the records of one cluster have in common.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Records that exist.
    pub(super) members: AtomicU32,
    /// Those that are not in use. Never more than allowed, as a place is taken before an endpoint is
    /// ejected.
    pub(super) ejected: AtomicU32,
    /// Changes with every fitness.
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

/// What is known of one endpoint. Its place among those of its cluster ends when it is dropped.
#[derive(Debug)]
pub struct Record {
    /// A time in microseconds and a [`Phase`], so that both change at once.
    pub(super) state: AtomicU64,
    /// Failures in a row, of whatever kind.
    pub(super) failures: AtomicU32,
    /// Failures in a row to reach it or to get an answer.
    pub(super) gateway_failures: AtomicU32,
    /// Ejections in a row.
    pub(super) ejections: AtomicU32,
    /// Since the last sweep, if success rates are compared.
    pub(super) requests: AtomicU32,
    pub(super) successes: AtomicU32,
    /// When it joined or was last let in again, in microseconds.
    pub(super) since_us: AtomicU64,
    /// How long a trial may take.
    pub(super) patience_us: u64,
    pub(super) counts: Arc<Counts>,
}

/// What a record's state says of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing: it is in use.
    InUse,
    /// Ejected until then.
    Ejected,
    /// A trial is under way, and given up then.
    OnTrial,
}

/// How a request was let through; [`Outliers::report`](super::Outliers::report) wants it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// As any other.
    #[default]
    Plain,
    /// As the one request to an endpoint that was ejected.
    Trial,
}

pub(super) const fn state(phase: Phase, time_us: u64) -> u64 {
    // Times of more than 62 bits are not reached.
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

/// The longest time, so that it fits into a state.
pub(super) const NEVER_US: u64 = u64::MAX >> 2;

/// One more, as far as a number can count. Returns how many there are.
pub(super) fn count(counter: &AtomicU32) -> u32 {
    counter.fetch_add(1, Relaxed).saturating_add(1)
}

impl Record {
    /// Whether it may be used now: [`HealthStatus::Healthy`] if it is in use or its trial may begin.
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

    /// A request is about to be sent. `None`: it may not, as another worker has sent the one that is on
    /// trial, or the endpoint has been ejected: pick again.
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

    /// When it joined or was last let in again, in microseconds.
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
            // Others read the same cache line: no need to take it from them at every success.
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
