//! The task of one downstream connection. Passes its messages to `request`, writes the replies that
//! upstreams appended, and decides when the connection ends.

mod reading;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use meltemi_frame::{Bind, Fault, Kind, Message, OwnedMessage, Session, Side};

use crate::config::view::{ListenerView, ServedView};
use crate::context::WorkerContext;
use crate::context::memory::{LEAST, Shortage};
use crate::downstream::Downstream;
use crate::downstream::admission::Admission;
use crate::telemetry::stats::listener;
use crate::transport::buffers::{Input, KEEP};
use crate::transport::linger::linger;
use crate::transport::stream::Stream;
use crate::upstream::Upstream;

/// The most reads in one turn, so that one busy connection cannot starve its worker.
const READS: usize = 16;

/// Serves a connection until it ends.
pub(crate) fn serve(
    worker: Rc<WorkerContext>,
    down: Rc<Downstream>,
    view: Rc<ListenerView>,
    stream: Stream,
    admission: Admission,
) -> DownstreamTask {
    let mut task = DownstreamTask {
        served: None,
        stream: Some(stream),
        input: Input::default(),
        conversation: Conversation::default(),
        worker,
        down,
        view,
        _admission: admission,
        farewell: None,
    };
    task.begin();
    task
}

/// The task. It is a hand-written future, because an `async` function needs half as much memory
/// again.
pub(crate) struct DownstreamTask {
    pub(crate) worker: Rc<WorkerContext>,
    pub(crate) down: Rc<Downstream>,
    pub(crate) view: Rc<ListenerView>,
    pub(crate) served: Option<Rc<ServedView>>,
    stream: Option<Stream>,
    input: Input,
    pub(crate) conversation: Conversation,
    /// Counts the connection against its listener's limit.
    _admission: Admission,
    /// Runs after the conversation, while the client may still read the last bytes.
    farewell: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// The state that decides whether the connection may go on.
#[derive(Default)]
pub(crate) struct Conversation {
    /// A request that must wait until the earlier ones are answered.
    pub(crate) stalled: Option<Box<OwnedMessage>>,
    /// The session is changing: nothing goes on until the reply arrives.
    pub(crate) changing: bool,
    /// The request in flight has a dedicated connection: no other request may overtake it.
    pub(crate) alone: bool,
    /// The upstream whose output is full.
    pub(crate) blocked_on: Option<Rc<Upstream>>,
    /// Where the pieces of the current request go.
    pub(crate) streaming: Streaming,
    /// Reading has stopped. The connection closes when everything is answered.
    pub(crate) closing: bool,
    /// The client has closed its sending half.
    eof: bool,
}

/// Where further pieces of a request go.
#[derive(Default)]
pub(crate) enum Streaming {
    #[default]
    None,
    To(Rc<Upstream>),
    /// The request has already failed: its pieces are dropped.
    Nowhere,
}

impl Future for DownstreamTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.farewell.is_none() {
            let end = ready!(self.turn(cx));
            self.farewell = self.end(end);
        }
        if let Some(farewell) = &mut self.farewell {
            ready!(farewell.as_mut().poll(cx));
        }
        self.view.group.subtract(listener::ACTIVE, 1);
        Poll::Ready(())
    }
}

