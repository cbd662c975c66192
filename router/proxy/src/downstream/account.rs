//! Reports the memory of a downstream connection, and closes the connection when memory is short.

use meltemi_frame::Output;

use super::{Downstream, State};
use crate::context::memory::Shortage;
use crate::downstream::replies::Replies;
use crate::telemetry::stats::listener;

impl Downstream {
    /// Returns the number of buffered bytes in both directions.
    fn holds(&self, state: &State) -> usize {
        let delayed = state.cold.as_ref().map_or(0, |cold| cold.delayed_bytes);
        state.waits() + delayed + self.activity.input.get() as usize
    }

    /// Reports the memory of the connection if it has changed by a large amount.
    #[inline]
    pub(super) fn account(&self, state: &State) {
        let more = self
            .share
            .report_roughly(&self.worker.services.memory, self.holds(state));
        if more != 0 {
            self.note_change(more);
        }
    }

    #[cold]
    fn note_change(&self, more: usize) {
        self.count(listener::WAITING, more as u64);
        if self.worker.services.memory.shortage() > Shortage::None {
            self.worker.something_pending();
        }
    }

    /// Reports the memory of the connection.
    pub(crate) fn report(&self) {
        let memory = &self.worker.services.memory;
        let more = self.share.report(memory, self.held_bytes());
        if more != 0 {
            self.note_change(more);
        }
    }

    /// Sets the number of received bytes that are still in the buffer: a partial message, or
    /// requests that the proxy does not read yet.
    #[inline]
    pub(crate) fn note_input(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.activity.input.replace(bytes) != bytes {
            self.account(&self.state.borrow());
        }
    }

    /// Returns the number of bytes that the connection holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.holds(&self.state.borrow())
    }

    /// Records that the proxy stops reading from the client. `limit`: the listener's limit for
    /// buffered bytes.
    #[inline]
    pub(super) fn note_stop(&self, bytes: usize, limit: usize) {
        if bytes <= limit && !self.activity.stopped.replace(true) {
            self.count(listener::STOPPED, 1);
            tracing::debug!(downstream = %self.peer, bytes, "client is not read from: memory is short");
        }
    }

    /// Closes the connection and frees its buffers at once.
    pub(crate) fn cut_off_for_memory(&self) {
        let mut state = self.state.borrow_mut();
        let bytes = self.holds(&state);
        self.count(listener::MEMORY_CUT_OFF, 1);
        tracing::warn!(
            downstream = %self.peer,
            listener = %self.view.borrow().listener.name,
            bytes,
            bound = self.worker.services.memory.bound(),
            "client cut off: memory is short, and this client has more buffered bytes than others; \
             `--memory` raises the limit"
        );
        state.closed = true;
        state.out = Output::new();
        state.replies = Replies::new(state.replies.in_order());
        self.activity.input.set(0);
        self.account(&state);
        state.wake();
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        let rest = self.share.report(&self.worker.services.memory, 0);
        if rest != 0 {
            self.count(listener::WAITING, rest as u64);
        }
    }
}
