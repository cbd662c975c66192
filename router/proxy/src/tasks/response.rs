//! Handles messages from an upstream: finds the caller of each response, and checks whether the
//! connection can still be trusted.

use std::rc::Rc;

use meltemi_frame::{Bind, Fault, Kind, Message, ReplyContext, Status};
use meltemi_router_core::{Outcome, Turn};

use crate::call::{Call, Who};
use crate::context::WorkerContext;
use crate::dispatch::retry;
use crate::downstream::{Downstream, Pressure};
use crate::tasks::callbacks;
use crate::telemetry::stats::cluster;
use crate::upstream::in_flight::Calls;
use crate::upstream::{State, Upstream};

/// A client that reads too slowly and makes its upstream connection wait.
pub(crate) struct Paused {
    pub(crate) down: Rc<Downstream>,
    /// The reply that the client must read. `None` for a message that is not a reply.
    pub(crate) seq: Option<u64>,
    /// Other clients share the connection: the wait must be short.
    pub(crate) shared: bool,
}

/// Handles a message that cannot be decoded. `answer` is set if the message was a response.
pub(crate) fn malformed(
    worker: &Rc<WorkerContext>,
    upstream: &Rc<Upstream>,
    answer: Option<&ReplyContext>,
    what: &str,
) {
    upstream.cluster.group.add(cluster::STRAY, 1);
    let call = {
        let mut state = upstream.state.borrow_mut();
        let State {
            calls, streaming, ..
        } = &mut *state;
        *streaming = None;
        match (calls, answer) {
            (Calls::ById(pending), Some(answer)) => answer.id.and_then(|id| {
                let call = pending.remove(id);
                pending.settle(id);
                call
            }),
            (Calls::ById(_), None) => None,
            (Calls::InOrder(fifo), Some(answer)) => match fifo.pop() {
                Some(Turn::Caller(call)) if call.id == answer.id => Some(call),
                Some(Turn::Caller(call)) => {
                    drop(state);
                    out_of_step(upstream);
                    return fail(worker, upstream, call, what);
                }
                Some(Turn::Abandoned) => None,
                None => {
                    drop(state);
                    return out_of_step(upstream);
                }
            },
            // The message may or may not have been a reply, so the order of later replies is
            // unknown.
            (Calls::InOrder(_), None) => {
                drop(state);
                return out_of_step(upstream);
            }
        }
    };
    if let Some(call) = call {
        fail(worker, upstream, call, what);
    }
    upstream.done(worker);
}

/// Closes an in-order connection: no later reply can be matched safely.
fn out_of_step(upstream: &Upstream) {
    upstream.close(Fault::BadResponse);
}

/// Ends a call whose response is not usable.
fn fail(worker: &Rc<WorkerContext>, upstream: &Rc<Upstream>, call: Box<Call>, what: &str) {
    let down = call.down().map(Rc::clone);
    retry::fail(worker, call, Fault::BadResponse, what);
    if let Some(down) = down {
        down.after_reply(upstream);
    }
}

/// Handles one message from the upstream. Returns the client that cannot take more bytes, if any.
pub(crate) fn receive(
    worker: &Rc<WorkerContext>,
    upstream: &Rc<Upstream>,
    message: &mut Message<'_>,
) -> Option<Paused> {
    match message.head.kind {
        Kind::Response | Kind::Data => response(worker, upstream, message),
        Kind::Push => match upstream.pinned_to() {
            Some(down) => {
                let pressure = down.push(message);
                slow(upstream, down, None, pressure, false)
            }
            None => {
                upstream.cluster.group.add(cluster::STRAY, 1);
                None
            }
        },
        Kind::Ping => {
            let receipt = upstream.state.borrow().codec.receipt(message);
            upstream.pong(&receipt);
            None
        }
        Kind::Pong => {
            heartbeat_answered(worker, upstream, message.head.id);
            None
        }
        Kind::GoAway => {
            upstream.drain();
            upstream.endpoint.forget(upstream);
            None
        }
        // A request from a server (a callback).
        Kind::Request | Kind::OneWay => callbacks::called(upstream, message),
        Kind::Local => {
            upstream.cluster.group.add(cluster::STRAY, 1);
            None
        }
    }
}

