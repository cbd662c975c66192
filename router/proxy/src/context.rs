//! What every part of a worker may use: time, random numbers, buffers, counters and logs. It knows no
//! connection, no cluster and no request.

pub(crate) mod beat;
pub(crate) mod clock;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::{Fault, Limits};

use crate::ratelimit::RateLimits;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::spans::Tracer;
use crate::telemetry::stats::{FAULTS, Group, Stats, faults};
use crate::transport::io::ReadBuffer;
use crate::transport::stream::Wrap;

use beat::Beat;
use clock::Clock;

/// What a process gives each of its workers.
pub(crate) struct Services {
    pub(crate) stats: Stats,
    pub(crate) access_log: Option<AccessLog>,
    /// Traces requests, if traces are exported.
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) beat: Arc<Beat>,
    pub(crate) clock: Clock,
    /// What connections travel through.
    pub(crate) wrap: Wrap,
}

/// What every part of one worker uses. It never leaves the worker's thread.
pub(crate) struct WorkerContext {
    pub(crate) services: Services,
    pub(crate) buffer: ReadBuffer,
    now_us: Cell<u64>,
    random: RefCell<fastrand::Rng>,
    codec_limits: Cell<Limits>,
    faults: RefCell<HashMap<(String, Fault), Arc<Group>>>,
}

impl WorkerContext {
    pub(crate) fn new(services: Services) -> Self {
        Self {
            services,
            buffer: ReadBuffer::new(),
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
        self.services.beat.set_pending();
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
