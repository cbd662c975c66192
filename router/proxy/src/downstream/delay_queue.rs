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
        let resuming = state.cold.as_ref().is_some_and(|rare| rare.resuming);
        resuming && state.replies.in_order()
    }

    /// Queues a delayed request in client order. Returns `true` if the caller must start the drain
    /// task.
    pub(crate) fn delay(&self, parked: Delayed) -> bool {
        let mut state = self.state.borrow_mut();
        let rare = state.cold_state();
        // A retried request was sent before the requests that arrived in the meantime.
        let behind = |other: &Delayed| other.is_behind(parked.seq());
        let later = rare.parked.iter().rev().take_while(|other| behind(other));
        let at = rare.parked.len() - later.count();
        rare.parked.insert(at, parked);
        !std::mem::replace(&mut rare.resuming, true)
    }

    /// Returns `true` if a delayed request was sent by the client before the request `seq`.
    pub(crate) fn has_earlier(&self, seq: Option<u64>) -> bool {
        let state = self.state.borrow();
        let first = state.cold.as_ref().and_then(|rare| rare.parked.front());
        match (first.and_then(Delayed::seq), seq) {
            (Some(first), Some(seq)) => first < seq,
            _ => false,
        }
    }

    /// Removes the next delayed request. `None` if the queue is empty: the drain task then ends.
    pub(crate) fn next_delayed(&self) -> Option<Delayed> {
        let mut state = self.state.borrow_mut();
        let rare = state.cold.as_mut()?;
        let next = rare.parked.pop_front();
        rare.resuming = next.is_some();
        next
    }

    /// Reserves resources for a delayed request.
    pub(crate) fn hold(&self, held: Reserved) {
        let mut state = self.state.borrow_mut();
        state.in_flight += usize::from(held.one_way);
        let rare = state.cold_state();
        rare.delayed_bytes += held.bytes;
        rare.held += 1;
        rare.in_queue += usize::from(held.in_queue);
        rare.blocking += usize::from(held.blocking);
        self.account(&state);
    }

    /// Releases the resources of a delayed request.
    pub(crate) fn release_reservation(&self, held: Reserved) {
        let mut state = self.state.borrow_mut();
        let one_way = usize::from(held.one_way);
        state.in_flight = state.in_flight.saturating_sub(one_way);
        let rare = state.cold_state();
        rare.delayed_bytes = rare.delayed_bytes.saturating_sub(held.bytes);
        rare.held = rare.held.saturating_sub(1);
        let in_queue = usize::from(held.in_queue);
        rare.in_queue = rare.in_queue.saturating_sub(in_queue);
        rare.blocking = rare.blocking.saturating_sub(usize::from(held.blocking));
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
