//! The end of an upstream connection, and of calls that get no response: timed out, or taken back.
//! The module does not decide what happens to such a call.

use std::rc::Rc;

use bytes::Bytes;
use meltemi_frame::{Fault, Output};

use super::{Phase, Upstream};
use crate::call::{Call, Place};
use crate::upstream::in_flight::Calls;

impl Upstream {
    /// Accepts no new requests. Closes when nothing is in flight.
    pub(crate) fn drain(&self) {
        let mut state = self.state.borrow_mut();
        if state.phase != Phase::Closed {
            state.phase = Phase::Draining;
        }
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }

    /// Closes at once. Requests in flight fail with `fault`.
    pub(crate) fn close(&self, fault: Fault) {
        let mut state = self.state.borrow_mut();
        state.closed_for.get_or_insert(fault);
        state.phase = Phase::Closed;
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }

    /// Removes the calls that timed out. The connection remembers them and drops a late response.
    /// Closes an in-order connection if only timed-out calls are left. Closes a connection with ids
    /// if it is exclusive or if a heartbeat timed out.
    pub(crate) fn expire(self: &Rc<Self>, now_ms: u64) -> Vec<Box<Call>> {
        let mut state = self.state.borrow_mut();
        let calls = state.calls.expired(now_ms);
        if calls.is_empty() {
            return calls;
        }
        let in_order = matches!(state.calls, Calls::InOrder(_));
        // An in-order server that works on a request cannot answer later ones, not even a
        // heartbeat.
        let lost = state.exclusive || calls.iter().any(|call| call.is_keepalive());
        // Only timed-out requests are left, so no response can be useful.
        let useless = state.calls.are_useless();
        if (lost && !in_order) || useless {
            state.closed_for.get_or_insert(Fault::Timeout);
            state.phase = Phase::Closed;
        } else if (in_order || self.mute.replace(true)) && state.phase != Phase::Closed {
            // Calls behind the stuck request stay, but no new ones are accepted. With ids, other
            // responses can overtake a slow request. They cannot overtake a response that has begun
            // and never ends. Two timeouts with no response between them indicate that case.
            state.phase = Phase::Draining;
        }
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
        calls
    }

    /// Removes everything in flight because the connection is closed. Returns the calls in send
    /// order, each with its bytes if none of them were sent.
    pub(crate) fn drain_calls(&self) -> Vec<(Box<Call>, Option<Bytes>)> {
        let mut state = self.state.borrow_mut();
        state.phase = Phase::Closed;
        for waker in state.blocked.drain(..) {
            waker.wake();
        }
        let mut calls = state.calls.drain();
        calls.sort_by_key(|call| call.place.start);
        let written = state.written;
        let mut left = Bytes::new();
        if calls.iter().any(|call| call.place.start >= written) {
            left = state.out.drain();
        }
        state.out = Output::new();
        self.report_nothing();
        let bytes = |place: Place| {
            let start = usize::try_from(place.start.checked_sub(written)?).ok()?;
            let end = start
                .checked_add(place.length)
                .filter(|end| *end <= left.len())?;
            (place.length > 0).then(|| left.slice(start..end))
        };
        calls
            .into_iter()
            .map(|call| {
                let bytes = bytes(call.place);
                (call, bytes)
            })
            .collect()
    }
}
