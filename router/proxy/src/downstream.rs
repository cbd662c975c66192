//! One downstream connection: its output, and the order in which its requests are answered. Upstream
//! tasks append here; the connection's own task (`downstream_task`) moves the bytes.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use meltemi_config::ListenerLimits;
use meltemi_frame::{Codec, Fault, Message, Output, Receipt, Say, Session, Status};

use crate::call::Track;
use crate::replies::{Piece, Replies};
use crate::stats::{Group, listener};
use crate::upstream::Upstream;
use crate::worker::Worker;

/// One downstream connection.
pub(crate) struct Downstream {
    pub(crate) worker: Rc<Worker>,
    pub(crate) peer: SocketAddr,
    /// Spreads clients over shared upstream connections.
    pub(crate) number: u64,
    pub(crate) group: Arc<Group>,
    listener: String,
    limits: ListenerLimits,
    state: RefCell<State>,
}

struct State {
    codec: Option<Box<dyn Codec>>,
    out: Output,
    replies: Replies,
    in_flight: usize,
    waker: Option<Waker>,
    /// Upstream tasks that wait until this client has read.
    waiting: Vec<Waker>,
    closed: bool,
    pinned: Option<Rc<Upstream>>,
    /// Upstream connections that work for this client alone just now, and whether they block.
    exclusive: Vec<(Rc<Upstream>, bool)>,
    /// The pinned upstream ended: the client's connection ends too, once what it was sent is out.
    ending: bool,
}

/// How well the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    Fine,
    /// More waits than should: whoever serves this client alone should wait.
    Slow,
}

