//! Requests that failed and are tried again: which ones, from what, and when.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_frame::{Bind, Decoded, Fault, Head, Kind, Message, OwnedMessage, Session, Side};

use crate::call::{Call, Who};
use crate::counters::Counters;
use crate::endpoint::InFlight;
use crate::parked::{self, Wait};
use crate::stats::cluster;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// What is needed to send a request again.
pub(crate) struct Kept {
    pub(crate) message: OwnedMessage,
    /// Endpoints that failed.
    pub(crate) tried: Vec<SocketAddr>,
    /// Retries made.
    pub(crate) retries: u32,
    /// It may be sent again even if it has been sent.
    copy: bool,
    /// Counts it among the retries of its cluster.
    turn: Option<Turn>,
}

/// Counts a request among those under retry as long as it lives.
struct Turn(Arc<Counters>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.retries.subtract();
    }
}

impl Kept {
    /// A copy of a request that may be sent again.
    pub(crate) fn of(message: &Message<'_>) -> Self {
        Self {
            copy: true,
            ..Self::unsent(message.to_owned_message())
        }
    }

    const fn unsent(message: OwnedMessage) -> Self {
        Self {
            message,
            tried: Vec::new(),
            retries: 0,
            copy: false,
            turn: None,
        }
    }
}

/// Tries a request again that failed on its way. `unsent`: no byte of it was sent, and this is it. Gives
/// the call back if it is not tried again.
pub(crate) fn after_fault(
    worker: &Rc<Worker>,
    mut call: Call,
    fault: Fault,
    unsent: Option<OwnedMessage>,
) -> Option<Call> {
    let Who::Caller(caller) = &mut call.who else {
        return Some(call);
    };
    if caller.down.is_closed() {
        return Some(call);
    }
    let sent = unsent.is_none();
    if let Some(message) = unsent
        && caller.kept.is_none()
    {
        caller.kept = Some(Box::new(Kept::unsent(message)));
    }
    let again = match (&caller.kept, caller.route()) {
        (Some(kept), Some(route)) => {
            let rule = &route.rules.retry;
            rule.again(kept.retries, fault, sent, kept.copy)
        }
        _ => false,
    };
    if again {
        try_again(worker, call, fault)
    } else {
        Some(call)
    }
}

/// Tries a request again whose response says that it failed, if the route wants that. Gives the call
/// back if it is not tried again.
pub(crate) fn after_response(
    worker: &Rc<Worker>,
    call: Call,
    message: &Message<'_>,
) -> Option<Call> {
    let failed = call.caller().and_then(|caller| {
        let kept = caller.kept.as_ref().filter(|kept| kept.copy)?;
        let rule = &caller.route()?.rules.retry;
        rule.fails(message.head.status, message)
            .filter(|_| rule.again_after_response(kept.retries, true))
    });
    match failed {
        Some(fault) => try_again(worker, call, fault),
        None => Some(call),
    }
}

fn try_again(worker: &Rc<Worker>, mut call: Call, fault: Fault) -> Option<Call> {
    let failed_at = call.in_flight.as_ref().map(InFlight::address);
    let Who::Caller(caller) = &mut call.who else {
        return Some(call);
    };
    let served = Rc::clone(&caller.served);
    let (Some(state), Some(route), Some(kept)) = (
        served.clusters.get(call.cluster),
        served.table.routes().get(caller.route),
        &mut caller.kept,
    ) else {
        return Some(call);
    };
    let rule = &route.rules.retry;
    let due_ms = worker.after(rule.pause(kept.retries, worker.random()));
    if due_ms >= call.deadline_ms {
        return Some(call);
    }
    if kept.turn.is_none() {
        let counters = &state.counters;
        if !counters.may_retry(&state.config.borrow()) {
            state.group.add(cluster::RETRY_OVERFLOW, 1);
            return Some(call);
        }
        counters.retries.add();
        kept.turn = Some(Turn(Arc::clone(counters)));
    }
    kept.retries += 1;
    if rule.elsewhere() {
        kept.tried.extend(failed_at);
    }
    let message = kept.message.clone();
    caller.track.note(|entry| entry.retries.push(fault.name()));
    state.group.add(cluster::RETRIES, 1);
    call.in_flight = None;
    parked::park(worker, message, call, Wait::Until(due_ms));
    None
}

/// A request whose bytes still wait in the output of a connection that is gone, as it can be sent again.
/// `None`: it cannot.
pub(crate) fn unsent(upstream: &Upstream, call: &Call, bytes: &[u8]) -> Option<OwnedMessage> {
    let Who::Caller(caller) = &call.who else {
        return None;
    };
    if let Some(kept) = &caller.kept {
        return Some(kept.message.clone());
    }
    caller
        .route()
        .filter(|route| route.rules.retry.attempts() > 0)?;
    let protocol = &upstream.protocol;
    if protocol.spec().correlation.id_bits().is_some() {
        // It may go out with another id: the codec knows where things lie in what it wrote.
        let limits = caller.down.worker.codec_limits();
        let mut codec = protocol.codec(Side::Server, &limits, &Session::default());
        let interest = caller.served.interest;
        return match codec.decode(bytes, interest) {
            Ok(Decoded::Message(message, length)) if length == bytes.len() => {
                (message.head.bind == Bind::Free).then(|| message.to_owned_message())
            }
            _ => None,
        };
    }
    // Without ids, bytes are all there is: nothing in them has to be found again.
    let head = Head::new(Kind::Request, call.id);
    Some(Message::new(head, bytes).to_owned_message())
}
