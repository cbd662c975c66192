//! Heartbeats of an upstream connection in both directions, and the time of the last received byte.
//! The sweep decides when to send a heartbeat and when the peer is dead.

use meltemi_frame::{LocalMessage, ReplyContext};

use super::{State, Upstream};
use crate::call::Call;
use crate::upstream::in_flight::Calls;

impl Upstream {
    /// Sends a heartbeat to the upstream.
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
        let sent = codec.synthesize(LocalMessage::Ping { id }, out);
        match (sent, calls) {
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

    /// Returns `true` if a heartbeat was sent and is not answered yet.
    pub(crate) const fn is_asked(&self) -> bool {
        self.asked.get()
    }

    /// Answers a heartbeat from the upstream.
    pub(crate) fn pong(&self, to: &ReplyContext) {
        let mut state = self.state.borrow_mut();
        let State { codec, out, .. } = &mut *state;
        // A protocol whose peer can send heartbeats can also answer them. Other protocols have no
        // answer to send.
        let _ = codec.synthesize(LocalMessage::Pong { to }, out);
    }

    /// Returns the microseconds since the last received byte.
    pub(crate) const fn unheard_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.heard_us.get())
    }

    pub(crate) fn mark_heard(&self, now_us: u64) {
        self.heard_us.set(now_us);
        self.asked.set(false);
    }
}
