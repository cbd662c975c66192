//! Outlier detection: ejects endpoints that fail, and readmits them after a trial. All workers
//! share it without locks. It does not depend on endpoint addresses.

mod outcome;
mod record;
mod success_rate;

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
};

use meltemi_config::{Outlier, Share};

use record::{IN_USE, NEVER_US, Phase, count, phase, state};

pub use outcome::Outcome;
pub(crate) use record::Counts;
pub use record::{Admission, Record};

/// Outlier detection of one cluster.
///
/// A [`Record`] is in one of three states.
///
/// - **In use.** Failures in a row are counted. At the configured number the endpoint is ejected,
///   unless more than [`Outlier::most`] of the cluster would then be ejected. One endpoint may
///   always be ejected, even the only one. If the limit keeps an endpoint in use, every further
///   failure in the row tries again to eject it.
/// - **Ejected**, for [`Outlier::ejection`] times the number of ejections in a row, and at most for
///   [`Outlier::longest`]. The endpoint gets no requests. Responses to earlier requests change
///   nothing.
/// - **On trial**, when the ejection time is over. One request is admitted ([`Record::admit`]). If
///   it succeeds, the endpoint is in use again, at the start of its warm-up. If it fails, the
///   endpoint is ejected again, for longer, after this single failure. No other request is admitted
///   until the trial has ended. A trial without a report for as long as the first ejection lasts is
///   given up, and another request is admitted.
///
/// For each interval that an endpoint stays in use, its number of ejections in a row falls by one.
#[derive(Debug)]
pub struct Outliers {
    config: Outlier,
    counts: Arc<Counts>,
    /// The time of the next sweep, in microseconds.
    sweep_us: AtomicU64,
}

/// The ejection of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// The reason.
    pub cause: Cause,
    /// When the ejection ends, in microseconds.
    pub until_us: u64,
    /// The number of ejections in a row, this one included.
    pub number: u32,
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Failures in a row.
    Consecutive,
    /// Failures in a row to connect, or to get a response in time.
    Gateway,
    /// Its success rate is far below that of the others.
    SuccessRate,
    /// Its trial failed.
    Trial,
}