/// Handles the response to the connection's own heartbeat.
fn heartbeat_answered(worker: &Rc<WorkerContext>, upstream: &Rc<Upstream>, id: Option<i64>) {
    {
        let mut state = upstream.state.borrow_mut();
        match (&mut state.calls, id) {
            // A heartbeat response with the id of a client's request answers nothing.
            (Calls::ById(pending), Some(id)) => {
                if pending.peek(id).is_some_and(|call| call.is_keepalive()) {
                    pending.remove(id);
                }
            }
            (Calls::InOrder(fifo), _) => {
                // The heartbeat may have timed out before its response arrived.
                let its = match fifo.front_mut() {
                    Some(Turn::Caller(call)) => call.is_keepalive(),
                    Some(Turn::Abandoned) => true,
                    None => false,
                };
                if its {
                    fifo.pop();
                }
            }
            (Calls::ById(_), None) => {}
        }
    }
    upstream.done(worker);
}

/// The call that a response belongs to.
enum Found {
    /// The whole response or its last piece: the call has ended.
    Last(Box<Call>),
    /// A piece. More pieces will come.
    Piece(Rc<Downstream>, u64, Option<i64>),
    /// The caller no longer waits.
    Nobody,
    /// The response belongs to no request.
    Stray,
    /// The id of an in-order response belongs to another request.
    Mismatch,
}

fn find(
    worker: &WorkerContext,
    state: &mut State,
    cluster: &str,
    message: &mut Message<'_>,
) -> Found {
    let end = message.head.end;
    let State {
        calls, streaming, ..
    } = state;
    let first = message.head.kind == Kind::Response;
    let id = if first { message.head.id } else { *streaming };
    *streaming = if end { None } else { Some(id.unwrap_or(0)) };
    match calls {
        Calls::ById(pending) => {
            let Some(id) = id else { return Found::Stray };
            if !end {
                return pending.get_mut(id).map_or(Found::Nobody, |call| {
                    piece_of(worker, call, cluster, message)
                });
            }
            match pending.remove(id) {
                Some(call) => Found::Last(call),
                None if pending.settle(id) => Found::Nobody,
                None => Found::Stray,
            }
        }
        Calls::InOrder(fifo) => match fifo.front_mut() {
            Some(Turn::Caller(call)) if first && !call.is_keepalive() && call.id != id => {
                Found::Mismatch
            }
            Some(Turn::Caller(call)) if !end => piece_of(worker, call, cluster, message),
            Some(Turn::Abandoned) if !end => Found::Nobody,
            _ => match fifo.pop() {
                Some(Turn::Caller(call)) => Found::Last(call),
                Some(Turn::Abandoned) => Found::Nobody,
                None => Found::Stray,
            },
        },
    }
}

fn piece_of(
    worker: &WorkerContext,
    call: &mut Box<Call>,
    cluster: &str,
    message: &mut Message<'_>,
) -> Found {
    let id = call.id;
    // Once a reply has begun, the request cannot be taken back.
    call.place.length = 0;
    call.caller_mut().map_or(Found::Nobody, |caller| {
        caller.track.add_bytes(message.wire().len());
        caller.begin(worker, cluster, message);
        Found::Piece(Rc::clone(&caller.down), caller.seq, id)
    })
}

