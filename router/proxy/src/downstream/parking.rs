//! The requests of one client that wait before they are sent: their order, and what they take of the
//! connection meanwhile. What they wait for, and what becomes of them, is told by `parked`.

use super::Downstream;
use crate::parked::{Held, Parked};

impl Downstream {
    /// Whether replies, and so requests, have an order here.
    pub(crate) fn answers_in_order(&self) -> bool {
        self.state.borrow().replies.in_order()
    }

    /// Whether a request waits that those behind it must not overtake.
    pub(crate) fn has_parked(&self) -> bool {
        let state = self.state.borrow();
        let unparking = state.rare.as_ref().is_some_and(|rare| rare.unparking);
        unparking && state.replies.in_order()
    }

    /// Puts a request behind those that wait. Tells whether nobody takes them out yet.
    pub(crate) fn park(&self, parked: Parked) -> bool {
        let mut state = self.state.borrow_mut();
        let rare = state.rare();
        rare.parked.push_back(parked);
        !std::mem::replace(&mut rare.unparking, true)
    }

    /// The next of those that wait; `None` when there are none any more.
    pub(crate) fn next_parked(&self) -> Option<Parked> {
        let mut state = self.state.borrow_mut();
        let rare = state.rare.as_mut()?;
        let next = rare.parked.pop_front();
        rare.unparking = next.is_some();
        next
    }

    /// A request waits.
    pub(crate) fn hold(&self, held: Held) {
        let mut state = self.state.borrow_mut();
        state.in_flight += usize::from(held.one_way);
        let rare = state.rare();
        rare.parked_bytes += held.bytes;
        rare.queued += usize::from(held.blocking);
    }

    /// A request waits no longer.
    pub(crate) fn let_go(&self, held: Held) {
        let mut state = self.state.borrow_mut();
        let one_way = usize::from(held.one_way);
        state.in_flight = state.in_flight.saturating_sub(one_way);
        let rare = state.rare();
        rare.parked_bytes = rare.parked_bytes.saturating_sub(held.bytes);
        rare.queued = rare.queued.saturating_sub(usize::from(held.blocking));
        state.wake();
    }
}