impl Cause {
    /// Returns the name for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive",
            Self::Gateway => "consecutive_gateway",
            Self::SuccessRate => "success_rate",
            Self::Trial => "trial",
        }
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Outliers {
    /// Creates detection for one cluster, without records.
    pub fn new(config: &Outlier) -> Self {
        Self::counted(config, Arc::default())
    }

    pub(crate) fn counted(config: &Outlier, counts: Arc<Counts>) -> Self {
        Self {
            config: *config,
            counts,
            sweep_us: AtomicU64::new(0),
        }
    }

    /// Creates the record of an endpoint that joins the cluster.
    pub fn join(&self, now_us: u64) -> Record {
        self.counts.members.fetch_add(1, AcqRel);
        self.counts.changed();
        Record {
            state: AtomicU64::new(IN_USE),
            failures: AtomicU32::new(0),
            gateway_failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            successes: AtomicU32::new(0),
            since_us: AtomicU64::new(now_us),
            patience_us: micros(self.config.ejection).max(1),
            counts: Arc::clone(&self.counts),
        }
    }

    /// Reports the end of a request. Every admitted request must be reported exactly once.
    pub fn report(
        &self,
        record: &Record,
        admission: Admission,
        outcome: Outcome,
        now_us: u64,
    ) -> Option<Ejection> {
        let before = record.state.load(Acquire);
        match (phase(before).0, admission) {
            (Phase::InUse, _) => self.in_use(record, outcome, now_us),
            (Phase::OnTrial, Admission::Trial) => self.tried(record, before, outcome, now_us),
            // The request was sent before the ejection, or in panic.
            (Phase::Ejected | Phase::OnTrial, _) => None,
        }
    }

    fn in_use(&self, record: &Record, outcome: Outcome, now_us: u64) -> Option<Ejection> {
        if outcome == Outcome::Unknown {
            return None;
        }
        if self.config.success_rate.is_some() {
            record.requests.fetch_add(1, Relaxed);
        }
        if outcome == Outcome::Success {
            if self.config.success_rate.is_some() {
                record.successes.fetch_add(1, Relaxed);
            }
            record.forget_failures();
            return None;
        }
        let reached = |count: u32, limit: u32| limit > 0 && count >= limit;
        let failures = count(&record.failures);
        let gateway = if outcome == Outcome::Gateway {
            count(&record.gateway_failures)
        } else {
            record.gateway_failures.store(0, Relaxed);
            0
        };
        if reached(failures, self.config.consecutive) {
            self.eject(record, Cause::Consecutive, now_us)
        } else if reached(gateway, self.config.consecutive_gateway) {
            self.eject(record, Cause::Gateway, now_us)
        } else {
            None
        }
    }

    /// Ends a trial.
    fn tried(
        &self,
        record: &Record,
        before: u64,
        outcome: Outcome,
        now_us: u64,
    ) -> Option<Ejection> {
        match outcome {
            Outcome::Success => {
                // Resets the counters before other workers see that the endpoint is in use.
                record.forget_failures();
                record.requests.store(0, Relaxed);
                record.successes.store(0, Relaxed);
                record.since_us.store(now_us, Relaxed);
                if record.change(before, IN_USE) {
                    self.counts.ejected.fetch_sub(1, AcqRel);
                    self.counts.changed();
                }
                None
            }
            Outcome::Failure | Outcome::Gateway => {
                // The endpoint already has its place among the ejected.
                let ejection = self.next_ejection(record, Cause::Trial, now_us);
                let ejected = state(Phase::Ejected, ejection.until_us);
                record.change(before, ejected).then(|| {
                    record.ejections.store(ejection.number, Relaxed);
                    self.counts.changed();
                    ejection
                })
            }
            Outcome::Unknown => {
                // The trial proved nothing: the next request is the new trial.
                record.change(before, state(Phase::Ejected, now_us.min(NEVER_US)));
                None
            }
        }
    }

    /// Ejects an endpoint that is in use. `None` if the limit is reached, or if another worker has
    /// ejected the endpoint first.
    fn eject(&self, record: &Record, cause: Cause, now_us: u64) -> Option<Ejection> {
        let most = self.most_ejected();
        self.counts
            .ejected
            .fetch_update(AcqRel, Acquire, |ejected| {
                (ejected < most).then(|| ejected.saturating_add(1))
            })
            .ok()?;
        let ejection = self.next_ejection(record, cause, now_us);
        if !record.change(IN_USE, state(Phase::Ejected, ejection.until_us)) {
            // Another worker was faster.
            self.counts.ejected.fetch_sub(1, AcqRel);
            return None;
        }
        record.ejections.store(ejection.number, Relaxed);
        self.counts.changed();
        Some(ejection)
    }

    fn next_ejection(&self, record: &Record, cause: Cause, now_us: u64) -> Ejection {
        let number = record.ejections.load(Relaxed).saturating_add(1);
        let base = micros(self.config.ejection);
        let longest = micros(self.config.longest).max(base);
        let time = base.saturating_mul(u64::from(number)).min(longest);
        Ejection {
            cause,
            until_us: now_us.saturating_add(time).min(NEVER_US),
            number,
        }
    }

    /// Returns how many endpoints may be ejected at the same time.
    fn most_ejected(&self) -> u32 {
        let members = u64::from(self.counts.members.load(Acquire));
        let part = u64::from(self.config.most.as_millionths());
        let all = u64::from(Share::ALL.as_millionths());
        // The result is at most the number of members.
        u32::try_from(members * part / all)
            .unwrap_or(u32::MAX)
            .max(1)
    }

    /// Returns the number of endpoints that are ejected or on trial.
    pub fn ejected(&self) -> u32 {
        self.counts.ejected.load(Acquire)
    }

    /// Returns a number that changes when an endpoint joins, leaves, is ejected or is in use again.
    /// The end of an ejection time does not change it.
    pub fn epoch(&self) -> u64 {
        self.counts.epoch()
    }

    /// Returns `true` to one caller per interval, among all workers, if a sweep is due. Cheap
    /// otherwise.
    pub fn is_due(&self, now_us: u64) -> bool {
        let due = self.sweep_us.load(Relaxed);
        let next = now_us.saturating_add(micros(self.config.interval).max(1));
        if due == 0 {
            // Starts the first interval.
            let _ = self.sweep_us.compare_exchange(0, next, AcqRel, Relaxed);
            return false;
        }
        now_us >= due
            && self
                .sweep_us
                .compare_exchange(due, next, AcqRel, Relaxed)
                .is_ok()
    }

    /// Ends an interval. Lowers the number of ejections in a row of every endpoint that stayed in
    /// use for all of it, and ejects those whose success rate is far below the others', the worst
    /// first. Returns their positions in `records`.
    pub fn sweep(&self, now_us: u64, records: &[&Record]) -> Vec<(usize, Ejection)> {
        let interval = micros(self.config.interval);
        for record in records.iter().filter(|record| record.is_in_use()) {
            if now_us.saturating_sub(record.since_us.load(Relaxed)) >= interval {
                record.forgive();
            }
        }
        let Some(config) = &self.config.success_rate else {
            return Vec::new();
        };
        let mut rates = Vec::new();
        for (at, record) in records.iter().enumerate() {
            let requests = record.requests.swap(0, Relaxed);
            let successes = record.successes.swap(0, Relaxed);
            if record.is_in_use() && requests >= config.requests.max(1) {
                // A request that is counted at this moment may count as a success in the next
                // interval.
                let rate = f64::from(successes) / f64::from(requests);
                rates.push((at, rate.min(1.0)));
            }
        }
        let outliers = success_rate::outliers(rates, config);
        let ejections = outliers.into_iter().filter_map(|at| {
            let record = records.get(at)?;
            Some((at, self.eject(record, Cause::SuccessRate, now_us)?))
        });
        ejections.collect()
    }
}

#[cfg(test)]
mod tests;
