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
        state.unparking && state.replies.in_order()
    }

    /// Puts a request behind those that wait. Tells whether nobody takes them out yet.
    pub(crate) fn park(&self, parked: Parked) -> bool {
        let mut state = self.state.borrow_mut();
        state.parked.push_back(parked);
        !std::mem::replace(&mut state.unparking, true)
    }

    /// The next of those that wait; `None` when there are none any more.
    pub(crate) fn next_parked(&self) -> Option<Parked> {
        let mut state = self.state.borrow_mut();
        let next = state.parked.pop_front();
        state.unparking = next.is_some();
        next
    }

    /// A request waits.
    pub(crate) fn hold(&self, held: Held) {
        let mut state = self.state.borrow_mut();
        state.parked_bytes += held.bytes;
        state.in_flight += usize::from(held.one_way);
        state.queued += usize::from(held.blocking);
    }

    /// A request waits no longer.
    pub(crate) fn let_go(&self, held: Held) {
        let mut state = self.state.borrow_mut();
        state.parked_bytes = state.parked_bytes.saturating_sub(held.bytes);
        let one_way = usize::from(held.one_way);
        state.in_flight = state.in_flight.saturating_sub(one_way);
        state.queued = state.queued.saturating_sub(usize::from(held.blocking));
        state.wake();
    }
}
