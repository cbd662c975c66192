//! The delayed requests of one client: their order, and the resources that they reserve on the
//! connection. `dispatch::delayed` decides when they are sent.

use std::future::poll_fn;
use std::task::Poll;

use super::Downstream;
use crate::call::delayed::{Delayed, Reserved};

impl Downstream {
    /// Returns `true` if replies must leave in request order.
    pub(crate) fn answers_in_order(&self) -> bool {
        self.state.borrow().replies.in_order()
    }

    /// Returns `true` if a delayed request exists that later requests must not overtake.
    pub(crate) fn has_delayed(&self) -> bool {
        let state = self.state.borrow();
        state.cold.as_ref().is_some_and(|cold| cold.resuming)
    }

    /// Queues a delayed request in client order. Returns `true` if the caller must start the drain
    /// task.
    pub(crate) fn delay(&self, delayed: Delayed) -> bool {
        let mut state = self.state.borrow_mut();
        let cold = state.cold_state();
        // A retried request was sent before the requests that arrived in the meantime.
        let behind = |other: &Delayed| other.is_behind(delayed.seq());
        let later = cold.delayed.iter().rev().take_while(|other| behind(other));
        let at = cold.delayed.len() - later.count();
        cold.delayed.insert(at, delayed);
        !std::mem::replace(&mut cold.resuming, true)
    }

    /// Returns `true` if a delayed request was sent by the client before the request `seq`.
    pub(crate) fn has_earlier(&self, seq: Option<u64>) -> bool {
        let state = self.state.borrow();
        let first = state.cold.as_ref().and_then(|cold| cold.delayed.front());
        match (first.and_then(Delayed::seq), seq) {
            (Some(first), Some(seq)) => first < seq,
            _ => false,
        }
    }

    /// Removes the next delayed request. `None` if the queue is empty: the drain task then ends.
    pub(crate) fn next_delayed(&self) -> Option<Delayed> {
        let mut state = self.state.borrow_mut();
        let cold = state.cold.as_mut()?;
        let next = cold.delayed.pop_front();
        cold.resuming = next.is_some();
        next
    }

    /// Reserves resources for a delayed request.
    pub(crate) fn hold(&self, held: Reserved) {
        let mut state = self.state.borrow_mut();
        state.in_flight += usize::from(held.one_way);
        let cold = state.cold_state();
        cold.delayed_bytes += held.bytes;
        cold.held += 1;
        cold.in_queue += usize::from(held.in_queue);
        cold.blocking += usize::from(held.blocking);
        self.account(&state);
    }

    /// Releases the resources of a delayed request.
    pub(crate) fn release_reservation(&self, held: Reserved) {
        let mut state = self.state.borrow_mut();
        let one_way = usize::from(held.one_way);
        state.in_flight = state.in_flight.saturating_sub(one_way);
        let cold = state.cold_state();
        cold.delayed_bytes = cold.delayed_bytes.saturating_sub(held.bytes);
        cold.held = cold.held.saturating_sub(1);
        let in_queue = usize::from(held.in_queue);
        cold.in_queue = cold.in_queue.saturating_sub(in_queue);
        cold.blocking = cold.blocking.saturating_sub(usize::from(held.blocking));
        self.account(&state);
        state.wake();
    }

    /// Waits until the state of the connection changes, for example because a request of the client
    /// has ended.
    pub(crate) async fn moves(&self) {
        let mut waits = false;
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            state.cold_state().turn = (!waits).then(|| cx.waker().clone());
            match std::mem::replace(&mut waits, true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
