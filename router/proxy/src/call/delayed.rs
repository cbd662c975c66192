//! Requests that are delayed before they are sent, and the resources that they reserve on the
//! client's connection. `dispatch` decides what happens after the delay.

use std::rc::Rc;

use meltemi_frame::{Bind, Kind, OwnedMessage, Reason};
use tokio::sync::oneshot;

use crate::call::Call;
use crate::downstream::Downstream;
use crate::ratelimit::Answer;

/// The reason for a delay.
pub(crate) enum Wait {
    /// Waits until this time, in milliseconds of the worker's clock.
    Until(u64),
    /// Waits for the answers of rate limit services. Then waits until the given time, if any.
    RateLimit(Vec<PendingLimit>, Option<u64>),
    /// Waits for earlier requests of the same client.
    Turn,
    /// Waits until this time. Then replies with this reason and text, and does not send the
    /// request.
    Abort(u64, Reason, String),
}

/// A pending answer of a rate limit service.
pub(crate) struct PendingLimit {
    pub(crate) limit: std::sync::Arc<str>,
    pub(crate) answer: oneshot::Receiver<Answer>,
    /// Denies the request if the service fails.
    pub(crate) deny_on_failure: bool,
}

/// A delayed request.
pub(crate) struct Delayed {
    pub(crate) message: OwnedMessage,
    pub(crate) call: Box<Call>,
    pub(crate) wait: Wait,
    pub(crate) hold: Option<Reservation>,
}

/// Resources of the client's connection that a delayed request reserves until it is sent. The
/// limits on them keep a client from filling the memory with delayed requests.
pub(crate) struct Reservation {
    pub(crate) down: Rc<Downstream>,
    held: Reserved,
}

/// The resources that a delayed request reserves.
#[derive(Clone, Copy)]
pub(crate) struct Reserved {
    pub(crate) bytes: usize,
    /// A one-way request: `Reservation` must count it as in flight, because nothing else does.
    pub(crate) one_way: bool,
    /// The request is useful only while the client is connected.
    pub(crate) blocking: bool,
    /// The request waits for a connection of its cluster.
    pub(crate) in_queue: bool,
}

impl Reservation {
    pub(crate) fn of(message: &OwnedMessage, call: &Call, in_queue: bool) -> Option<Self> {
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
    /// Returns the sequence number of the request. `None` if the client expects no response.
    pub(crate) fn seq(&self) -> Option<u64> {
        self.call.caller().map(|caller| caller.seq)
    }

    /// Returns `true` if the client sent this request after the request `seq`.
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
    /// Waits for the answer of the service. Fails if the request must be denied, with the limit's
    /// name and a text for the client.
    pub(crate) async fn resolve(self) -> Result<(), (String, String)> {
        let Self {
            limit,
            answer,
            deny_on_failure,
        } = self;
        let answer = answer
            .await
            .unwrap_or_else(|_| Answer::Failed("the service was removed".to_owned()));
        let refused = |text: String| Err((limit.to_string(), text));
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
