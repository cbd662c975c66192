//! How an upstream connection ends, and its calls without an answer: what is out of time, and what is taken
//! back. What becomes of such a call is not known here.

use std::rc::Rc;

use bytes::Bytes;
use meltemi_frame::{Fault, Output};

use super::{Phase, Upstream};
use crate::call::{Call, Place};
use crate::upstream::in_flight::Calls;

impl Upstream {
    /// Takes no new requests; closes when nothing is in flight.
    pub(crate) fn drain(&self) {
        let mut state = self.state.borrow_mut();
        if state.phase != Phase::Closed {
            state.phase = Phase::Draining;
        }
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }

    /// Closes at once; what is in flight fails with `fault`.
    pub(crate) fn close(&self, fault: Fault) {
        let mut state = self.state.borrow_mut();
        state.closed_for.get_or_insert(fault);
        state.phase = Phase::Closed;
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }

    /// Takes out the calls whose time has run out. The connection remembers them, and drops the reply if it
    /// still comes. One that nobody waits for any more, or that answers by id and does not answer a
    /// heartbeat, is closed.
    pub(crate) fn expire(self: &Rc<Self>, now_ms: u64) -> Vec<Box<Call>> {
        let mut state = self.state.borrow_mut();
        let calls = state.calls.expired(now_ms);
        if calls.is_empty() {
            return calls;
        }
        let in_order = matches!(state.calls, Calls::InOrder(_));
        // A server that works on a request cannot answer what is behind it, not even a heartbeat.
        let lost = state.exclusive || calls.iter().any(|call| call.is_keepalive());
        // With only abandoned requests before it nothing that comes would be of use to anybody.
        let useless = state.calls.are_useless();
        if (lost && !in_order) || useless {
            state.closed_for.get_or_insert(Fault::Timeout);
            state.phase = Phase::Closed;
        } else if (in_order || self.mute.replace(true)) && state.phase != Phase::Closed {
            // Whoever is behind the stuck request waits for it; nobody new shall. Ids let answers
            // overtake it, but not one that has begun and never ends: two time-outs without an
            // answer between them tell it.
            state.phase = Phase::Draining;
        }
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
        calls
    }

    /// Takes out everything in flight, because the connection is gone: in the order in which it was sent,
    /// each with its bytes if none of them has left.
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
