//! Times of the last activity of a downstream connection, for the worker's sweep.

use std::cell::Cell;

/// Times and flags of a connection, for the worker's sweep.
#[derive(Default)]
pub(crate) struct Activity {
    /// Time of the last byte in or out, in microseconds.
    pub(crate) active_us: Cell<u64>,
    /// Time when the current partial message started, in microseconds. 0 if there is none.
    pub(crate) partial_since_us: Cell<u64>,
    /// Received bytes that are still in the buffer: a partial message, or requests that are not
    /// read yet.
    pub(crate) input: Cell<u32>,
    /// Time when others last waited for this client to read, in seconds starting at 1. 0 for never.
    held_up_s: Cell<u32>,
    /// `true` if reading is stopped because memory is short.
    pub(crate) stopped: Cell<bool>,
    /// `true` while the protocol is being detected.
    pub(crate) detecting: Cell<bool>,
    /// `true` if a request blocks while nothing is read from the client. See `notice_leaving`.
    pub(crate) unread: Cell<bool>,
    /// Time when draining started, in microseconds. 0 if the connection is not draining. A
    /// connection drains when its listener was removed or the process shuts down, and closes when
    /// it is idle.
    pub(crate) draining_since_us: Cell<u64>,
}

/// How long a draining connection stays open without requests, in microseconds. Requests may still
/// be on their way when the client is asked to leave.
const GRACE_US: u64 = 200_000;

/// How long a client gets separate upstream connections after others waited for it, in seconds.
const APART_S: u32 = 60;

fn seconds(now_us: u64) -> u32 {
    u32::try_from(now_us / 1_000_000 + 1).unwrap_or(u32::MAX)
}

impl Activity {
    /// Starts draining. Returns `true` if the connection was not draining before.
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

    /// Returns `true` if others waited for this client recently.
    pub(crate) fn is_apart(&self, now_us: u64) -> bool {
        let since = self.held_up_s.get();
        since > 0 && seconds(now_us).saturating_sub(since) < APART_S
    }

    /// Records that others wait for this client.
    pub(crate) fn note_held_up(&self, now_us: u64) {
        self.held_up_s.set(seconds(now_us));
    }

    /// Returns `true` if the connection is draining and the grace time is over.
    pub(crate) fn may_end(&self, now_us: u64) -> bool {
        self.is_draining() && now_us.saturating_sub(self.draining_since_us.get()) >= GRACE_US
    }
}
