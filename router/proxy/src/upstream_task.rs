//! The task of one upstream connection: connects, writes what downstreams appended, and gives every
//! response to the one who waits for it.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use meltemi_frame::{DecodeError, Decoded, Fault, Kind, Message, Status};
use meltemi_router_core::Turn;
use tokio::net::TcpStream;

use crate::call::Call;
use crate::downstream::{Downstream, Pressure};
use crate::io::{Consumed, Input, KEEP, Read};
use crate::stats::cluster;
use crate::upstream::{Calls, Phase, State, Upstream};
use crate::worker::{Worker, compose};

/// Reads of one turn. A bound, so that one busy connection cannot starve its worker.
const READS: usize = 16;

/// Runs a connection from connect to close.
pub(crate) async fn run(worker: Rc<Worker>, upstream: Rc<Upstream>, connect_timeout: Duration) {
    let address = upstream.endpoint.address;
    let connected = tokio::time::timeout(connect_timeout, TcpStream::connect(address)).await;
    let stream = match connected {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("connecting to {address}: {error}")),
        Err(_) => Err(format!(
            "connecting to {address}: no answer in {connect_timeout:?}"
        )),
    };
    let (fault, text) = match stream {
        Err(text) => {
            upstream.cluster.group.add(cluster::CONNECT_FAILURES, 1);
            upstream.endpoint.avoid(&worker);
            (Fault::Connect, text)
        }
        Ok(stream) => {
            upstream.cluster.group.add(cluster::CONNECTS, 1);
            // Batches are made by turns of the event loop, not by waiting for acknowledgements.
            let _ = stream.set_nodelay(true);
            {
                let mut state = upstream.state.borrow_mut();
                if state.phase == Phase::Connecting {
                    state.phase = Phase::Open;
                }
            }
            let mut task = UpstreamTask {
                worker: Rc::clone(&worker),
                upstream: Rc::clone(&upstream),
                stream,
                input: Input::default(),
                paused_by: None,
                lost: None,
            };
            let end = poll_fn(|cx| task.poll(cx)).await;
            let closed_for = upstream.state.borrow().closed_for;
            match (closed_for, task.lost) {
                (Some(fault), _) => (fault, format!("the connection to {address} was closed")),
                (None, Some(what)) => (Fault::BadResponse, format!("{address} sent {what}")),
                (None, None) => {
                    let error = end.err().map_or_else(
                        || "closed the connection".to_owned(),
                        |error| format!("reset the connection: {error}"),
                    );
                    (Fault::Reset, format!("{address} {error}"))
                }
            }
        }
    };
    let calls = upstream.drain_calls();
    upstream
        .cluster
        .group
        .add(cluster::RESETS, calls.len() as u64);
    let pinned = upstream.pinned_to();
    upstream.cluster.connection_closed(&worker, &upstream);
    for call in calls {
        call.fail(fault, &text);
    }
    if let Some(down) = pinned {
        down.pinned_upstream_lost(&upstream);
    }
}

struct UpstreamTask {
    worker: Rc<Worker>,
    upstream: Rc<Upstream>,
    stream: TcpStream,
    input: Input,
    /// The one client of this exclusive connection that does not read fast enough.
    paused_by: Option<Rc<Downstream>>,
    /// Framing is lost: what was found.
    lost: Option<String>,
}

impl UpstreamTask {
    /// Ready when the connection has ended: closed by us or them, or broken.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.worker.tick();
        match self.flush(cx) {
            Err(error) => return Poll::Ready(Err(error)),
            Ok(true) => return Poll::Ready(Ok(())),
            Ok(false) => {}
        }
        if let Some(down) = &self.paused_by {
            if down.is_slow(cx.waker()) {
                return Poll::Pending;
            }
            self.paused_by = None;
            self.go_on();
        }
        for _ in 0..READS {
            if self.lost.is_some() || self.paused_by.is_some() {
                break;
            }
            match self.read(cx) {
                Poll::Ready(Ok(Read::Eof)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(Read::Data { .. })) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.after_turn(cx),
            }
        }
        if self.lost.is_some() {
            return Poll::Ready(Ok(()));
        }
        // Not pending on the socket: come back for the rest, or when the client has read.
        cx.waker().wake_by_ref();
        self.after_turn(cx)
    }

    /// What the turn itself produced goes out with it: pongs, requests of others that waited.
    fn after_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.flush(cx) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
        }
    }

    /// Writes what waits. Tells whether the connection is at its end.
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut state = self.upstream.state.borrow_mut();
        let State {
            out,
            waker,
            blocked,
            phase,
            calls,
            ..
        } = &mut *state;
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        if *phase == Phase::Closed {
            return Ok(true);
        }
        if !out.is_empty() {
            if let Poll::Ready(result) = crate::io::write(&mut self.stream, out, cx) {
                result?;
                out.shrink(KEEP);
            }
            for waker in blocked.drain(..) {
                waker.wake();
            }
        }
        Ok(*phase == Phase::Draining && calls.len() == 0 && out.is_empty())
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let Self {
            worker,
            upstream,
            stream,
            input,
            paused_by,
            lost,
        } = self;
        let mut discard = 0;
        let result = input.read(stream, &worker.buffer, cx, &mut |bytes| {
            upstream
                .cluster
                .group
                .add(cluster::RX_BYTES, bytes.len() as u64);
            consume(worker, upstream, bytes, paused_by, lost, &mut discard)
        });
        input.discard(discard);
        result
    }

    /// Presents what was left when the client could not take more.
    fn go_on(&mut self) {
        let Self {
            worker,
            upstream,
            input,
            paused_by,
            lost,
            ..
        } = self;
        let mut discard = 0;
        input.again(&mut |bytes| consume(worker, upstream, bytes, paused_by, lost, &mut discard));
        input.discard(discard);
    }
}

