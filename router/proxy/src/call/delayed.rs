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
    Words(Vec<Word>, Option<u64>),
    /// Those before it.
    Turn,
    /// A moment; then it is answered with this, and not sent.
    Abort(u64, Reason, String),
}

/// The word of a service.
pub(crate) struct Word {
    pub(crate) limit: std::sync::Arc<str>,
    pub(crate) answer: oneshot::Receiver<Answer>,
    /// Without an answer the request is refused.
    pub(crate) deny_on_failure: bool,
}

/// A request that waits.
pub(crate) struct Parked {
    pub(crate) message: OwnedMessage,
    pub(crate) call: Call,
    pub(crate) wait: Wait,
    pub(crate) hold: Option<Hold>,
}

/// What a request that waits takes of its client's connection, as long as it waits: a client must not
/// fill memory with what is not sent.
pub(crate) struct Hold {
    pub(crate) down: Rc<Downstream>,
    held: Held,
}

/// What a request takes that waits.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) bytes: usize,
    /// Nothing else counts it among those in flight.
    pub(crate) one_way: bool,
    /// It makes sense only while the client is there.
    pub(crate) blocking: bool,
    /// It waits for a connection of its cluster.
    pub(crate) in_queue: bool,
}

impl Hold {
    pub(crate) fn of(message: &OwnedMessage, call: &Call, in_queue: bool) -> Option<Self> {
        let down = Rc::clone(call.down()?);
        let head = message.head();
        let held = Held {
            bytes: message.len(),
            one_way: head.kind == Kind::OneWay,
            blocking: head.bind == Bind::Once,
            in_queue,
        };
        down.hold(held);
        Some(Self { down, held })
    }
}

impl Parked {
    /// The request's place among those of its client that are answered.
    pub(crate) fn seq(&self) -> Option<u64> {
        self.call.caller().map(|caller| caller.seq)
    }

    /// Whether it was sent after the request `seq`.
    pub(crate) fn is_behind(&self, seq: Option<u64>) -> bool {
        matches!((self.seq(), seq), (Some(own), Some(seq)) if own > seq)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.down.let_go(self.held);
    }
}

impl Word {
    /// What the service says; an error is the limit's name and a text for the client.
    pub(crate) async fn heard(self) -> Result<(), (Fault, (String, String))> {
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
