//! Retries. A request that failed before it was sent moves to another endpoint, within its own
//! timeout. A request that was sent is retried within the attempts of its route and the retry
//! budget of its cluster.

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

/// The shortest pause before a request goes to an endpoint that already failed it. Without it,
/// connections that are refused at once would keep a worker busy.
const LEAST_PAUSE: Duration = Duration::from_millis(5);

/// How long an unsent request is tried again when every endpoint has failed it. The time is long
/// enough for a server to restart, and shorter than the timeouts of common clients.
const ALL_FAILED: Duration = Duration::from_secs(1);

/// Handles a failed request: retries it, or answers it with the fault.
pub(crate) fn fail(worker: &Rc<WorkerContext>, mut call: Box<Call>, fault: Fault, text: &str) {
    call.outcome(worker, Outcome::of_fault(fault));
    if let Some(call) = after_fault(worker, call, fault, None) {
        call.refuse(worker, fault, text);
    }
}

/// Retries a failed request if its route allows it. `unsent` is the request if no byte of it was
/// sent. Returns the call if the request is not retried.
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

/// Sends an unsent request to another endpoint. The request moves at once while there is an
/// endpoint that has not failed it, until its own timeout. When all endpoints have failed it, the
/// request is tried again after pauses, but at most [`ALL_FAILED`] after its first failure: a
/// client must learn soon that a cluster is down. Returns the call if the time is out.
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

/// Retries a request after an error response, if its route allows it. Returns the call if the
/// request is not retried.
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

/// Queues the kept copy of the request for `due_ms` of the worker's clock. Returns the call if
/// there is no copy.
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

/// Rebuilds a request whose bytes are still in the output of a closed connection. `None` if it
/// cannot be sent again.
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
        // The request may get another id. The codec finds the place of the id in the bytes.
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
    // Without ids, nothing in the bytes has to change.
    let mut head = Head::new(Kind::Request, call.id);
    head.bind = caller.bind;
    if caller.mark.is_some() {
        head.reach = Reach::Begins;
    }
    Some(Message::new(head, bytes).to_owned_message())
}
