//! The requests of one client that wait before they are sent: their order, and what they take of the
//! connection meanwhile. What they wait for, and what becomes of them, is told by `parked`.

use std::future::poll_fn;
use std::task::Poll;

use super::Downstream;
use crate::call::delayed::{Delayed, Reserved};

impl Downstream {
    /// Whether replies, and so requests, have an order here.
    pub(crate) fn answers_in_order(&self) -> bool {
        self.state.borrow().replies.in_order()
    }

    /// Whether a request waits that those behind it must not overtake.
    pub(crate) fn has_delayed(&self) -> bool {
        let state = self.state.borrow();
        let resuming = state.cold.as_ref().is_some_and(|rare| rare.resuming);
        resuming && state.replies.in_order()
    }

    /// Puts a request among those that wait, in the order in which the client sent them. Returns whether
    /// nobody takes them out yet.
    pub(crate) fn delay(&self, parked: Delayed) -> bool {
        let mut state = self.state.borrow_mut();
        let rare = state.cold_state();
        // One that is tried again was sent before those that came in the meantime.
        let behind = |other: &Delayed| other.is_behind(parked.seq());
        let later = rare.parked.iter().rev().take_while(|other| behind(other));
        let at = rare.parked.len() - later.count();
        rare.parked.insert(at, parked);
        !std::mem::replace(&mut rare.resuming, true)
    }

    /// Whether one that waits was sent before the request `seq`.
    pub(crate) fn has_earlier(&self, seq: Option<u64>) -> bool {
        let state = self.state.borrow();
        let first = state.cold.as_ref().and_then(|rare| rare.parked.front());
        match (first.and_then(Delayed::seq), seq) {
            (Some(first), Some(seq)) => first < seq,
            _ => false,
        }
    }

    /// The next of those that wait; `None` when there are none any more.
    pub(crate) fn next_delayed(&self) -> Option<Delayed> {
        let mut state = self.state.borrow_mut();
        let rare = state.cold.as_mut()?;
        let next = rare.parked.pop_front();
        rare.resuming = next.is_some();
        next
    }

    /// A request waits.
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

    /// A request waits no longer.
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

    /// Waits until something of the client has ended.
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
