//! The task of one upstream connection: connects, writes what downstreams appended, and decodes what
//! comes (`response` tells whom it is for).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use meltemi_frame::{DecodeError, Decoded, Fault};
use meltemi_router_core::Outcome;
use tokio::net::TcpStream;

use crate::context::WorkerContext;
use crate::context::memory::Shortage;
use crate::dispatch::retry;
use crate::downstream::Downstream;
use crate::tasks::patience::{self, Patience};
use crate::tasks::response::{self, Paused};
use crate::telemetry::stats::cluster;
use crate::transport::buffers::{Consumed, Input, KEEP_UPSTREAM, Lent, Read};
use crate::transport::stream::Stream;
use crate::upstream::{Phase, State, Upstream};

/// Reads of one turn. A bound, so that one busy connection cannot starve its worker.
const READS: usize = 16;

/// A client that reads this many bytes while it is waited for is waited for once more.
const ENOUGH: u64 = 1 << 20;

/// How long what was written, or a probe, may stay without an acknowledgement of the server's kernel.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The longest time between probes of a silent connection, once the first is not acknowledged.
const PROBES: Duration = Duration::from_secs(10);

/// Runs a connection from connect to close.
pub(crate) fn run(
    worker: Rc<WorkerContext>,
    upstream: Rc<Upstream>,
    connect_timeout: Duration,
) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(serve(worker, upstream, connect_timeout))
}

