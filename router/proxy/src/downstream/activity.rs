//! What a worker's sweep has to know of a downstream connection: when things happened on it.

use std::cell::Cell;

/// When things happened on a connection, for the worker's sweep.
#[derive(Default)]
pub(crate) struct Activity {
    /// The last byte in or out, in microseconds.
    pub(crate) active_us: Cell<u64>,
    /// Since when an unfinished message waits; 0: none does.
    pub(crate) partial_since_us: Cell<u64>,
    /// Bytes of messages that are not whole yet, or not taken.
    pub(crate) input: Cell<u32>,
    /// When others last waited for this client to read, in seconds from 1; 0: never.
    held_up_s: Cell<u32>,
    /// It is stopped because memory is short.
    pub(crate) stopped: Cell<bool>,
    /// The protocol is not known yet.
    pub(crate) detecting: Cell<bool>,
    /// Something blocks for the client while nothing is read from it: see `notice_leaving`.
    pub(crate) unread: Cell<bool>,
    /// Since when the listener is gone or the process ends, in microseconds; 0: it does not. The
    /// connection closes when it has nothing to do.
    pub(crate) draining_since_us: Cell<u64>,
}

/// Requests may be on their way when a client is told that it should leave: for this long a
/// connection that drains is kept open without any, in microseconds.
const GRACE_US: u64 = 200_000;

/// For this long after others waited for a client it has connections of its own, in seconds.
const APART_S: u32 = 60;

fn seconds(now_us: u64) -> u32 {
    u32::try_from(now_us / 1_000_000 + 1).unwrap_or(u32::MAX)
}

impl Activity {
    /// The connection ends when it has nothing to do. Tells whether that is news.
    pub(crate) fn drain(&self, now_us: u64) -> bool {
        let news = !self.is_draining();
        if news {
            self.draining_since_us.set(now_us);
        }
        news
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining_since_us.get() > 0
    }

    /// Others waited for this client not long ago.
    pub(crate) fn is_apart(&self, now_us: u64) -> bool {
        let since = self.held_up_s.get();
        since > 0 && seconds(now_us).saturating_sub(since) < APART_S
    }

    /// Others wait for this client.
    pub(crate) fn note_held_up(&self, now_us: u64) {
        self.held_up_s.set(seconds(now_us));
    }

    /// The time for what was on its way is over.
    pub(crate) fn may_end(&self, now_us: u64) -> bool {
        self.is_draining() && now_us.saturating_sub(self.draining_since_us.get()) >= GRACE_US
    }
}
