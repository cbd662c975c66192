//! Heartbeats of an upstream connection, in both directions, and when it was last heard. When to ask, and
//! what silence means, is told by the sweep.

use meltemi_frame::{LocalMessage, ReplyContext};

use super::{State, Upstream};
use crate::call::Call;
use crate::upstream::in_flight::Calls;

impl Upstream {
    /// Asks the upstream whether it is there.
    pub(crate) fn ping(&self, deadline_ms: u64) {
        let mut state = self.state.borrow_mut();
        let State {
            codec, out, calls, ..
        } = &mut *state;
        let id = match calls {
            Calls::ById(pending) => pending.insert(Call::keepalive(), deadline_ms),
            Calls::InOrder(_) => Some(0),
        };
        let Some(id) = id else { return };
        let said = codec.synthesize(LocalMessage::Ping { id }, out);
        match (said, calls) {
            (Ok(()), Calls::InOrder(fifo)) => {
                fifo.push(Call::keepalive(), deadline_ms);
            }
            (Err(_), Calls::ById(pending)) => drop(pending.remove(id)),
            _ => {}
        }
        self.asked.set(true);
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }

    /// Whether a heartbeat is not answered yet.
    pub(crate) const fn is_asked(&self) -> bool {
        self.asked.get()
    }

    /// Answers the upstream's own heartbeat.
    pub(crate) fn pong(&self, to: &ReplyContext) {
        let mut state = self.state.borrow_mut();
        let State { codec, out, .. } = &mut *state;
        // A protocol that can ask can answer; one that cannot has nothing to say.
        let _ = codec.synthesize(LocalMessage::Pong { to }, out);
    }

    /// Microseconds since the last byte came.
    pub(crate) const fn unheard_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.heard_us.get())
    }

    /// Bytes came.
    pub(crate) fn mark_heard(&self, now_us: u64) {
        self.heard_us.set(now_us);
        self.asked.set(false);
    }
}
