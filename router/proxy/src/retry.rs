//! Requests that failed and are tried again: which ones, from what, and when.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_frame::{
    Bind, Decoded, Fault, Head, Kind, Limits, Message, OwnedMessage, Session, Side,
};

use crate::call::{Call, Who};
use crate::counters::Counters;
use crate::downstream::Downstream;
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

/// Tries a request again that failed on its way. `unsent`: no byte of it was sent, and this is it.
///
/// # Errors
/// It is not tried again: the call back.
pub(crate) fn after_fault(
    worker: &Rc<Worker>,
    mut call: Call,
    fault: Fault,
    unsent: Option<OwnedMessage>,
) -> Result<(), Call> {
    let sent = unsent.is_none();
    let again = {
        let Some(caller) = call.caller_mut() else {
            return Err(call);
        };
        if let Some(message) = unsent
            && caller.kept.is_none()
        {
            caller.kept = Some(Box::new(Kept::unsent(message)));
        }
        match (&caller.kept, caller.route()) {
            (Some(kept), Some(route)) => {
                let rule = &route.rules.retry;
                (kept.copy || !sent) && rule.again(kept.retries, fault, sent, kept.copy)
            }
            _ => false,
        }
    };
    if again {
        try_again(worker, call, fault)
    } else {
        Err(call)
    }
}

/// Tries a request again whose response says that it failed, if the route wants that: the client that
/// has to wait for it.
///
/// # Errors
/// It is not tried again: the call back.
pub(crate) fn after_response(
    worker: &Rc<Worker>,
    call: Call,
    message: &Message<'_>,
) -> Result<Rc<Downstream>, Box<Call>> {
    let Some(caller) = call.caller() else {
        return Err(Box::new(call));
    };
    let failed = match (&caller.kept, caller.route()) {
        (Some(kept), Some(route)) if kept.copy => {
            let rule = &route.rules.retry;
            rule.fails(message.head.status, message)
                .filter(|_| rule.again_after_response(kept.retries, true))
        }
        _ => None,
    };
    let down = Rc::clone(&caller.down);
    match failed {
        Some(fault) => {
            try_again(worker, call, fault).map_or_else(|call| Err(Box::new(call)), |()| Ok(down))
        }
        None => Err(Box::new(call)),
    }
}

fn try_again(worker: &Rc<Worker>, mut call: Call, fault: Fault) -> Result<(), Call> {
    let endpoint = call.in_flight.as_ref().map(|in_flight| in_flight.address());
    let counters = call
        .in_flight
        .as_ref()
        .map(|in_flight| Arc::clone(in_flight.counters()));
    let random = worker.random();
    let index = call.cluster;
    let (Some(caller), Some(counters)) = (call.caller_mut(), counters) else {
        return Err(call);
    };
    let served = Rc::clone(&caller.served);
    let (Some(state), Some(route)) = (
        served.clusters.get(index),
        served.table.routes().get(caller.route),
    ) else {
        return Err(call);
    };
    let Some(kept) = &mut caller.kept else {
        return Err(call);
    };
    if kept.turn.is_none() {
        let allowed = {
            let config = state.config.borrow();
            counters.may_retry(&config)
        };
        if !allowed {
            state.group.add(cluster::RETRY_OVERFLOW, 1);
            return Err(call);
        }
        counters.retries.add();
        kept.turn = Some(Turn(counters));
    }
    let pause = route.rules.retry.pause(kept.retries, random);
    let due_ms = worker.after(pause);
    if due_ms >= call.deadline_ms {
        return Err(call);
    }
    let Some(caller) = call.caller_mut() else {
        return Err(call);
    };
    let Some(kept) = &mut caller.kept else {
        return Err(call);
    };
    kept.retries += 1;
    if route.rules.retry.elsewhere() {
        kept.tried.extend(endpoint);
    }
    caller.track.note(|entry| entry.retries.push(fault.name()));
    state.group.add(cluster::RETRIES, 1);
    let message = kept.message.clone();
    call.in_flight = None;
    parked::park(worker, message, call, Wait::Until(due_ms));
    Ok(())
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
    if upstream.goes_by_id() {
        // The codec knows where things lie in what it wrote.
        let mut codec =
            upstream
                .protocol
                .codec(Side::Server, &Limits::default(), &Session::default());
        let interest = caller.served.interest;
        return match codec.decode(bytes, interest) {
            Ok(Decoded::Message(message, length)) if length == bytes.len() => {
                (message.head.bind == Bind::Free).then(|| message.to_owned_message())
            }
            _ => None,
        };
    }
    // In order, bytes are all there is: nothing in them has to be found again.
    let head = Head::new(Kind::Request, call.id);
    Some(Message::new(head, bytes).to_owned_message())
}
