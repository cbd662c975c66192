//! Reports the memory of an upstream connection, and closes the connection when memory is short.

use meltemi_frame::Fault;

use super::Upstream;
use crate::context::WorkerContext;
use crate::context::memory::Shortage;
use crate::telemetry::stats::cluster;

impl Upstream {
    /// Returns the largest number of bytes in the output before downstreams must wait.
    pub(super) fn cap(&self) -> usize {
        self.cap.min(self.memory.allowance())
    }

    /// Reports the memory of the connection if it has changed by a large amount. `out`: bytes in
    /// the output.
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

    /// Returns the number of bytes that the connection holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.state.borrow().out.len() + self.input.get()
    }

    /// Reports the memory of the connection.
    pub(crate) fn report(&self) {
        let more = self.share.report(&self.memory, self.held_bytes());
        if more != 0 {
            self.note_change(more);
        }
    }

    /// Sets the number of received bytes that are still in the buffer: a partial message, or
    /// messages that are not processed yet.
    #[inline]
    pub(crate) fn note_input(&self, worker: &WorkerContext, bytes: usize) {
        let before = self.input.replace(bytes);
        if before != bytes {
            let out = self.state.borrow().out.len();
            self.account(worker, out);
        }
    }

    /// Reports that the connection holds no memory any more.
    pub(super) fn report_nothing(&self) {
        self.input.set(0);
        let more = self.share.report(&self.memory, 0);
        if more != 0 {
            self.note_change(more);
        }
    }

    /// Closes the connection. Its buffered requests are not sent elsewhere.
    pub(crate) fn cut_off_for_memory(&self) {
        self.cluster.group.add(cluster::MEMORY_CUT_OFF, 1);
        tracing::warn!(
            endpoint = %self.endpoint.address,
            cluster = %self.cluster.config.borrow().name,
            bytes = self.held_bytes(),
            bound = self.memory.bound(),
            "upstream connection closed: memory is short, and this connection has more buffered \
             bytes than others; `--memory` raises the limit"
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
