//! One downstream connection: its output, and the order in which its requests are answered. Upstream
//! tasks append here; the connection's own task (`downstream_task`) moves the bytes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

use meltemi_frame::{
    Bind, Codec, DecodeError, Decoded, Fault, Head, Interest, Message, Output, Reason, Receipt,
    Say, Session, Status,
};
use meltemi_router_core::{CompiledRoute, Facts, Peer};

use crate::call::Caller;
use crate::cluster::ClusterState;
use crate::parked::{Held, Parked};
use crate::replies::{Piece, Replies};
use crate::stats::listener;
use crate::upstream::Upstream;
use crate::view::ListenerView;
use crate::worker::Worker;

/// One downstream connection.
pub(crate) struct Downstream {
    pub(crate) worker: Rc<Worker>,
    pub(crate) peer: SocketAddr,
    /// The port that it came to.
    port: u16,
    /// Spreads clients over shared upstream connections.
    pub(crate) number: u64,
    /// Its listener, as of the configuration that it knows.
    view: RefCell<Rc<ListenerView>>,
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
    /// Blocking requests that wait for a connection.
    queued: usize,
    /// Requests that wait for something else, in their order; and whether one of them is under way.
    parked: VecDeque<Parked>,
    unparking: bool,
    /// Bytes of all that wait for something else.
    parked_bytes: usize,
    /// The upstream session of the last request, so that it is not composed again.
    composed: Option<(u64, u64, Session)>,
    /// The client's session when it left.
    last: Session,
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
        port: u16,
        number: u64,
        view: &Rc<ListenerView>,
    ) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(worker),
            peer,
            port,
            number,
            view: RefCell::new(Rc::clone(view)),
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
                queued: 0,
                parked: VecDeque::new(),
                unparking: false,
                parked_bytes: 0,
                last: Session::default(),
                composed: None,
                ending: false,
            }),
        })
    }

    pub(crate) fn view(&self) -> Rc<ListenerView> {
        Rc::clone(&self.view.borrow())
    }

    /// The listener has a new configuration.
    pub(crate) fn set_view(&self, view: &Rc<ListenerView>) {
        *self.view.borrow_mut() = Rc::clone(view);
    }

    /// What changes can tell of this connection.
    pub(crate) fn facts<'a>(
        &self,
        listener: &'a str,
        route: &'a CompiledRoute,
        cluster: &'a str,
    ) -> Facts<'a> {
        Facts {
            downstream: self.peer,
            principal: None,
            listener,
            route: &route.name,
            cluster,
        }
    }

    /// Adds to a counter of the listener.
    pub(crate) fn count(&self, index: usize, more: u64) {
        self.view.borrow().group.add(index, more);
    }

    pub(crate) fn count_fault(&self, fault: Fault) {
        self.worker
            .count_fault(&self.view.borrow().listener.name, fault);
    }

    /// Bytes that may wait to be written before upstreams, or requests, have to wait.
    fn cap(&self) -> usize {
        self.view.borrow().listener.limits.output
    }

    /// The protocol is known.
    pub(crate) fn speak(&self, codec: Box<dyn Codec>, in_order: bool) {
        let mut state = self.state.borrow_mut();
        state.codec = Some(codec);
        state.replies = Replies::new(in_order);
    }

    /// Tells one message at the front of `input`, if the protocol is known.
    #[inline]
    pub(crate) fn decode<'b>(
        &self,
        input: &'b [u8],
        interest: Interest,
    ) -> Option<Result<Decoded<'b>, DecodeError>> {
        let mut state = self.state.borrow_mut();
        let codec = state.codec.as_mut()?;
        Some(codec.decode(input, interest))
    }

    /// Runs `use_codec` with the connection's codec, if the protocol is known.
    pub(crate) fn with_codec<R>(&self, use_codec: impl FnOnce(&mut dyn Codec) -> R) -> Option<R> {
        let mut state = self.state.borrow_mut();
        let codec = state.codec.as_mut()?;
        Some(use_codec(codec.as_mut()))
    }

    /// Takes a place in the order of replies for a request, and takes down what its answer will need.
    pub(crate) fn open(&self, request: &Message<'_>) -> (u64, Receipt) {
        let mut state = self.state.borrow_mut();
        state.in_flight += 1;
        let seq = state.replies.open();
        let receipt = state.codec.as_ref().map(|codec| codec.receipt(request));
        (seq, receipt.unwrap_or_default())
    }

    /// Takes a place in the order of replies.
    fn open_slot(&self) -> u64 {
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

    /// The whole response, or its last piece.
    pub(crate) fn last_piece(&self, caller: &mut Caller, message: &Message<'_>) -> Pressure {
        let pressure = self.put(caller.seq, &Piece::Message(message));
        let (status, fault) = match caller.status {
            Status::Failed(fault) => ("failed", Some(fault)),
            Status::Redirect(_) => ("redirect", None),
            Status::Ok => ("ok", None),
        };
        let Caller { track, served, .. } = caller;
        let bytes = message.wire().len();
        track.end(&self.worker, served, bytes, status, fault, "");
        pressure
    }

    /// Answers a request with a fault of the proxy's own.
    pub(crate) fn fail(&self, seq: u64, receipt: &Receipt, reason: Reason, text: &str) {
        self.put(seq, &Piece::Fault(receipt, reason, text));
    }

    /// Answers a request that could not be decoded.
    pub(crate) fn reject(&self, receipt: &Receipt, fault: Fault, text: &str) {
        self.count_fault(fault);
        let seq = self.open_slot();
        self.put(seq, &Piece::Fault(receipt, fault.reason(), text));
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
            // Where the protocol has no words for it, the client finds out when it is closed.
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
            self.count(listener::TX_BYTES, (state.out.len() - before) as u64);
            state.wake();
        }
        self.pressure(&mut state, None)
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
        self.count(listener::TX_BYTES, (after - before) as u64);
        state.wake();
        self.pressure(&mut state, Some(seq))
    }

    fn pressure(&self, state: &mut State, seq: Option<u64>) -> Pressure {
        let view = self.view.borrow();
        let limits = &view.listener.limits;
        if state.waits() > limits.output_cut_off && !state.closed {
            self.count(listener::CUT_OFF, 1);
            state.closed = true;
            state.wake();
        }
        if !state.closed && state.waits_before(seq) > limits.output {
            Pressure::Slow
        } else {
            Pressure::Fine
        }
    }

    /// Whether the upstream that sends the reply `seq`, or what answers nothing, has to wait for
    /// this client; if so it is woken when there is room.
    pub(crate) fn is_slow(&self, seq: Option<u64>, waker: &Waker) -> bool {
        let mut state = self.state.borrow_mut();
        if state.closed || state.waits_before(seq) <= self.cap() {
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
        // What is held may leave only after what they send: they find out themselves.
        if !state.waiting.is_empty() && state.out.len() <= self.cap() {
            for waker in state.waiting.drain(..) {
                waker.wake();
            }
        }
        result
    }

    /// Too much waits to be written for more to be read.
    pub(crate) fn is_over_cap(&self) -> bool {
        let state = self.state.borrow();
        state.waits() + state.parked_bytes > self.cap()
    }

    /// The session of an upstream connection: what the cluster asks for, then what the client is.
    pub(crate) fn upstream_session(&self, cluster: &ClusterState) -> Session {
        let client = self.session();
        let config = cluster.config.borrow();
        let login = &config.login;
        if client.is_plain() {
            return login.clone();
        }
        if login.is_plain() {
            return client;
        }
        let key = (login.key(), client.key());
        let composed = &mut self.state.borrow_mut().composed;
        if let Some((a, b, session)) = composed
            && (*a, *b) == key
        {
            return session.clone();
        }
        let session = client.behind(login);
        *composed = Some((key.0, key.1, session.clone()));
        session
    }

    /// Whether replies, and so requests, have an order here.
    pub(crate) fn answers_in_order(&self) -> bool {
        self.state.borrow().replies.in_order()
    }

    /// Whether a request waits that those behind it must not overtake.
    pub(crate) fn has_parked(&self) -> bool {
        let state = self.state.borrow();
        state.unparking && state.replies.in_order()
    }

    /// Puts a request behind those that wait. Tells whether nobody takes them out yet.
    pub(crate) fn park(&self, parked: Parked) -> bool {
        let mut state = self.state.borrow_mut();
        state.parked.push_back(parked);
        !std::mem::replace(&mut state.unparking, true)
    }

    /// The next of those that wait; `None` when there are none any more.
    pub(crate) fn next_parked(&self) -> Option<Parked> {
        let mut state = self.state.borrow_mut();
        let next = state.parked.pop_front();
        state.unparking = next.is_some();
        next
    }

    /// A request waits.
    pub(crate) fn hold(&self, held: Held) {
        let mut state = self.state.borrow_mut();
        state.parked_bytes += held.bytes;
        state.in_flight += usize::from(held.one_way);
        state.queued += usize::from(held.blocking);
    }

    /// A request waits no longer.
    pub(crate) fn let_go(&self, held: Held) {
        let mut state = self.state.borrow_mut();
        state.parked_bytes = state.parked_bytes.saturating_sub(held.bytes);
        let one_way = usize::from(held.one_way);
        state.in_flight = state.in_flight.saturating_sub(one_way);
        state.queued = state.queued.saturating_sub(usize::from(held.blocking));
        state.wake();
    }

    /// A request that was refused is part of what ties the connection: what was sent of that must not be
    /// carried out without it, as a transaction would be.
    pub(crate) fn spoil(&self, head: &Head) {
        if head.bind == Bind::Pin
            && let Some(upstream) = self.pinned()
        {
            upstream.close(Fault::Reset);
        }
    }

    /// Who asks, as policies know it.
    pub(crate) fn identity(&self) -> Peer {
        Peer::new(self.peer, self.peer.ip(), self.port, None)
    }

    pub(crate) fn session(&self) -> Session {
        let state = self.state.borrow();
        let codec = state.codec.as_ref();
        codec.map_or_else(|| state.last.clone(), |codec| codec.session())
    }

    pub(crate) fn pinned(&self) -> Option<Rc<Upstream>> {
        self.state.borrow().pinned.clone()
    }

    /// Ties the connection to an upstream.
    pub(crate) fn pin(self: &Rc<Self>, upstream: &Rc<Upstream>) {
        upstream.pin(self);
        self.state.borrow_mut().pinned = Some(Rc::clone(upstream));
    }

    /// Its upstream never came to be, and the request that tied it there is on its way to another.
    pub(crate) fn forget_pin(&self) {
        self.state.borrow_mut().pinned = None;
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

    /// A reply of `upstream` has ended, or the request was never sent.
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
        let exclusive = &mut self.state.borrow_mut().exclusive;
        // Those that ended without a reply.
        exclusive.retain(|(other, _)| !other.is_closed());
        exclusive.push((Rc::clone(upstream), blocking));
    }

    /// A blocking request waits for a connection, or does not any more.
    pub(crate) fn set_queued(&self, waits: bool) {
        let queued = &mut self.state.borrow_mut().queued;
        *queued = if waits {
            *queued + 1
        } else {
            queued.saturating_sub(1)
        };
    }

    /// Whether something goes on that makes sense only while the client is there.
    pub(crate) fn is_tied(&self) -> bool {
        let state = self.state.borrow();
        state.pinned.is_some()
            || state.queued > 0
            || state
                .exclusive
                .iter()
                .any(|(upstream, blocking)| *blocking && !upstream.is_closed())
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

    /// Gives back memory that a connection without anything to do does not need.
    pub(crate) fn trim(&self) {
        let mut state = self.state.borrow_mut();
        if state.in_flight == 0 {
            state.out.shrink(0);
            state.replies.trim();
            state.waiting.shrink_to_fit();
            state.exclusive.shrink_to_fit();
        }
    }

    /// The connection is gone: upstreams that work for it alone have nobody to work for.
    pub(crate) fn gone(&self) {
        let (pinned, exclusive) = {
            let mut state = self.state.borrow_mut();
            state.closed = true;
            // Those that still work for it keep the rest alive for a while.
            state.out = Output::new();
            if let Some(codec) = state.codec.take() {
                state.last = codec.session();
            }
            state.replies = Replies::new(false);
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

    /// Bytes that must be written before more of the reply `seq` is of use, or of what answers
    /// nothing. What is held for later does not stand before a reply whose turn it is: to stop
    /// that one for its sake would stop both.
    fn waits_before(&self, seq: Option<u64>) -> usize {
        if seq.is_none_or(|seq| self.replies.is_turn(seq)) {
            self.out.len()
        } else {
            self.waits()
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
