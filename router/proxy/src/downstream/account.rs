//! What a downstream connection holds of the memory for bytes that wait, and how it is cut off when there
//! is too little of that.

use meltemi_frame::Output;

use super::{Downstream, State};
use crate::context::memory::Shortage;
use crate::downstream::replies::Replies;
use crate::telemetry::stats::listener;

impl Downstream {
    /// Bytes that wait for the client, or of it.
    fn holds(&self, state: &State) -> usize {
        let parked = state.cold.as_ref().map_or(0, |rare| rare.delayed_bytes);
        state.waits() + parked + self.activity.input.get() as usize
    }

    /// Reports what the connection holds, if that has changed much.
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

    /// Reports what the connection holds.
    pub(crate) fn report(&self) {
        let more = {
            let held = self.holds(&self.state.borrow());
            self.share.report(&self.worker.services.memory, held)
        };
        if more != 0 {
            self.note_change(more);
        }
    }

    /// Bytes of the client wait that make no whole message yet, or that nobody takes.
    #[inline]
    pub(crate) fn note_input(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.activity.input.replace(bytes) != bytes {
            self.account(&self.state.borrow());
        }
    }

    /// How many bytes it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.holds(&self.state.borrow())
    }

    /// The client is stopped. `limit`: what its listener allows to wait.
    #[inline]
    pub(super) fn note_stop(&self, bytes: usize, limit: usize) {
        if bytes <= limit && !self.activity.stopped.replace(true) {
            self.count(listener::STOPPED, 1);
            tracing::debug!(downstream = %self.peer, bytes, "client stopped: memory is short");
        }
    }

    /// Cuts the client off, and gives back at once what waits for it.
    pub(crate) fn cut_off_for_memory(&self) {
        let mut state = self.state.borrow_mut();
        let bytes = self.holds(&state);
        self.count(listener::MEMORY_CUT_OFF, 1);
        tracing::warn!(
            downstream = %self.peer,
            listener = %self.view.borrow().listener.name,
            bytes,
            bound = self.worker.services.memory.bound(),
            "client cut off: memory is short, and more waits for this client or of it than for others; \
             `--memory` allows more"
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