impl DownstreamTask {
    /// Cleans up when the conversation is over. Returns the rest of the work if the client can
    /// still read.
    fn end(&mut self, end: io::Result<()>) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        if let Err(error) = end {
            tracing::debug!(downstream = %self.down.peer, %error, "downstream connection broke");
        }
        // The rest of this request will never arrive, and half a request is useless to the
        // upstream.
        if let Streaming::To(upstream) = &self.conversation.streaming {
            upstream.close(Fault::Reset);
        }
        let last_words = !self.down.is_closed() && !self.conversation.eof;
        self.down.gone();
        let stream = self.stream.take().filter(|_| last_words)?;
        let worker = Rc::clone(&self.worker);
        Some(Box::pin(
            async move { linger(stream, &worker.buffer).await },
        ))
    }

    /// Skips the detection if the listener has only one protocol.
    fn begin(&mut self) {
        if let [only] = self.view.served.as_slice() {
            let only = Rc::clone(only);
            self.speak(only);
        } else {
            self.down.activity.detecting.set(true);
            self.down
                .activity
                .partial_since_us
                .set(self.worker.now_us());
        }
    }

    fn speak(&mut self, served: Rc<ServedView>) {
        self.down.activity.detecting.set(false);
        let limits = self.view.listener.limits.codec;
        let codec = served
            .protocol
            .codec(Side::Server, &limits, &Session::default());
        self.down.speak(codec, served.in_order);
        self.served = Some(served);
    }

    /// Runs one turn of the conversation. Ready when the conversation is over.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.refresh();
        if self.down.is_closed() {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..READS {
            if !self.may_go_on(cx.waker()) {
                // The client may be waiting for output that is not written yet.
                if let Poll::Ready(end) = self.flush(cx) {
                    return Poll::Ready(end);
                }
                if !self.may_go_on(cx.waker()) {
                    self.notice_leaving(cx);
                    return self.flush(cx);
                }
            }
            self.down.activity.unread.set(false);
            match self.read(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    self.half_closed();
                    return self.flush(cx);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.flush(cx),
            }
        }
        cx.waker().wake_by_ref();
        self.flush(cx)
    }

    /// Handles the end of the client's sending half. The client still gets its replies, except for
    /// blocked commands and subscriptions: a server would drop those too.
    fn half_closed(&mut self) {
        self.conversation.eof = true;
        if self.down.is_tied() {
            self.down.kill();
        }
    }

    /// Detects a disconnected client while the connection is not read, so that blocked commands are
    /// cancelled. The sweep wakes such connections regularly.
    fn notice_leaving(&mut self, cx: &mut Context<'_>) {
        let blocks = !self.conversation.eof && self.down.is_tied();
        self.down.activity.unread.set(blocks);
        if !blocks {
            return;
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        if stream.poll_closed(cx).is_ready() {
            self.half_closed();
        }
    }

    /// Writes the pending output. Ready when the connection must end.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(()));
        };
        if self.down.is_closed() {
            return Poll::Ready(Ok(()));
        }
        let now = self.worker.now_us();
        let watch = &self.down.activity;
        let written = self.down.flush(cx.waker(), |out| {
            if out.is_empty() && !stream.is_unflushed() {
                return Ok(true);
            }
            watch.active_us.set(now);
            match crate::transport::buffers::write(stream, out, cx) {
                Poll::Ready(Ok(())) => {
                    out.shrink(KEEP);
                    Ok(true)
                }
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => Ok(false),
            }
        });
        let all = match written {
            Ok(all) => all,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let talk = &self.conversation;
        let answered = self.down.in_flight() == 0 && talk.stalled.is_none();
        let at_rest = self.input.is_empty() && matches!(talk.streaming, Streaming::None);
        let over = (talk.closing || talk.eof) && answered
            || self.down.activity.may_end(now) && answered && at_rest
            || self.down.is_ending();
        if all && over {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Returns `true` if more may be read now. Otherwise something wakes the task later.
    fn may_go_on(&mut self, waker: &Waker) -> bool {
        loop {
            let talk = &mut self.conversation;
            let limits = &self.view.listener.limits;
            let Some(in_flight) = self.down.may_read(limits.output) else {
                return false;
            };
            if talk.eof || talk.closing {
                return false;
            }
            if (talk.changing || talk.stalled.is_some()) && in_flight > 0 {
                return false;
            }
            talk.changing = false;
            // The rest of a started request must be read, or it is never answered.
            let more = matches!(talk.streaming, Streaming::None);
            if more && in_flight >= limits.in_flight {
                return false;
            }
            if talk
                .blocked_on
                .as_ref()
                .is_some_and(|upstream| upstream.is_full(waker))
            {
                return false;
            }
            talk.blocked_on = None;
            if let Some(stalled) = talk.stalled.take() {
                self.message(&mut stalled.message(), true);
                continue;
            }
            if !self.again() {
                return self.has_memory(waker);
            }
        }
    }

    /// Returns `true` if there is memory for the rest of a large message. Otherwise the task is
    /// woken when there is memory again.
    fn has_memory(&self, waker: &Waker) -> bool {
        if self.input.len() < LEAST || self.worker.services.memory.shortage() == Shortage::None {
            return true;
        }
        self.worker.relief.wait(waker);
        // The delay is not the client's fault.
        self.down.activity.partial_since_us.set(0);
        false
    }

    /// Handles one message of the client. Returns `true` if the connection must wait before the
    /// next. `again`: the message was stalled before.
    fn message(&mut self, message: &mut Message<'_>, again: bool) -> bool {
        match message.head.kind {
            Kind::Request | Kind::OneWay => self.request(message, again),
            Kind::Data => self.further_piece(message),
            // This message ends the tie to the connection, so the earlier requests are answered
            // first.
            Kind::Local if message.head.bind == Bind::Session && self.down.in_flight() > 0 => {
                self.conversation.stalled = Some(Box::new(message.to_owned_message()));
                true
            }
            Kind::Local => {
                let receipt = self.down.codec().map(|codec| codec.receipt(message));
                self.conversation.closing |= message.head.close;
                if let Some(receipt) = receipt {
                    self.down.answer_own(&receipt);
                    self.down.unpin_if_free(false);
                }
                self.conversation.closing
            }
            Kind::Ping => {
                self.view.group.add(listener::HEARTBEATS, 1);
                if let Some(receipt) = self.down.codec().map(|codec| codec.receipt(message)) {
                    self.down.answer_ping(&receipt);
                }
                false
            }
            // No reply is needed.
            Kind::Pong | Kind::GoAway => false,
            Kind::Response => self.answer_to_server(message),
            // Codecs report malformed messages in this way if they need no reply.
            Kind::Push => {
                self.view.group.add(listener::MALFORMED, 1);
                false
            }
        }
    }

    /// Forwards the client's response to a request of a server.
    fn answer_to_server(&mut self, message: &mut Message<'_>) -> bool {
        let id = message.head.id;
        let Some((upstream, id)) = id.and_then(|id| self.down.answers_call(id)) else {
            self.view.group.add(listener::MALFORMED, 1);
            return false;
        };
        message.set_id(id);
        self.send_piece(&upstream, message);
        self.must_wait()
    }

    /// Switches to a new configuration for the messages that follow.
    fn refresh(&mut self) {
        let Some(view) = self.down.other_view(&self.view) else {
            return;
        };
        if let Some(served) = &self.served {
            let spoken = &served.protocol.spec().name;
            let same = view
                .served
                .iter()
                .find(|other| other.protocol.spec().name == *spoken);
            match same {
                Some(same) => self.served = Some(Rc::clone(same)),
                // The listener no longer serves this protocol: the old routes stay valid until the
                // connection closes.
                None => {
                    if self.down.activity.drain(self.worker.now_us()) {
                        self.down.go_away();
                    }
                }
            }
        }
        self.view = view;
    }
}
