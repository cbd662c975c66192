//! One worker's handling of a memory shortage: its duration, its log messages, and the tasks that
//! wait for its end.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Duration;

use super::Memory;

/// The shortest time between two log messages about a shortage.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// One worker's handling of a memory shortage.
pub(crate) struct Relief {
    /// The index of the worker.
    number: usize,
    /// Time when the shortage started, in microseconds. 0 if there is none.
    since_us: Cell<u64>,
    /// Time of the last log message, in microseconds. 0 if there was none.
    logged_us: Cell<u64>,
    /// Tasks that continue when memory is available again.
    waiting: RefCell<Vec<Waker>>,
}

impl Relief {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            since_us: Cell::new(0),
            logged_us: Cell::new(0),
            waiting: RefCell::default(),
        }
    }

    /// Wakes a task when memory is available again, or when a connection was closed to free memory.
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

    /// Ends the shortage.
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

    /// Returns how long the shortage has lasted, or how long ago a connection was last closed to
    /// free memory.
    pub(crate) fn lasts(&self, now_us: u64) -> Duration {
        if self.since_us.get() == 0 {
            self.since_us.set(now_us);
        }
        Duration::from_micros(now_us.saturating_sub(self.since_us.get()))
    }

    /// Restarts the measured time after a connection was closed to free memory.
    pub(crate) fn restart(&self, now_us: u64) {
        self.since_us.set(now_us);
        self.wake();
    }

    /// Logs that memory is short, but not too often.
    pub(crate) fn mention(&self, memory: &Memory, now_us: u64) {
        let last = self.logged_us.get();
        let since = Duration::from_micros(now_us.saturating_sub(last));
        if last > 0 && since < LOG_INTERVAL {
            return;
        }
        self.logged_us.set(now_us);
        tracing::warn!(
            waiting = memory.total(),
            bound = memory.bound(),
            "memory is short: the connections with the most buffered bytes are stopped, and closed \
             if that is not enough; `--memory` raises the limit"
        );
    }
}
