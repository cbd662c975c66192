//! The task of one upstream connection: connects, writes the requests that downstreams appended,
//! and decodes the responses. `response` finds the caller of each response.

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

/// The most reads in one turn, so that one busy connection cannot starve its worker.
const READS: usize = 16;

/// A client that reads this many bytes during a wait gets another wait.
const ENOUGH: u64 = 1 << 20;

/// How long sent data or a keepalive probe may stay without a TCP acknowledgement.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The longest time between keepalive probes, after the first one was not acknowledged.
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
    // The proxy closed it because a client left or memory was short. This is not the endpoint's
    // fault.
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
    // If the connect failed and only one request pinned the client, the request may go to another
    // endpoint. Several requests would all have to go to the same one.
    let whole = pinned.is_none() || (fault == Fault::Connect && calls.len() == 1);
    upstream.cluster.connection_closed(&worker, &upstream);
    for (mut call, bytes) in calls {
        call.outcome(&worker, outcome);
        // A request that is over a limit here would be over it elsewhere too.
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

/// Why the connect failed.
enum Refused {
    Failed(String),
    /// The connection is no longer needed.
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

/// Sets the keepalive of the kernel. It detects servers that vanish without closing the connection.
/// A slow request must not look like such a server.
fn watch_over(stream: &TcpStream, keepalive: Duration) {
    // Batches come from turns of the event loop, not from waiting for acknowledgements.
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
    /// The number of the client of the last wait, and how many bytes it had read then.
    progress: (u64, u64),
    /// The text for the log if framing is lost.
    lost: Option<String>,
}

impl UpstreamTask {
    /// Ready when the connection has ended: closed by either side, or broken.
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
        // Reads before it writes: requests that are unwritten when the connection ends were surely
        // not sent.
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
        // The socket may still have data: continue in the next turn, or when the client has read.
        cx.waker().wake_by_ref();
        self.unread(cx)
    }

    /// Returns `true` if the connection continues to wait for a slow client. If other clients wait
    /// too, the wait is short. It is longer only if the client would be cut off otherwise.
    fn waits_for(&mut self, paused: &Paused, cx: &mut Context<'_>) -> bool {
        if !paused.shared {
            return true;
        }
        self.upstream.set_slow(true);
        // Wait until the memory relief has cut off a connection, which takes a moment.
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

    /// Renews the wait for a client that makes progress, even if it reads slowly.
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

    /// Ends a turn while there may be more to read. If the end of the connection may follow,
    /// nothing is written: unsent requests can then go to another endpoint.
    fn unread(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stream.poll_closed(cx).is_ready() {
            self.upstream.state.borrow_mut().remember(cx.waker());
            return Poll::Pending;
        }
        self.after_turn(cx)
    }

    /// Writes the collected requests, including those from this turn.
    fn after_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.flush(cx) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
        }
    }

    /// Writes the pending output. Returns `true` if the connection must end.
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

    /// Reads once and handles the data. Returns `true` if there may be more.
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

    /// Decodes and delivers all complete messages.
    fn consume(&mut self, bytes: &[u8]) -> Consumed {
        let (worker, upstream) = (&self.worker, &self.upstream);
        upstream.mark_heard(worker.now_us());
        let mut taken = Consumed::default();
        while let Some(rest) = bytes.get(taken.bytes..).filter(|rest| !rest.is_empty()) {
            let mut decoded = {
                let mut state = upstream.state.borrow_mut();
                // An earlier message closed the connection: the rest is not trusted.
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
                    tracing::debug!(
                        endpoint = %upstream.endpoint.address,
                        text,
                        "the endpoint sent a malformed message"
                    );
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
