//! What a load found.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Options;
use super::connection::{Counted, Tally};
use crate::os;

/// What was used up to one moment.
#[derive(Clone)]
pub(super) struct Usage {
    at: Instant,
    proxy: Duration,
    ours: Duration,
    machine: Duration,
    memory_kib: u64,
}

impl Usage {
    pub(super) fn now(options: &Options) -> Result<Self> {
        let proxy = options.watch.map(os::cpu_time).unwrap_or_default();
        let others: Duration = options.others.iter().map(|pid| os::cpu_time(*pid)).sum();
        Ok(Self {
            at: Instant::now(),
            proxy,
            ours: proxy + others + os::cpu_time(std::process::id()),
            machine: os::busy_time()?,
            memory_kib: options.watch.map_or(0, |pid| os::memory_kib(pid, "VmRSS")),
        })
    }
}

/// What a load found. Latencies in µs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// How long was measured.
    pub seconds: f64,
    /// Good replies in that time.
    pub replies: u64,
    /// Replies per second.
    pub rate: f64,
    /// Errors in the protocol's own words.
    pub failed: u64,
    /// Replies that were never asked for, or had another's payload: there must be none.
    pub wrong: u64,
    /// Requests whose connection was closed.
    pub cut: u64,
    /// Connections that were closed.
    pub closed: u64,
    /// Requests without a reply three seconds after the last was sent.
    pub lost: usize,
    /// CPU time of the watched process, user and system, µs per reply.
    pub cpu_us: f64,
    /// The part of a core that the watched process used.
    pub cores: f64,
    /// The part of a core that others used, or the host took away: past a few per cent the
    /// measurement is disturbed.
    pub foreign: f64,
    /// Resident memory of the watched process at the end.
    pub memory_kib: u64,
    /// Median.
    pub p50: f64,
    /// 99 of 100 are faster.
    pub p99: f64,
    /// 999 of 1000 are faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
    /// The longest time without a good reply, in ms.
    pub silence_ms: f64,
}

impl Outcome {
    pub(super) fn new(
        from: &Usage,
        to: &Usage,
        counted: &Counted,
        tally: &Tally,
        lost: usize,
    ) -> Self {
        let seconds = (to.at - from.at).as_secs_f64();
        let replies = counted.replies;
        let proxy = to.proxy.saturating_sub(from.proxy).as_secs_f64();
        let ours = to.ours.saturating_sub(from.ours).as_secs_f64();
        let machine = to.machine.saturating_sub(from.machine).as_secs_f64();
        let at = |quantile: f64| counted.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            seconds,
            replies,
            rate: replies as f64 / seconds,
            failed: counted.failed,
            wrong: tally.wrong,
            cut: tally.cut,
            closed: tally.closed,
            lost,
            cpu_us: proxy * 1e6 / (replies.max(1) as f64),
            cores: proxy / seconds,
            foreign: (machine - ours) / seconds,
            memory_kib: to.memory_kib,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: counted.latencies.max() as f64 / 1000.0,
            silence_ms: counted.silence.as_secs_f64() * 1e3,
        }
    }

    /// Why the numbers mean nothing, if so.
    pub fn broken(&self) -> Option<String> {
        if self.wrong > 0 {
            return Some(format!("{} wrong replies", self.wrong));
        }
        if self.failed + self.cut + self.closed > 0 || self.lost > 0 {
            let Self {
                failed,
                cut,
                closed,
                lost,
                ..
            } = self;
            return Some(format!(
                "{failed} failed, {cut} cut, {closed} closed, {lost} lost"
            ));
        }
        (self.replies == 0).then(|| "no reply at all".to_owned())
    }
}
