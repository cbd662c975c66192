//! What an upstream connection holds of the memory for bytes that wait, and how it is closed when there is
//! too little of that.

use meltemi_frame::Fault;

use super::Upstream;
use crate::context::WorkerContext;
use crate::context::memory::Shortage;
use crate::telemetry::stats::cluster;

impl Upstream {
    /// Bytes that may wait to be written before downstreams have to wait.
    pub(super) fn cap(&self) -> usize {
        self.cap.min(self.memory.allowance())
    }

    /// Reports what the connection holds, of which `out` bytes are in its output, if that has changed much.
    #[inline]
    pub(crate) fn account(&self, worker: &WorkerContext, out: usize) {
        let more = self
            .share
            .report_roughly(&self.memory, out + self.input.get());
        if more != 0 {
            self.note_change(more);
            if self.memory.shortage() > Shortage::None {
                worker.something_pending();
            }
        }
    }

    #[cold]
    fn note_change(&self, more: usize) {
        self.cluster.group.add(cluster::WAITING, more as u64);
    }

    /// How many bytes it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.state.borrow().out.len() + self.input.get()
    }

    /// Reports what the connection holds.
    pub(crate) fn report(&self) {
        let more = self.share.report(&self.memory, self.held_bytes());
        if more != 0 {
            self.note_change(more);
        }
    }

    /// Bytes of the upstream wait that make no whole message yet, or that nobody takes.
    #[inline]
    pub(crate) fn note_input(&self, worker: &WorkerContext, bytes: usize) {
        let before = self.input.replace(bytes);
        if before != bytes {
            let out = self.state.borrow().out.len();
            self.account(worker, out);
        }
    }

    /// The connection holds nothing any more.
    pub(super) fn report_nothing(&self) {
        self.input.set(0);
        let more = self.share.report(&self.memory, 0);
        if more != 0 {
            self.note_change(more);
        }
    }

    /// Closes the connection. What waits in it is not sent elsewhere.
    pub(crate) fn cut_off_for_memory(&self) {
        self.cluster.group.add(cluster::MEMORY_CUT_OFF, 1);
        tracing::warn!(
            endpoint = %self.endpoint.address,
            cluster = %self.cluster.config.borrow().name,
            bytes = self.held_bytes(),
            bound = self.memory.bound(),
            "upstream connection closed: memory is short, and more waits here than elsewhere; \
             `--memory` allows more"
        );
        self.close(Fault::Overload);
        self.report_nothing();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.report_nothing();
    }
}