fn response(
    worker: &Rc<WorkerContext>,
    upstream: &Rc<Upstream>,
    message: &mut Message<'_>,
) -> Option<Paused> {
    let found = {
        let cluster = upstream.cluster.config.borrow();
        find(
            worker,
            &mut upstream.state.borrow_mut(),
            &cluster.name,
            message,
        )
    };
    if matches!(found, Found::Last(_) | Found::Nobody) {
        upstream.set_slow(false);
    }
    match found {
        Found::Last(call) => finish(worker, upstream, call, message),
        Found::Piece(down, seq, id) => {
            restore_id(upstream, message, id);
            let pressure = down.piece(seq, message);
            slow(upstream, down, Some(seq), pressure, true)
        }
        Found::Nobody => {
            upstream.cluster.group.add(cluster::STRAY, 1);
            upstream.done(worker);
            None
        }
        Found::Stray => {
            upstream.cluster.group.add(cluster::STRAY, 1);
            // On a pinned connection the client sees exactly what the server sends.
            if let Some(down) = upstream.pinned_to() {
                let pressure = down.push(message);
                return slow(upstream, down, None, pressure, false);
            }
            if matches!(upstream.state.borrow().calls, Calls::InOrder(_)) {
                out_of_step(upstream);
            }
            None
        }
        Found::Mismatch => {
            upstream.cluster.group.add(cluster::STRAY, 1);
            out_of_step(upstream);
            None
        }
    }
}

fn finish(
    worker: &Rc<WorkerContext>,
    upstream: &Rc<Upstream>,
    mut call: Box<Call>,
    message: &mut Message<'_>,
) -> Option<Paused> {
    let whole = message.head.kind == Kind::Response;
    let status = match (&call.who, whole) {
        (Who::Caller(caller), false) => caller.status,
        _ => message.head.status,
    };
    call.outcome(worker, Outcome::of_answer(status));
    let failed = matches!(status, Status::Failed(_));
    let answers = if failed { cluster::FAILED } else { cluster::OK };
    upstream.cluster.group.add(answers, 1);
    if failed && whole {
        let down = call.down().map(Rc::clone);
        match retry::after_response(worker, call, message) {
            Some(back) => call = back,
            None => {
                if let Some(down) = down {
                    down.after_reply(upstream);
                }
                upstream.done(worker);
                return None;
            }
        }
    }
    let id = call.id;
    let mut paused = None;
    match &mut call.who {
        Who::Caller(caller) => {
            let cluster = &upstream.cluster.config;
            caller.begin(worker, &cluster.borrow().name, message);
            restore_id(upstream, message, id);
            let down = Rc::clone(&caller.down);
            // A fresh connection does not have the client's previous session.
            let fresh =
                caller.bind == Bind::Login && !upstream.is_pinned() && !down.session().is_plain();
            let pressure = down.last_piece(caller, message);
            if fresh && status == Status::Ok {
                upstream.drain();
            } else if caller.bind.changes_session() && !fresh {
                // After a successful reply the connection belongs to another session.
                let login = upstream.cluster.config.borrow().login.clone();
                upstream.adopt(down.session().after(&login));
            }
            down.after_reply(upstream);
            upstream.done(worker);
            // A connection that has no more work for this client serves others at once.
            if pressure == Pressure::Slow && (upstream.is_pinned() || upstream.goes_on_for(&down)) {
                paused = slow(upstream, down, None, pressure, true);
            }
        }
        Who::Mirror(comparison) => {
            if let Some(comparison) = comparison {
                comparison.answered(message);
            }
            upstream.done(worker);
        }
        Who::Part(part) => {
            let excused = failed && upstream.state.borrow().codec.excuses(message);
            upstream.done(worker);
            part.answered(worker, message, excused);
        }
        Who::OneWay(_) | Who::Proxy => upstream.done(worker),
    }
    call.recycle();
    paused
}

/// Restores the caller's id if the connection used another one.
fn restore_id(upstream: &Upstream, message: &mut Message<'_>, id: Option<i64>) {
    if let (Calls::ById(_), Some(id)) = (&upstream.state.borrow().calls, id) {
        message.set_id(id);
    }
}

/// Decides whether the connection must wait for its client. A shared connection waits only if there
/// is `more` of the response, and only for a short time.
pub(super) fn slow(
    upstream: &Upstream,
    down: Rc<Downstream>,
    seq: Option<u64>,
    pressure: Pressure,
    more: bool,
) -> Option<Paused> {
    let shared = !(upstream.is_pinned() || upstream.is_exclusive());
    let waits = pressure == Pressure::Slow && (more || !shared);
    if waits && shared {
        // Takes effect at once: new requests of other clients must not queue here.
        upstream.set_slow(true);
    }
    waits.then_some(Paused { down, seq, shared })
}