impl Downstream {
    pub(crate) fn new(
        worker: &Rc<Worker>,
        peer: SocketAddr,
        number: u64,
        limits: &ListenerLimits,
        listener: &str,
        group: Arc<Group>,
    ) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(worker),
            peer,
            number,
            group,
            listener: listener.to_owned(),
            limits: limits.clone(),
            state: RefCell::new(State {
                codec: None,
                out: Output::new(),
                replies: Replies::new(false),
                in_flight: 0,
                waker: None,
                waiting: Vec::new(),
                closed: false,
                pinned: None,
                exclusive: Vec::new(),
                ending: false,
            }),
        })
    }

    pub(crate) fn listener_name(&self) -> &str {
        &self.listener
    }

    pub(crate) const fn limits(&self) -> &ListenerLimits {
        &self.limits
    }

    /// The protocol is known.
    pub(crate) fn speak(&self, codec: Box<dyn Codec>, in_order: bool) {
        let mut state = self.state.borrow_mut();
        state.codec = Some(codec);
        state.replies = Replies::new(in_order);
    }

    /// Runs `use_codec` with the connection's codec, if the protocol is known.
    pub(crate) fn with_codec<R>(&self, use_codec: impl FnOnce(&mut dyn Codec) -> R) -> Option<R> {
        let mut state = self.state.borrow_mut();
        let codec = state.codec.as_mut()?;
        Some(use_codec(codec.as_mut()))
    }

    /// Takes a place in the order of replies for a request.
    pub(crate) fn open_slot(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        state.in_flight += 1;
        state.replies.open()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.state.borrow().in_flight
    }

    /// A piece of a response, not its last.
    pub(crate) fn piece(&self, seq: u64, message: &Message<'_>) -> Pressure {
        self.put(seq, &Piece::Message(message))
    }

    /// The whole response, or its last piece. Tells the client's session if it `changes` by it.
    pub(crate) fn last_piece(
        &self,
        seq: u64,
        message: &Message<'_>,
        track: Track,
        changes: bool,
    ) -> (Pressure, Option<Session>) {
        let pressure = self.put(seq, &Piece::Message(message));
        let (status, fault) = match message.head.status {
            Status::Failed(fault) => ("failed", Some(fault)),
            Status::Redirect(_) => ("redirect", None),
            Status::Ok => ("ok", None),
        };
        track.end(&self.worker, message.wire().len(), status, fault, "");
        let session = changes.then(|| self.session());
        (pressure, session)
    }

    /// Answers a request with a fault of the proxy's own.
    pub(crate) fn fail(&self, seq: u64, receipt: Receipt, track: Track, fault: Fault, text: &str) {
        self.worker.count_fault(&self.listener, fault);
        track.end(&self.worker, 0, "local", Some(fault), text);
        self.put(seq, &Piece::Fault(&receipt, fault, text));
    }

    /// Answers a request that could not be decoded.
    pub(crate) fn reject(&self, receipt: &Receipt, fault: Fault, text: &str) {
        self.worker.count_fault(&self.listener, fault);
        let seq = self.open_slot();
        self.put(seq, &Piece::Fault(receipt, fault, text));
    }

    /// The codec's own answer.
    pub(crate) fn answer_own(&self, receipt: &Receipt) {
        let seq = self.open_slot();
        self.put(seq, &Piece::Own(receipt));
    }

    /// Answers a heartbeat.
    pub(crate) fn answer_ping(&self, receipt: &Receipt) {
        let seq = self.open_slot();
        self.put(seq, &Piece::Pong(receipt));
    }

    /// Tells the client to send its next requests elsewhere, where the protocol can say so.
    pub(crate) fn go_away(&self) {
        let mut state = self.state.borrow_mut();
        let State { codec, out, .. } = &mut *state;
        if let Some(codec) = codec {
            let _ = codec.synthesize(Say::GoAway, out);
        }
        state.wake();
    }

    /// A message of the pinned upstream that answers nothing.
    pub(crate) fn push(&self, message: &Message<'_>) -> Pressure {
        let mut state = self.state.borrow_mut();
        if !state.closed {
            let before = state.out.len();
            let State { codec, out, .. } = &mut *state;
            if let Some(codec) = codec {
                crate::replies::write(&Piece::Message(message), codec.as_mut(), out);
            }
            self.group
                .add(listener::TX_BYTES, (state.out.len() - before) as u64);
            state.wake();
        }
        self.pressure(&mut state)
    }

    fn put(&self, seq: u64, piece: &Piece<'_>) -> Pressure {
        let mut state = self.state.borrow_mut();
        if piece.is_last() {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        if state.closed {
            return Pressure::Fine;
        }
        let before = state.out.len();
        let State {
            codec,
            out,
            replies,
            ending,
            ..
        } = &mut *state;
        if let Some(codec) = codec {
            // A reply that breaks off half-way ends the connection, as it would on a direct one.
            *ending |= replies.put(seq, piece, codec.as_mut(), out).is_err();
        }
        let after = state.out.len();
        self.group.add(listener::TX_BYTES, (after - before) as u64);
        state.wake();
        self.pressure(&mut state)
    }

    fn pressure(&self, state: &mut State) -> Pressure {
        let waits = state.waits();
        if waits > self.limits.output_cut_off && !state.closed {
            self.group.add(listener::CUT_OFF, 1);
            state.closed = true;
            state.wake();
        }
        if waits > self.limits.output && !state.closed {
            Pressure::Slow
        } else {
            Pressure::Fine
        }
    }

    /// Whether an upstream has to wait for this client; if so it is woken when there is room.
    pub(crate) fn is_slow(&self, waker: &Waker) -> bool {
        let mut state = self.state.borrow_mut();
        if state.closed || state.waits() <= self.limits.output {
            return false;
        }
        if !state.waiting.iter().any(|other| other.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        true
    }

    /// Runs `write` on the output, remembers the task, and wakes whoever waits for room.
    pub(crate) fn flush<R>(&self, waker: &Waker, write: impl FnOnce(&mut Output) -> R) -> R {
        let mut state = self.state.borrow_mut();
        if !state.waker.as_ref().is_some_and(|own| own.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        let result = write(&mut state.out);
        if state.waits() <= self.limits.output {
            for waker in state.waiting.drain(..) {
                waker.wake();
            }
        }
        result
    }

    /// Too much waits to be written for more to be read.
    pub(crate) fn is_over_cap(&self) -> bool {
        let state = self.state.borrow();
        state.waits() > self.limits.output
    }

    pub(crate) fn session(&self) -> Session {
        self.state
            .borrow()
            .codec
            .as_ref()
            .map_or_else(Session::default, |codec| codec.session())
    }

    pub(crate) fn pinned(&self) -> Option<Rc<Upstream>> {
        self.state.borrow().pinned.clone()
    }

    /// Ties the connection to an upstream.
    pub(crate) fn pin(self: &Rc<Self>, upstream: &Rc<Upstream>) {
        upstream.pin(self);
        self.state.borrow_mut().pinned = Some(Rc::clone(upstream));
    }

    /// Unties it if the codec says that nothing ties it any more. `clean`: the upstream is in the
    /// state that its session tells.
    pub(crate) fn unpin_if_free(&self, clean: bool) {
        let free = {
            let mut state = self.state.borrow_mut();
            let still = state.codec.as_ref().is_some_and(|codec| codec.pinned());
            if still { None } else { state.pinned.take() }
        };
        if let Some(upstream) = free {
            let clean = clean && upstream.in_flight() == 0;
            upstream.unpin(&self.worker, clean);
        }
    }

    /// A reply of `upstream` has ended.
    pub(crate) fn after_reply(&self, upstream: &Rc<Upstream>) {
        self.state
            .borrow_mut()
            .exclusive
            .retain(|(other, _)| !Rc::ptr_eq(other, upstream));
        if upstream.is_pinned() && upstream.in_flight() == 0 {
            self.unpin_if_free(true);
        }
    }

    /// Remembers that an upstream works for this client alone.
    /// `blocking`: the request makes sense only while the client is there.
    pub(crate) fn uses_alone(&self, upstream: &Rc<Upstream>, blocking: bool) {
        self.state
            .borrow_mut()
            .exclusive
            .push((Rc::clone(upstream), blocking));
    }

    /// Whether something goes on that makes sense only while the client is there.
    pub(crate) fn is_tied(&self) -> bool {
        let state = self.state.borrow();
        state.pinned.is_some() || state.exclusive.iter().any(|(_, blocking)| *blocking)
    }

    /// The pinned upstream has ended: so does this connection, as a direct one would.
    pub(crate) fn pinned_upstream_lost(&self, upstream: &Rc<Upstream>) {
        let mut state = self.state.borrow_mut();
        if state
            .pinned
            .as_ref()
            .is_some_and(|pinned| Rc::ptr_eq(pinned, upstream))
        {
            state.pinned = None;
            state.ending = true;
            state.wake();
        }
    }

    /// The connection has to end once what waits is written.
    pub(crate) fn is_ending(&self) -> bool {
        self.state.borrow().ending
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Ends the connection at once.
    pub(crate) fn kill(&self) {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        state.wake();
    }

    pub(crate) fn wake(&self) {
        self.state.borrow().wake();
    }

    /// The connection is gone: upstreams that work for it alone have nobody to work for.
    pub(crate) fn gone(&self) {
        let (pinned, exclusive) = {
            let mut state = self.state.borrow_mut();
            state.closed = true;
            state.out = Output::new();
            for waker in state.waiting.drain(..) {
                waker.wake();
            }
            (state.pinned.take(), std::mem::take(&mut state.exclusive))
        };
        let exclusive = exclusive.into_iter().map(|(upstream, _)| upstream);
        for upstream in pinned.into_iter().chain(exclusive) {
            upstream.close(Fault::Reset);
        }
    }
}

impl State {
    /// Bytes that wait to be written, now or when their turn comes.
    fn waits(&self) -> usize {
        self.out.len() + self.replies.held_bytes()
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