/// Decodes and delivers everything that is there.
fn consume(
    worker: &Rc<Worker>,
    upstream: &Rc<Upstream>,
    bytes: &[u8],
    paused_by: &mut Option<Rc<Downstream>>,
    lost: &mut Option<String>,
    discard: &mut usize,
) -> Consumed {
    upstream.mark_active(worker.now_us());
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let decoded = {
            let mut state = upstream.state.borrow_mut();
            let interest = state.interest;
            state.codec.decode(rest, interest)
        };
        match decoded {
            Ok(Decoded::Incomplete(need)) => return Consumed { bytes: at, need },
            Ok(Decoded::Skip(count)) => at += count.max(1),
            Ok(Decoded::Message(message, count)) => {
                at += count.max(1);
                let pressure = receive(worker, upstream, message);
                if let Some(down) = pressure {
                    *paused_by = Some(down);
                    return Consumed { bytes: at, need: 0 };
                }
            }
            Err(DecodeError::Message {
                violation, length, ..
            }) => {
                tracing::debug!(endpoint = %upstream.endpoint.address, %violation, "malformed response");
                malformed(worker, upstream, &violation.to_string());
                *discard += length.saturating_sub(rest.len());
                at += length.clamp(1, rest.len());
            }
            Err(DecodeError::Connection { violation, .. }) => {
                *lost = Some(violation.to_string());
                return Consumed {
                    bytes: bytes.len(),
                    need: 0,
                };
            }
        }
    }
    Consumed {
        bytes: at.min(bytes.len()),
        need: 0,
    }
}

/// A response that cannot be decoded still answers somebody where order tells whom.
fn malformed(worker: &Rc<Worker>, upstream: &Rc<Upstream>, what: &str) {
    let call = {
        let mut state = upstream.state.borrow_mut();
        match &mut state.calls {
            Calls::InOrder(fifo) => match fifo.pop() {
                Some(Turn::Caller(call)) => Some(call),
                Some(Turn::Abandoned) | None => None,
            },
            Calls::ById(_) => None,
        }
    };
    upstream.cluster.group.add(cluster::STRAY, 1);
    if let Some(call) = call {
        call.fail(Fault::BadResponse, what);
    }
    upstream.done(worker);
}

/// Takes one message from the upstream. Returns the client that cannot take more, if the connection
/// is that client's alone.
fn receive(
    worker: &Rc<Worker>,
    upstream: &Rc<Upstream>,
    mut message: Message<'_>,
) -> Option<Rc<Downstream>> {
    match message.head.kind {
        Kind::Response | Kind::Data => response(worker, upstream, &mut message),
        Kind::Push => match upstream.pinned_to() {
            Some(down) => {
                let pressure = down.push(&message);
                slow(upstream, down, pressure)
            }
            None => {
                upstream.cluster.group.add(cluster::STRAY, 1);
                None
            }
        },
        Kind::Ping => {
            let receipt = upstream.state.borrow().codec.receipt(&message);
            upstream.pong(&receipt);
            None
        }
        Kind::Pong => {
            let mut state = upstream.state.borrow_mut();
            if let (Calls::ById(pending), Some(id)) = (&mut state.calls, message.head.id) {
                pending.remove(id);
            }
            None
        }
        Kind::GoAway => {
            upstream.drain();
            upstream.endpoint.forget(upstream);
            None
        }
        // A request from a server: the codec tells of it as a malformed message where the
        // protocol has none; where it has, there is nobody to serve it.
        Kind::Request | Kind::OneWay | Kind::Local => {
            upstream.cluster.group.add(cluster::STRAY, 1);
            None
        }
    }
}

/// Whom a response is for.
enum Found {
    /// All of it, or its last piece: the call has ended.
    Last(Call),
    /// A piece: more will come.
    Piece(Rc<Downstream>, u64, Option<i64>),
    /// Nobody waits for it any more.
    Nobody,
    /// Nobody ever did.
    Stray,
}

