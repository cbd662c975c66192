//! Endpoints that fail are left alone for a while: what each record knows, when it is ejected, and how
//! it is let in again. Shared by all workers without locks; it does not know where an endpoint is.

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
/// - **In use.** Failures in a row are counted. At the configured number the endpoint is ejected, if no
///   more of the cluster than [`Outlier::most`] would be; one always may be, be it the only one. Otherwise
///   it stays, and every further failure in the row tries again.
/// - **Ejected**, for [`Outlier::ejection`] times the number of ejections in a row, and at most for
///   [`Outlier::longest`]. It gets nothing. Answers to requests from before change nothing.
/// - **On trial**, when the time has passed. One request is let through ([`Record::admit`]). If it
///   succeeds, the endpoint is in use again, at the start of its warm-up. If it fails, the endpoint is
///   ejected again, and for longer: it does not take as many failures as the first time. Until it has
///   ended, nothing else gets through; one of which nothing is heard for as long as the first ejection
///   lasts is given up, and another one is let through.
///
/// For each interval that an endpoint stays in use the number of its ejections in a row falls by one.
#[derive(Debug)]
pub struct Outliers {
    config: Outlier,
    counts: Arc<Counts>,
    /// When rates are compared next.
    sweep_us: AtomicU64,
}

/// An endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Why.
    pub cause: Cause,
    /// When it is let in again, in microseconds.
    pub until_us: u64,
    /// Which ejection in a row it is, from 1.
    pub number: u32,
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Failures in a row.
    Consecutive,
    /// Failures in a row to reach it, or to get an answer in time.
    Gateway,
    /// Its success rate is far below that of the others.
    SuccessRate,
    /// Its trial failed.
    Trial,
}

impl Cause {
    /// The name used in logs and metrics.
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
    /// Detection as configured, without a record.
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

    /// An endpoint joins the cluster.
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

    /// A request to the endpoint has ended. Every one that was admitted is reported, and once.
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
            // From before the ejection, or let through in panic.
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

    /// How a trial ended.
    fn tried(
        &self,
        record: &Record,
        before: u64,
        outcome: Outcome,
        now_us: u64,
    ) -> Option<Ejection> {
        match outcome {
            Outcome::Success => {
                // First everything that is seen once the endpoint is in use.
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
                // Its place among the ejected it has already.
                let ejection = self.next_ejection(record, Cause::Trial, now_us);
                let ejected = state(Phase::Ejected, ejection.until_us);
                record.change(before, ejected).then(|| {
                    record.ejections.store(ejection.number, Relaxed);
                    self.counts.changed();
                    ejection
                })
            }
            Outcome::Unknown => {
                // It told nothing: the next request is the trial.
                record.change(before, state(Phase::Ejected, now_us.min(NEVER_US)));
                None
            }
        }
    }

    /// Ejects an endpoint that is in use, if one more may be.
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

    /// How many endpoints may be ejected at the same time.
    fn most_ejected(&self) -> u32 {
        let members = u64::from(self.counts.members.load(Acquire));
        let part = u64::from(self.config.most.as_millionths());
        let all = u64::from(Share::ALL.as_millionths());
        // No more than there are members.
        u32::try_from(members * part / all)
            .unwrap_or(u32::MAX)
            .max(1)
    }

    /// Endpoints that are ejected or on trial.
    pub fn ejected(&self) -> u32 {
        self.counts.ejected.load(Acquire)
    }

    /// A number that changes when an endpoint joins, leaves, is ejected or is in use again. That the time of an
    /// ejection is over does not change it.
    pub fn epoch(&self) -> u64 {
        self.counts.epoch()
    }

    /// Tells one caller per interval, of however many workers, that a sweep is due. Cheap otherwise.
    pub fn is_due(&self, now_us: u64) -> bool {
        let due = self.sweep_us.load(Relaxed);
        let next = now_us.saturating_add(micros(self.config.interval).max(1));
        if due == 0 {
            // The first interval begins.
            let _ = self.sweep_us.compare_exchange(0, next, AcqRel, Relaxed);
            return false;
        }
        now_us >= due
            && self
                .sweep_us
                .compare_exchange(due, next, AcqRel, Relaxed)
                .is_ok()
    }

    /// Ends an interval: forgives those that stayed in use for all of it one of their ejections, and
    /// ejects those whose success rate is far below that of the others, the worst first. Returns the
    /// positions among `records` of those that it ejects.
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
                // A request that is counted right now may be counted as a success in the next interval.
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
