//! Requests that wait before they are sent, and what they take of their client's connection meanwhile. What
//! becomes of them is decided in `dispatch`.

use std::rc::Rc;

use meltemi_frame::{Bind, Fault, Kind, OwnedMessage, Reason};
use tokio::sync::oneshot;

use crate::call::Call;
use crate::downstream::Downstream;
use crate::ratelimit::Answer;

/// What a request waits for.
pub(crate) enum Wait {
    /// A moment, in milliseconds of the worker's clock.
    Until(u64),
    /// The answers of rate-limit services.
    RateLimit(Vec<PendingLimit>, Option<u64>),
    /// Those before it.
    Turn,
    /// A moment; then it is answered with this, and not sent.
    Abort(u64, Reason, String),
}

/// The word of a service.
pub(crate) struct PendingLimit {
    pub(crate) limit: std::sync::Arc<str>,
    pub(crate) answer: oneshot::Receiver<Answer>,
    /// Without an answer the request is refused.
    pub(crate) deny_on_failure: bool,
}

/// A request that waits.
pub(crate) struct Delayed {
    pub(crate) message: OwnedMessage,
    pub(crate) call: Box<Call>,
    pub(crate) wait: Wait,
    pub(crate) hold: Option<Reservation>,
}

/// What a request that waits takes of its client's connection, as long as it waits: a client must not
/// fill memory with what is not sent.
pub(crate) struct Reservation {
    pub(crate) down: Rc<Downstream>,
    held: Reserved,
}

/// What a request takes that waits.
#[derive(Clone, Copy)]
pub(crate) struct Reserved {
    pub(crate) bytes: usize,
    /// Nothing else counts it among those in flight.
    pub(crate) one_way: bool,
    /// It makes sense only while the client is there.
    pub(crate) blocking: bool,
    /// It waits for a connection of its cluster.
    pub(crate) in_queue: bool,
}

impl Reservation {
    pub(crate) fn of(message: &OwnedMessage, call: &Box<Call>, in_queue: bool) -> Option<Self> {
        let down = Rc::clone(call.down()?);
        let head = message.head();
        let held = Reserved {
            bytes: message.len(),
            one_way: head.kind == Kind::OneWay,
            blocking: head.bind == Bind::Dedicated,
            in_queue,
        };
        down.hold(held);
        Some(Self { down, held })
    }
}

impl Delayed {
    /// The request's place among those of its client that are answered.
    pub(crate) fn seq(&self) -> Option<u64> {
        self.call.caller().map(|caller| caller.seq)
    }

    /// Whether it was sent after the request `seq`.
    pub(crate) fn is_behind(&self, seq: Option<u64>) -> bool {
        matches!((self.seq(), seq), (Some(own), Some(seq)) if own > seq)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.down.release_reservation(self.held);
    }
}

impl PendingLimit {
    /// What the service says; an error is the limit's name and a text for the client.
    pub(crate) async fn resolve(self) -> Result<(), (Fault, (String, String))> {
        let Self {
            limit,
            answer,
            deny_on_failure,
        } = self;
        let answer = answer
            .await
            .unwrap_or_else(|_| Answer::Failed("it is gone".to_owned()));
        let refused = |text: String| Err((Fault::RateLimited, (limit.to_string(), text)));
        match answer {
            Answer::Pass => Ok(()),
            Answer::Over => refused(format!("over the limit {limit}")),
            Answer::Failed(why) if deny_on_failure => refused(format!(
                "the rate limit service of {limit} does not answer: {why}"
            )),
            Answer::Failed(_) => Ok(()),
        }
    }
}
