//! What every part of a worker may use: time, random numbers, buffers, counters and logs. It knows no
//! connection, no cluster and no request.

pub(crate) mod clock;
pub(crate) mod memory;
pub(crate) mod ticker;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::{Fault, Limits};

use crate::ratelimit::RateLimits;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::spans::Tracer;
use crate::telemetry::stats::{FAULTS, MetricSet, Stats, faults};
use crate::transport::buffers::ReadBuffer;
use crate::transport::stream::Wrap;

use clock::Clock;
use memory::{Memory, Relief};
use ticker::Ticker;

/// What a process gives each of its workers.
pub(crate) struct Services {
    pub(crate) stats: Stats,
    pub(crate) access_log: Option<AccessLog>,
    /// Traces requests, if traces are exported.
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) clock: Clock,
    /// The memory for bytes that wait, of the process.
    pub(crate) memory: Arc<Memory>,
    /// What connections travel through.
    pub(crate) wrap: Wrap,
}

/// What every part of one worker uses. It never leaves the worker's thread.
pub(crate) struct WorkerContext {
    pub(crate) services: Services,
    pub(crate) buffer: ReadBuffer,
    /// What the worker knows of a shortage of memory.
    pub(crate) relief: Relief,
    now_us: Cell<u64>,
    random: RefCell<fastrand::Rng>,
    codec_limits: Cell<Limits>,
    faults: RefCell<HashMap<(String, Fault), Arc<MetricSet>>>,
}

impl WorkerContext {
    /// `number`: which of the workers it is.
    pub(crate) fn new(services: Services, number: usize) -> Self {
        Self {
            services,
            buffer: ReadBuffer::new(),
            relief: Relief::new(number),
            now_us: Cell::new(1),
            random: RefCell::new(fastrand::Rng::new()),
            codec_limits: Cell::default(),
            faults: RefCell::default(),
        }
    }

    /// Reads the clock, once per turn of a task.
    pub(crate) fn tick(&self) {
        self.now_us.set(self.services.clock.now_us());
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.services.clock
    }

    /// When this time will be over, in milliseconds, and at least one from now.
    pub(crate) fn after(&self, time: Duration) -> u64 {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.now_ms().saturating_add(time.max(1))
    }

    /// Microseconds since the proxy started, as of the last tick.
    pub(crate) const fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Milliseconds since the proxy started, as of the last tick.
    pub(crate) const fn now_ms(&self) -> u64 {
        self.now_us.get() / 1000
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// The sweep must run soon: a request has a deadline.
    pub(crate) fn something_pending(&self) {
        self.services.ticker.set_pending();
    }

    /// The limits of upstream codecs: the largest of all listeners, as one connection may serve several.
    pub(crate) const fn codec_limits(&self) -> Limits {
        self.codec_limits.get()
    }

    pub(crate) fn set_codec_limits(&self, limits: Limits) {
        self.codec_limits.set(limits);
    }

    /// Counts a local reply of a listener.
    pub(crate) fn count_fault(&self, listener: &str, fault: Fault) {
        let mut groups = self.faults.borrow_mut();
        let group = groups
            .entry((listener.to_owned(), fault))
            .or_insert_with(|| {
                let labels = vec![listener.to_owned(), fault.name().to_owned()];
                self.services.stats.group(&FAULTS, labels)
            });
        group.add(faults::REPLIES, 1);
    }

    /// Forgets the counters of listeners that are not `served` any more.
    pub(crate) fn prune_faults(&self, served: impl Fn(&String) -> bool) {
        let mut groups = self.faults.borrow_mut();
        groups.retain(|(listener, _), _| served(listener));
    }
}
