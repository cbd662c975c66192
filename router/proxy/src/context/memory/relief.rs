//! What one worker knows of a shortage of memory, and which tasks wait for its end.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Duration;

use super::Memory;

/// How often the log mentions that memory is short, at most.
const MENTIONS: Duration = Duration::from_secs(10);

/// What one worker knows of a shortage of memory.
pub(crate) struct Relief {
    /// Which of the workers it is.
    number: usize,
    /// Since when memory is tight, in microseconds; 0: it is not.
    since_us: Cell<u64>,
    /// When that was last logged; 0: never.
    mentioned_us: Cell<u64>,
    /// Tasks that go on when there is memory again.
    waiting: RefCell<Vec<Waker>>,
}

impl Relief {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            since_us: Cell::new(0),
            mentioned_us: Cell::new(0),
            waiting: RefCell::default(),
        }
    }

    /// Wakes a task when there is memory again, or somebody was cut off.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    pub(crate) fn wake(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Memory is not short any more.
    pub(crate) fn end(&self, memory: &Memory) {
        if self.since_us.replace(0) > 0 {
            memory.is_largest(self.number, 0);
        }
        self.wake();
    }

    /// Returns `true` if no other worker has a connection that holds more.
    pub(crate) fn has_largest(&self, memory: &Memory, bytes: usize) -> bool {
        memory.is_largest(self.number, bytes)
    }

    /// How long memory has been tight, or since somebody was cut off.
    pub(crate) fn lasts(&self, now_us: u64) -> Duration {
        if self.since_us.get() == 0 {
            self.since_us.set(now_us);
        }
        Duration::from_micros(now_us.saturating_sub(self.since_us.get()))
    }

    /// Somebody was cut off.
    pub(crate) fn restart(&self, now_us: u64) {
        self.since_us.set(now_us);
        self.wake();
    }

    /// Logs that memory is short, now and then.
    pub(crate) fn mention(&self, memory: &Memory, now_us: u64) {
        let last = self.mentioned_us.get();
        let since = Duration::from_micros(now_us.saturating_sub(last));
        if last > 0 && since < MENTIONS {
            return;
        }
        self.mentioned_us.set(now_us);
        tracing::warn!(
            waiting = memory.total(),
            bound = memory.bound(),
            "memory is short: connections for which most waits are stopped, and cut off if that \
             does not suffice; `--memory` allows more"
        );
    }
}