fn find(state: &mut State, message: &Message<'_>) -> Found {
    let end = message.head.end;
    let State {
        calls, streaming, ..
    } = state;
    let id = if message.head.kind == Kind::Data {
        *streaming
    } else {
        message.head.id
    };
    *streaming = if end { None } else { Some(id.unwrap_or(0)) };
    match calls {
        Calls::ById(pending) => {
            let Some(id) = id else { return Found::Stray };
            if !end {
                return pending
                    .get_mut(id)
                    .map_or(Found::Nobody, |call| piece_of(call, message));
            }
            match pending.remove(id) {
                Some(call) => Found::Last(call),
                None if pending.settle(id) => Found::Nobody,
                None => Found::Stray,
            }
        }
        Calls::InOrder(fifo) if !end => match fifo.front_mut() {
            Some(Turn::Caller(call)) => piece_of(call, message),
            Some(Turn::Abandoned) => Found::Nobody,
            None => Found::Stray,
        },
        Calls::InOrder(fifo) => match fifo.pop() {
            Some(Turn::Caller(call)) => Found::Last(call),
            Some(Turn::Abandoned) => Found::Nobody,
            None => Found::Stray,
        },
    }
}

fn piece_of(call: &mut Call, message: &Message<'_>) -> Found {
    let id = call.id;
    call.caller.as_mut().map_or(Found::Nobody, |caller| {
        caller.track.add_bytes(message.wire().len());
        Found::Piece(Rc::clone(&caller.down), caller.seq, id)
    })
}

fn response(
    worker: &Rc<Worker>,
    upstream: &Rc<Upstream>,
    message: &mut Message<'_>,
) -> Option<Rc<Downstream>> {
    let found = find(&mut upstream.state.borrow_mut(), message);
    match found {
        Found::Last(call) => finish(worker, upstream, call, message),
        Found::Piece(down, seq, id) => {
            restore_id(upstream, message, id);
            let pressure = down.piece(seq, message);
            slow(upstream, down, pressure)
        }
        Found::Nobody => {
            upstream.cluster.group.add(cluster::STRAY, 1);
            upstream.done(worker);
            None
        }
        Found::Stray => {
            upstream.cluster.group.add(cluster::STRAY, 1);
            // On a pinned connection the client sees what a direct connection would show.
            if let Some(down) = upstream.pinned_to() {
                let pressure = down.push(message);
                return slow(upstream, down, pressure);
            }
            // Out of step in an in-order protocol: nothing that follows could be trusted.
            if matches!(upstream.state.borrow().calls, Calls::InOrder(_)) {
                upstream.state.borrow_mut().closed_for = Some(Fault::BadResponse);
                upstream.state.borrow_mut().phase = Phase::Closed;
            }
            None
        }
    }
}

fn finish(
    worker: &Rc<Worker>,
    upstream: &Rc<Upstream>,
    call: Call,
    message: &mut Message<'_>,
) -> Option<Rc<Downstream>> {
    let Some(caller) = call.caller else {
        upstream.done(worker);
        return None;
    };
    let in_order = matches!(upstream.state.borrow().calls, Calls::InOrder(_));
    if in_order && message.head.kind == Kind::Response && message.head.id != call.id {
        // The ids of an in-order protocol are a check: this is somebody else's reply.
        upstream.cluster.group.add(cluster::STRAY, 1);
        upstream.close(Fault::BadResponse);
        let text = format!(
            "{} answered another request than this",
            upstream.endpoint.address
        );
        caller.down.fail(
            caller.seq,
            caller.receipt,
            caller.track,
            Fault::BadResponse,
            &text,
        );
        return None;
    }
    let failed = matches!(message.head.status, Status::Failed(_));
    upstream
        .cluster
        .group
        .add(if failed { cluster::FAILED } else { cluster::OK }, 1);
    restore_id(upstream, message, call.id);
    for edit in caller.edits.iter().flat_map(|edits| edits.iter()) {
        message.edit(edit.clone());
    }
    let down = caller.down;
    let (pressure, session) = down.last_piece(caller.seq, message, caller.track, caller.session);
    if let Some(session) = session {
        let login = upstream.cluster.config.borrow().login.clone();
        upstream.adopt(compose(&login, &session));
    }
    down.after_reply(upstream);
    upstream.done(worker);
    slow(upstream, down, pressure)
}

/// The id that the caller wrote, where the connection used another.
fn restore_id(upstream: &Upstream, message: &mut Message<'_>, id: Option<i64>) {
    if let (Calls::ById(_), Some(id)) = (&upstream.state.borrow().calls, id) {
        message.set_id(id);
    }
}

/// Whether the connection has to wait for its client. A shared one never does.
fn slow(
    upstream: &Rc<Upstream>,
    down: Rc<Downstream>,
    pressure: Pressure,
) -> Option<Rc<Downstream>> {
    let alone = upstream.is_pinned() || upstream.is_exclusive();
    (pressure == Pressure::Slow && alone).then_some(down)
}
