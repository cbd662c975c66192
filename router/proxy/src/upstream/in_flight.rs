//! Who waits for what on one upstream connection, whether responses name their request or come in order.

use std::rc::Rc;

use meltemi_frame::{Correlation, Fault, Spec};
use meltemi_router_core::{Fifo, Pending, Turn};

use crate::call::Call;
use crate::context::WorkerContext;
use crate::downstream::Downstream;

/// Who waits for what.
pub(crate) enum Calls {
    /// Responses name their request.
    ById(Pending<Box<Call>>),
    /// Responses come in the order of the requests.
    InOrder(Fifo<Box<Call>>),
}

impl Calls {
    /// `by_id`: requests go by their ids where the protocol has any, even if it answers in order.
    pub(crate) fn new(spec: &Spec, by_id: bool) -> Self {
        match (spec.correlation, spec.correlation.id_bits()) {
            (Correlation::Id { bits }, _) => Self::ById(Pending::new(bits)),
            (Correlation::InOrder { .. }, Some(bits)) if by_id => Self::ById(Pending::new(bits)),
            _ => Self::InOrder(Fifo::new()),
        }
    }

    /// How many answers are owed.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::ById(pending) => pending.len(),
            Self::InOrder(fifo) => fifo.len(),
        }
    }

    /// Whether some of them have a deadline.
    pub(crate) fn has_deadline(&self) -> bool {
        let next = match self {
            Self::ById(pending) => pending.next_deadline(),
            Self::InOrder(fifo) => fifo.next_deadline(),
        };
        self.len() > 0 && next < u64::MAX
    }

    /// How long the next answer in order has been owed, in microseconds.
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

    /// Whether answers are owed in order, and nobody waits for any of them any more.
    pub(crate) fn are_useless(&self) -> bool {
        matches!(self, Self::InOrder(fifo) if fifo.callers() == 0)
    }

    /// Takes out the calls whose time has run out. Their answers reach nobody.
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

    /// Whether answers are owed to this client, and to nobody else.
    pub(crate) fn are_all_of(&self, down: &Rc<Downstream>) -> bool {
        let is_of = |call: &Box<Call>| call.down().is_some_and(|other| Rc::ptr_eq(other, down));
        self.len() > 0
            && match self {
                Self::ById(pending) => pending.iter().all(is_of),
                // Behind what nobody waits for any more, nobody's reply is next.
                Self::InOrder(fifo) => fifo.callers() == fifo.len() && fifo.iter().all(is_of),
            }
    }

    /// Whether the next answer is for this client; where answers come as they like,
    /// whether all of them are.
    pub(crate) fn go_on_for(&mut self, down: &Rc<Downstream>) -> bool {
        let is_of = |call: &Box<Call>| call.down().is_some_and(|other| Rc::ptr_eq(other, down));
        match self {
            Self::ById(_) => self.are_all_of(down),
            Self::InOrder(fifo) => {
                matches!(fifo.front_mut(), Some(Turn::Caller(call)) if is_of(call))
            }
        }
    }

    /// Takes out everything, because the connection is gone.
    pub(crate) fn drain(&mut self) -> Vec<Box<Call>> {
        match self {
            Self::ById(pending) => pending.drain().collect(),
            Self::InOrder(fifo) => fifo.drain().collect(),
        }
    }
}

/// A request that was not sent, and why.
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

    /// Answers whoever waits.
    pub(crate) fn answer(self, worker: &WorkerContext) {
        if let Some(call) = self.call {
            call.refuse(worker, self.fault, &self.text);
        }
    }
}
