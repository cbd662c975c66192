//! Services for every part of a worker: time, random numbers, buffers, counters and logs. The
//! module must not depend on connections, clusters or requests.

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

/// The services that the process gives to each worker.
pub(crate) struct Services {
    pub(crate) stats: Stats,
    pub(crate) access_log: Option<AccessLog>,
    /// Traces requests, if traces are exported.
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) clock: Clock,
    /// The memory for buffered bytes of the whole process.
    pub(crate) memory: Arc<Memory>,
    /// Wraps every socket in a stream.
    pub(crate) wrap: Wrap,
}

/// Services of one worker. They never leave the worker's thread.
pub(crate) struct WorkerContext {
    pub(crate) services: Services,
    pub(crate) buffer: ReadBuffer,
    /// The worker's handling of a memory shortage.
    pub(crate) relief: Relief,
    now_us: Cell<u64>,
    random: RefCell<fastrand::Rng>,
    codec_limits: Cell<Limits>,
    faults: RefCell<HashMap<(String, Fault), Arc<MetricSet>>>,
}

impl WorkerContext {
    /// `number`: the index of the worker.
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

    /// Reads the clock. Called once per turn of a task.
    pub(crate) fn tick(&self) {
        self.now_us.set(self.services.clock.now_us());
    }

    /// Returns the time after this duration, in milliseconds of the worker's clock. At least 1 ms
    /// from now.
    pub(crate) fn after(&self, time: Duration) -> u64 {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.now_ms().saturating_add(time.max(1))
    }

    /// Returns the microseconds since the proxy started, as of the last tick.
    pub(crate) const fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Returns the milliseconds since the proxy started, as of the last tick.
    pub(crate) const fn now_ms(&self) -> u64 {
        self.now_us.get() / 1000
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// Makes the sweep run soon, because a request has a deadline.
    pub(crate) fn something_pending(&self) {
        self.services.ticker.set_pending();
    }

    /// Returns the limits for upstream codecs: the largest of all listeners, because one connection
    /// may serve several listeners.
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

    /// Drops the counters of listeners that are no longer `served`.
    pub(crate) fn prune_faults(&self, served: impl Fn(&String) -> bool) {
        let mut groups = self.faults.borrow_mut();
        groups.retain(|(listener, _), _| served(listener));
    }
}
