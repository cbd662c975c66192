//! Requests that failed and are sent once more. A request of which nothing was sent goes elsewhere, within
//! its time. A request that was sent is retried, within the attempts of its route and the budget of its cluster.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::{Decoded, Fault, Head, Kind, Message, OwnedMessage, Reach, Session, Side};
use meltemi_router_core::Outcome;

use crate::call::delayed::Wait;
use crate::call::retry_state::{RetryState, Turn};
use crate::call::{Call, Who};
use crate::cluster::endpoint::InFlight;
use crate::context::WorkerContext;
use crate::dispatch::delayed;
use crate::telemetry::stats::cluster;
use crate::upstream::Upstream;

/// The least pause before a request goes where it has failed already: connections that are refused at once
/// must not keep a worker busy.
const LEAST_PAUSE: Duration = Duration::from_millis(5);

/// How long a request of which nothing was sent is tried again where every endpoint has failed it: long enough
/// for a server that restarts, and shorter than the timeouts of common clients.
const ALL_FAILED: Duration = Duration::from_secs(1);

/// Ends a request that failed on its way to the endpoint, or there: it is sent again, or answered with the fault.
pub(crate) fn fail(worker: &Rc<WorkerContext>, mut call: Box<Call>, fault: Fault, text: &str) {
    call.outcome(worker, Outcome::of_fault(fault));
    if let Some(call) = after_fault(worker, call, fault, None) {
        call.refuse(worker, fault, text);
    }
}

/// Sends a request once more that failed on its way, if that may be. `unsent`: no byte of it was sent, and
/// this is it. Gives the call back otherwise.
pub(crate) fn after_fault(
    worker: &Rc<WorkerContext>,
    mut call: Box<Call>,
    fault: Fault,
    unsent: Option<OwnedMessage>,
) -> Option<Box<Call>> {
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
        caller.kept = Some(Box::new(RetryState::unsent(message)));
    }
    let (Some(kept), Some(route)) = (&caller.kept, caller.route()) else {
        return Some(call);
    };
    let rule = &route.rules.retry;
    if !sent && rule.moves(fault) {
        go_elsewhere(worker, call, fault)
    } else if sent && rule.again(kept.retries, fault, kept.copy) {
        try_again(worker, call, fault)
    } else {
        Some(call)
    }
}

/// Sends a request to another endpoint, as nothing of it was sent: at once where there is one that has not
/// failed it, as long as its own time lasts. Where all have failed it, it is tried again after pauses, but no
/// longer than [`ALL_FAILED`] after its first failure: a client must learn soon that a cluster is down. Gives
/// the call back if its time is out.
fn go_elsewhere(
    worker: &Rc<WorkerContext>,
    mut call: Box<Call>,
    fault: Fault,
) -> Option<Box<Call>> {
    let failed_at = call.in_flight.as_ref().map(InFlight::address);
    let deadline_ms = call.deadline_ms;
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
    let give_up_ms = *kept.moves.give_up_ms.get_or_insert_with(|| {
        let patience = state.config.borrow().connect_timeout.min(ALL_FAILED);
        deadline_ms.min(worker.after(patience))
    });
    let news = failed_at.filter(|address| rule.elsewhere() && !kept.tried.contains(address));
    kept.tried.extend(news);
    let (due_ms, until_ms) = if news.is_some() && state.has_untried(&kept.tried) {
        (worker.now_ms(), deadline_ms)
    } else {
        let pause = rule.pause(kept.moves.rounds, worker.random());
        kept.moves.rounds = kept.moves.rounds.saturating_add(1);
        (worker.after(pause.max(LEAST_PAUSE)), give_up_ms)
    };
    if due_ms >= until_ms {
        return Some(call);
    }
    state.group.add(cluster::MOVED, 1);
    send_later(worker, call, fault, due_ms)
}

/// Tries a request again whose response says that it failed, if the route wants that. Gives the call
/// back if it is not tried again.
pub(crate) fn after_response(
    worker: &Rc<WorkerContext>,
    call: Box<Call>,
    message: &Message<'_>,
) -> Option<Box<Call>> {
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

fn try_again(worker: &Rc<WorkerContext>, mut call: Box<Call>, fault: Fault) -> Option<Box<Call>> {
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
        if !counters.add_retry(&state.config.borrow()) {
            state.group.add(cluster::RETRY_OVERFLOW, 1);
            return Some(call);
        }
        kept.turn = Some(Turn(Arc::clone(counters)));
    }
    kept.retries += 1;
    if rule.elsewhere() {
        kept.tried.extend(failed_at);
    }
    state.group.add(cluster::RETRIES, 1);
    send_later(worker, call, fault, due_ms)
}

/// Sends the request once more that is kept, at `due_ms` of the worker's clock. Gives the call back if none is
/// kept.
fn send_later(
    worker: &Rc<WorkerContext>,
    mut call: Box<Call>,
    fault: Fault,
    due_ms: u64,
) -> Option<Box<Call>> {
    let Who::Caller(caller) = &mut call.who else {
        return Some(call);
    };
    let Some(kept) = &caller.kept else {
        return Some(call);
    };
    let message = kept.message.clone();
    caller.track.note(|entry| entry.add_retry(fault));
    call.in_flight = None;
    delayed::delay(worker, message, call, Wait::Until(due_ms));
    None
}

/// A request whose bytes still wait in the output of a connection that is gone, as it can be sent again.
/// `None`: it cannot.
pub(crate) fn unsent(upstream: &Upstream, call: &Box<Call>, bytes: &[u8]) -> Option<OwnedMessage> {
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
                (message.head.bind == caller.bind).then(|| message.to_owned_message())
            }
            _ => None,
        };
    }
    // Without ids, bytes are all there is: nothing in them has to be found again.
    let mut head = Head::new(Kind::Request, call.id);
    head.bind = caller.bind;
    if caller.mark.is_some() {
        head.reach = Reach::Begins;
    }
    Some(Message::new(head, bytes).to_owned_message())
}