async fn serve(worker: Rc<WorkerContext>, upstream: Rc<Upstream>, connect_timeout: Duration) {
    let address = upstream.endpoint.address;
    let (fault, text) = match connect(&upstream, connect_timeout).await {
        Err(Refused::Closed(fault)) => (fault, format!("connecting to {address} took too long")),
        Err(Refused::Failed(text)) => {
            upstream.cluster.group.add(cluster::CONNECT_FAILURES, 1);
            upstream.endpoint.avoid(&worker);
            (Fault::Connect, text)
        }
        Ok(stream) => {
            upstream.cluster.group.add(cluster::CONNECTS, 1);
            watch_over(&stream, upstream.cluster.config.borrow().keepalive);
            {
                let mut state = upstream.state.borrow_mut();
                if state.phase == Phase::Connecting {
                    state.phase = Phase::Open;
                }
            }
            let stream = (worker.services.wrap)(stream);
            let mut task = UpstreamTask {
                worker: Rc::clone(&worker),
                upstream: Rc::clone(&upstream),
                stream,
                input: Input::default(),
                paused_by: None,
                patience: Patience::new(patience::MOST),
                last_patience: Patience::new(patience::LAST),
                progress: (u64::MAX, 0),
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
    // Closed on behalf of a client that is gone, or for want of memory: that says nothing of the endpoint.
    let outcome = match upstream.state.borrow().closed_for {
        Some(Fault::Reset | Fault::Overload) => Outcome::Unknown,
        _ => Outcome::of_fault(fault),
    };
    let calls = upstream.drain_calls();
    upstream
        .cluster
        .group
        .add(cluster::RESETS, calls.len() as u64);
    let mut pinned = upstream.pinned_to();
    // What alone tied a client to a connection that never was may tie it to another. Of more than one
    // request all or none would have to go there.
    let whole = pinned.is_none() || (fault == Fault::Connect && calls.len() == 1);
    upstream.cluster.connection_closed(&worker, &upstream);
    for (mut call, bytes) in calls {
        call.outcome(&worker, outcome);
        // What was too much here would be too much elsewhere.
        let bytes = bytes.filter(|_| whole && fault != Fault::Overload);
        let unsent = bytes.and_then(|bytes| retry::unsent(&upstream, &call, &bytes));
        if let Some(call) = retry::after_fault(&worker, call, fault, unsent) {
            call.refuse(&worker, fault, &text);
        } else if let Some(down) = pinned.take() {
            down.forget_pin();
        }
    }
    if let Some(down) = pinned {
        down.pinned_upstream_lost(&upstream);
    }
}

/// Why there is no connection.
enum Refused {
    Failed(String),
    /// Nobody wants it any more.
    Closed(Fault),
}

async fn connect(upstream: &Rc<Upstream>, patience: Duration) -> Result<TcpStream, Refused> {
    let address = upstream.endpoint.address;
    let mut connecting = pin!(tokio::time::timeout(patience, TcpStream::connect(address)));
    let connected = poll_fn(|cx| {
        let mut state = upstream.state.borrow_mut();
        state.remember(cx.waker());
        if state.phase == Phase::Closed {
            let fault = state.closed_for.unwrap_or(Fault::Connect);
            return Poll::Ready(Err(Refused::Closed(fault)));
        }
        connecting.as_mut().poll(cx).map(Ok)
    });
    match connected.await? {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Refused::Failed(format!("connecting to {address}: {error}"))),
        Err(_) => Err(Refused::Failed(format!(
            "connecting to {address}: no answer in {patience:?}"
        ))),
    }
}

/// Sets what the kernel does for a connection. It notices a server that is gone without a word: a request
/// that takes long must not be mistaken for that.
fn watch_over(stream: &TcpStream, keepalive: Duration) {
    // Batches are made by turns of the event loop, not by waiting for acknowledgements.
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    if !keepalive.is_zero() {
        // The kernel counts in seconds.
        let silence = keepalive.max(Duration::from_secs(1));
        let probes = socket2::TcpKeepalive::new()
            .with_time(silence)
            .with_interval(silence.min(PROBES));
        let _ = socket.set_tcp_keepalive(&probes);
    }
}

struct UpstreamTask {
    worker: Rc<WorkerContext>,
    upstream: Rc<Upstream>,
    stream: Stream,
    input: Input,
    paused_by: Option<Paused>,
    patience: Patience,
    /// For a client that would be cut off otherwise.
    last_patience: Patience,
    /// The client that it waited for last, by number, and what that had read then.
    progress: (u64, u64),
    /// Framing is lost: what was found.
    lost: Option<String>,
}

impl UpstreamTask {
    /// Ready when the connection has ended: closed by us or them, or broken.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.upstream.is_closed() {
            return Poll::Ready(Ok(()));
        }
        if let Some(paused) = self.paused_by.take() {
            let slow = paused.down.is_slow(paused.seq, cx.waker());
            if slow && self.waits_for(&paused, cx) {
                self.paused_by = Some(paused);
                return self.unread(cx);
            }
            if !slow {
                self.upstream.set_slow(false);
            }
            self.patience.rest();
            self.last_patience.rest();
            self.worker.tick();
            if let Some(lent) = self.input.again() {
                self.take(lent);
            }
            self.upstream.note_input(&self.worker, self.input.len());
        }
        // Read first: what has not been written when the end of the connection is seen was never sent.
        for _ in 0..READS {
            if self.lost.is_some() || self.paused_by.is_some() {
                break;
            }
            match self.read(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.after_turn(cx),
            }
        }
        if self.lost.is_some() {
            return Poll::Ready(Ok(()));
        }
        // Not pending on the socket: come back for the rest, or when the client has read.
        cx.waker().wake_by_ref();
        self.unread(cx)
    }

    /// Whether the connection waits on for a client that is behind. If others wait with the client, it is
    /// for a moment, and for longer only where the client would be cut off otherwise.
    fn waits_for(&mut self, paused: &Paused, cx: &mut Context<'_>) -> bool {
        if !paused.shared {
            return true;
        }
        self.upstream.set_slow(true);
        // Until somebody has been cut off, which takes a moment.
        if self.worker.services.memory.shortage() == Shortage::Over {
            self.worker.relief.wait(cx.waker());
            return true;
        }
        if self.upstream.serves_only(&paused.down) {
            return true;
        }
        paused.down.activity.note_held_up(self.worker.now_us());
        if self.patience.lasts(cx) {
            return true;
        }
        if !paused.down.is_nearly_cut_off() {
            return false;
        }
        self.note_progress(&paused.down);
        self.last_patience.lasts(cx)
    }

    /// A client that reads is waited for, however slowly it does so.
    fn note_progress(&mut self, down: &Downstream) {
        let (number, taken) = self.progress;
        let now = down.taken();
        if number != down.number {
            self.progress = (down.number, now);
        } else if now.saturating_sub(taken) >= ENOUGH {
            self.progress = (number, now);
            self.last_patience.renew();
        }
    }

    /// The turn ends while there may be more to read. If the end of the connection is behind it, nothing is
    /// written: requests that nobody would read stay unsent, and go elsewhere when the end is reached.
    fn unread(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stream.poll_closed(cx).is_ready() {
            self.upstream.state.borrow_mut().remember(cx.waker());
            return Poll::Pending;
        }
        self.after_turn(cx)
    }

    /// Everything that has gathered goes out: requests, and what the turn itself produced.
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
        state.remember(cx.waker());
        let at_rest = state.is_at_rest();
        let State {
            out,
            written,
            blocked,
            phase,
            ..
        } = &mut *state;
        if *phase == Phase::Closed {
            return Ok(true);
        }
        if !out.is_empty() || self.stream.is_unflushed() {
            let before = out.len();
            let result = crate::transport::buffers::write(&mut self.stream, out, cx);
            *written += (before - out.len()) as u64;
            if let Poll::Ready(result) = result {
                result?;
                out.shrink(KEEP_UPSTREAM);
            }
            self.upstream.account(&self.worker, out.len());
            for waker in blocked.drain(..) {
                waker.wake();
            }
        }
        Ok(*phase == Phase::Draining && at_rest && out.is_empty() && !self.stream.is_unflushed())
    }

    /// Reads once, and takes what it brought. Tells whether there can be more.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let buffer = &self.worker.buffer;
        let read = ready!(self.input.read(&mut self.stream, buffer, cx))?;
        self.worker.tick();
        let Read::Data(count, lent) = read else {
            return Poll::Ready(Ok(false));
        };
        let group = &self.upstream.cluster.group;
        group.add(cluster::RX_BYTES, count as u64);
        if let Some(lent) = lent {
            self.take(lent);
        }
        self.upstream.note_input(&self.worker, self.input.len());
        Poll::Ready(Ok(true))
    }

    fn take(&mut self, lent: Lent) {
        let consumed = self.consume(lent.bytes());
        self.input.give_back(lent, consumed, &self.worker.buffer);
    }

    /// Decodes and delivers everything that is there.
    fn consume(&mut self, bytes: &[u8]) -> Consumed {
        let (worker, upstream) = (&self.worker, &self.upstream);
        upstream.mark_heard(worker.now_us());
        let mut taken = Consumed::default();
        while let Some(rest) = bytes.get(taken.bytes..).filter(|rest| !rest.is_empty()) {
            let mut decoded = {
                let mut state = upstream.state.borrow_mut();
                // Closed for what came before: nothing that follows is trusted.
                if state.phase == Phase::Closed {
                    break;
                }
                let interest = state.interest;
                state.codec.decode(rest, interest)
            };
            // By reference: messages are large, and every move copies one.
            match &mut decoded {
                Ok(Decoded::Incomplete(need)) => {
                    taken.need = *need;
                    break;
                }
                Ok(Decoded::Skip(count)) => taken.bytes += (*count).max(1),
                Ok(Decoded::Message(message, count)) => {
                    taken.bytes += (*count).max(1);
                    self.paused_by = response::receive(worker, upstream, message);
                    if self.paused_by.is_some() {
                        break;
                    }
                }
                Err(DecodeError::Message {
                    violation,
                    length,
                    answer,
                }) => {
                    let text = violation.to_string();
                    tracing::debug!(endpoint = %upstream.endpoint.address, text, "malformed response");
                    response::malformed(worker, upstream, answer.as_deref(), &text);
                    taken.drop_message(*length, rest.len());
                }
                Err(DecodeError::Connection { violation, .. }) => {
                    self.lost = Some(violation.to_string());
                    taken.bytes = bytes.len();
                }
            }
        }
        taken
    }
}
