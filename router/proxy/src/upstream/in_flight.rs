//! The calls that wait for responses on one upstream connection, by request id or in request order.

use std::rc::Rc;

use meltemi_frame::{Correlation, Fault, Spec};
use meltemi_router_core::{Fifo, Pending, Turn};

use crate::call::Call;
use crate::context::WorkerContext;
use crate::downstream::Downstream;

/// The calls that wait for responses.
pub(crate) enum Calls {
    /// Responses carry the id of their request.
    ById(Pending<Box<Call>>),
    /// Responses arrive in request order.
    InOrder(Fifo<Box<Call>>),
}

impl Calls {
    /// `by_id`: uses request ids if the protocol has any, even if it answers in order.
    pub(crate) fn new(spec: &Spec, by_id: bool) -> Self {
        match (spec.correlation, spec.correlation.id_bits()) {
            (Correlation::Id { bits }, _) => Self::ById(Pending::new(bits)),
            (Correlation::InOrder { .. }, Some(bits)) if by_id => Self::ById(Pending::new(bits)),
            _ => Self::InOrder(Fifo::new()),
        }
    }

    /// Returns the number of outstanding responses.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::ById(pending) => pending.len(),
            Self::InOrder(fifo) => fifo.len(),
        }
    }

    /// Returns `true` if some of the calls have a deadline.
    pub(crate) fn has_deadline(&self) -> bool {
        let next = match self {
            Self::ById(pending) => pending.next_deadline(),
            Self::InOrder(fifo) => fifo.next_deadline(),
        };
        self.len() > 0 && next < u64::MAX
    }

    /// Returns the age of the oldest call of an in-order connection, in microseconds. `u64::MAX` if
    /// that call timed out.
    pub(crate) fn oldest_us(&mut self, now_us: u64) -> u64 {
        match self {
            Self::ById(_) => 0,
            Self::InOrder(fifo) => match fifo.front_mut() {
                Some(Turn::Caller(call)) => now_us.saturating_sub(call.sent_us),
                Some(Turn::Abandoned) => u64::MAX,
                None => 0,
            },
        }
    }

    /// Returns `true` if responses arrive in order and every outstanding call has timed out.
    pub(crate) fn are_useless(&self) -> bool {
        matches!(self, Self::InOrder(fifo) if fifo.callers() == 0)
    }

    /// Removes the calls that timed out. Their late responses are dropped.
    pub(crate) fn expired(&mut self, now_ms: u64) -> Vec<Box<Call>> {
        match self {
            Self::ById(pending) => {
                let mut expired = Vec::new();
                pending.expired(now_ms, &mut expired);
                expired.into_iter().map(|(_, call)| call).collect()
            }
            Self::InOrder(fifo) => {
                let mut expired = Vec::new();
                fifo.expired(now_ms, &mut expired);
                expired.into_iter().map(|(_, call)| call).collect()
            }
        }
    }

    /// Returns `true` if there are calls and all of them belong to this client.
    pub(crate) fn are_all_of(&self, down: &Rc<Downstream>) -> bool {
        self.len() > 0
            && match self {
                Self::ById(pending) => pending.iter().all(|call| call.is_of(down)),
                // A response to a timed-out call has no client.
                Self::InOrder(fifo) => {
                    fifo.callers() == fifo.len() && fifo.iter().all(|call| call.is_of(down))
                }
            }
    }

    /// Returns `true` if the next response belongs to this client. With ids the order is unknown,
    /// so all calls must belong to it.
    pub(crate) fn go_on_for(&mut self, down: &Rc<Downstream>) -> bool {
        match self {
            Self::ById(_) => self.are_all_of(down),
            Self::InOrder(fifo) => {
                matches!(fifo.front_mut(), Some(Turn::Caller(call)) if call.is_of(down))
            }
        }
    }

    /// Removes all calls because the connection is closed.
    pub(crate) fn drain(&mut self) -> Vec<Box<Call>> {
        match self {
            Self::ById(pending) => pending.drain().collect(),
            Self::InOrder(fifo) => fifo.drain().collect(),
        }
    }
}

/// A request that was not sent, and the reason.
pub(crate) struct Unsent {
    pub(crate) fault: Fault,
    text: String,
    call: Option<Box<Call>>,
}

impl Unsent {
    pub(crate) fn new(fault: Fault, text: impl Into<String>, call: Option<Box<Call>>) -> Box<Self> {
        Box::new(Self {
            fault,
            text: text.into(),
            call,
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Replies to the client that waits, if any.
    pub(crate) fn answer(self, worker: &WorkerContext) {
        if let Some(call) = self.call {
            call.refuse(worker, self.fault, &self.text);
        }
    }
}
