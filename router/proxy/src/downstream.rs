//! One downstream connection: its output, and the order in which its requests are answered. Upstream
//! tasks append here; the connection's own task (`downstream_task`) moves the bytes.

mod account;
pub(crate) mod activity;
pub(crate) mod admission;
mod affinity;
mod delay_queue;
mod own;
mod pins;
mod pressure;
pub(crate) mod replies;

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

use meltemi_frame::{
    Codec, Fault, LocalMessage, Message, Output, Reason, ReplyContext, Session, Status,
};
use meltemi_router_core::{CompiledRoute, Facts, Peer};

use crate::call::Caller;
use crate::call::delayed::Delayed;
use crate::config::view::ListenerView;
use crate::context::WorkerContext;
use crate::context::memory::Share;
use crate::downstream::activity::Activity;
use crate::downstream::replies::{Piece, Replies};
use crate::telemetry::stats::listener;
use crate::upstream::Upstream;

use affinity::Affinity;
use own::Own;

pub(crate) use affinity::{Placement, PlacementRequest};
pub(crate) use pressure::Pressure;

/// One downstream connection.
pub(crate) struct Downstream {
    pub(crate) worker: Rc<WorkerContext>,
    pub(crate) peer: SocketAddr,
    /// The port that it came to.
    port: u16,
    /// Spreads clients over shared upstream connections.
    pub(crate) number: u64,
    /// When things happened on it.
    pub(crate) activity: Activity,
    /// What it has reported of the bytes that it holds.
    share: Share,
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
    closed: bool,
    pinned: Option<Rc<Upstream>>,
    /// Upstream connections on which something of it is under way.
    affinity: Affinity,
    /// Upstream connections that work for this client alone just now, and whether they block.
    exclusive: Vec<(Rc<Upstream>, bool)>,
    /// The client's session when it left.
    last: Session,
    cold: Option<Box<ColdState>>,
    /// The pinned upstream ended: the client's connection ends too, once what it was sent is out.
    ending: bool,
}

/// What most connections never have, or only for a while: made when it is needed, given back when the
/// connection is silent.
#[derive(Default)]
struct ColdState {
    /// Upstream tasks that wait until this client has read.
    waiting: Vec<Waker>,
    /// Bytes that the client has read since there is somebody to wait for it.
    taken: u64,
    /// Requests that wait before they are sent, and those of them that wait for a connection, and that
    /// block.
    held: usize,
    in_queue: usize,
    blocking: usize,
    /// Who waits for what is under way.
    turn: Option<Waker>,
    /// Requests that wait for something else, in their order; and whether one of them is under way.
    parked: VecDeque<Delayed>,
    resuming: bool,
    /// Bytes of all that wait for something else.
    delayed_bytes: usize,
    /// Upstream connections of its own, and what servers ask over them.
    own: Own,
    /// The upstream session of the last request, so that it is not composed again.
    composed: Option<(u64, u64, Session)>,
}

impl ColdState {
    /// Nothing in it is in use.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.parked.is_empty()
            && self.turn.is_none()
            && !self.resuming
            && self.held + self.delayed_bytes == 0
            && self.own.is_empty()
    }
}

impl Downstream {
    pub(crate) fn new(
        worker: &Rc<WorkerContext>,
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
            activity: Activity::default(),
            share: Share::default(),
            view: RefCell::new(Rc::clone(view)),
            state: RefCell::new(State {
                codec: None,
                out: Output::new(),
                replies: Replies::new(false),
                in_flight: 0,
                waker: None,
                closed: false,
                pinned: None,
                affinity: Affinity::default(),
                exclusive: Vec::new(),
                last: Session::default(),
                cold: None,
                ending: false,
            }),
        })
    }

    pub(crate) fn view(&self) -> Rc<ListenerView> {
        Rc::clone(&self.view.borrow())
    }

    /// The listener's configuration, if it is not `known`.
    pub(crate) fn other_view(&self, known: &Rc<ListenerView>) -> Option<Rc<ListenerView>> {
        let view = self.view.borrow();
        (!Rc::ptr_eq(&view, known)).then(|| Rc::clone(&view))
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

    /// The protocol is known.
    pub(crate) fn speak(&self, codec: Box<dyn Codec>, in_order: bool) {
        let mut state = self.state.borrow_mut();
        state.codec = Some(codec);
        state.replies = Replies::new(in_order);
    }

    /// The connection's codec, if the protocol is known. Nothing else of the connection can be used
    /// meanwhile.
    #[inline]
    pub(crate) fn codec(&self) -> Option<RefMut<'_, Box<dyn Codec>>> {
        RefMut::filter_map(self.state.borrow_mut(), |state| state.codec.as_mut()).ok()
    }

    /// Takes a place in the order of replies for a request, and takes down what its answer will need.
    pub(crate) fn open(&self, request: &Message<'_>) -> (u64, ReplyContext) {
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
    pub(crate) fn fail(&self, seq: u64, receipt: &ReplyContext, reason: Reason, text: &str) {
        self.put(seq, &Piece::Fault(receipt, reason, text));
    }

    /// Answers a request that could not be decoded.
    pub(crate) fn reject(&self, receipt: &ReplyContext, fault: Fault, text: &str) {
        self.count_fault(fault);
        let seq = self.open_slot();
        self.put(seq, &Piece::Fault(receipt, fault.reason(), text));
    }

    /// The codec's own answer to a request that has its place.
    pub(crate) fn answer_deferred(&self, seq: u64, receipt: &ReplyContext) {
        self.put(seq, &Piece::Own(receipt));
    }

    /// The codec's own answer.
    pub(crate) fn answer_own(&self, receipt: &ReplyContext) {
        let seq = self.open_slot();
        self.put(seq, &Piece::Own(receipt));
    }

    /// Answers a heartbeat.
    pub(crate) fn answer_ping(&self, receipt: &ReplyContext) {
        let seq = self.open_slot();
        self.put(seq, &Piece::Pong(receipt));
    }

    /// Tells the client to send its next requests elsewhere, where the protocol can say so.
    pub(crate) fn go_away(&self) {
        let mut state = self.state.borrow_mut();
        let State { codec, out, .. } = &mut *state;
        if let Some(codec) = codec {
            // Where the protocol has no words for it, the client finds out when it is closed.
            let _ = codec.synthesize(LocalMessage::GoAway, out);
        }
        state.wake();
    }

    /// A message of the pinned upstream that answers nothing.
    pub(crate) fn push(&self, message: &Message<'_>) -> Pressure {
        let mut state = self.state.borrow_mut();
        let mut added = 0;
        if !state.closed {
            let before = state.out.len();
            let State { codec, out, .. } = &mut *state;
            if let Some(codec) = codec {
                crate::downstream::replies::write(&Piece::Message(message), codec.as_mut(), out);
            }
            added = state.out.len() - before;
            self.count(listener::TX_BYTES, added as u64);
            state.wake();
        }
        self.pressure(&mut state, None, added)
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
            out.part();
            // A reply that breaks off half-way ends the connection, as it would on a direct one.
            *ending |= replies.put(seq, piece, codec.as_mut(), out).is_err();
        }
        let after = state.out.len();
        self.count(listener::TX_BYTES, (after - before) as u64);
        state.wake();
        self.pressure(&mut state, Some(seq), after - before)
    }

    /// Who asks, as policies know it.
    pub(crate) fn identity(&self) -> Peer {
        Peer::new(self.peer, self.peer.ip(), self.port, None)
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
            state.affinity.forget();
            state.cold.take_if(|rare| rare.is_idle());
            state.exclusive.shrink_to_fit();
        }
    }

    /// The connection is gone: upstreams that work for it alone have nobody to work for.
    pub(crate) fn gone(&self) {
        let (pinned, exclusive, own) = {
            let mut state = self.state.borrow_mut();
            state.closed = true;
            // Those that still work for it keep the rest alive for a while.
            state.out = Output::new();
            state.affinity = Affinity::default();
            if let Some(codec) = state.codec.take() {
                state.last = codec.session();
            }
            state.replies = Replies::new(false);
            self.activity.input.set(0);
            self.account(&state);
            if let Some(rare) = &mut state.cold {
                for waker in rare.waiting.drain(..) {
                    waker.wake();
                }
            }
            let own = state.cold.as_mut().map(|rare| rare.own.take());
            let exclusive = std::mem::take(&mut state.exclusive);
            (state.pinned.take(), exclusive, own.unwrap_or_default())
        };
        let exclusive = exclusive.into_iter().map(|(upstream, _)| upstream);
        for upstream in pinned.into_iter().chain(exclusive).chain(own) {
            upstream.close(Fault::Reset);
        }
    }
}

impl State {
    fn cold_state(&mut self) -> &mut ColdState {
        self.cold.get_or_insert_default()
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
        if let Some(rare) = &self.cold
            && let Some(turn) = &rare.turn
        {
            turn.wake_by_ref();
        }
    }
}
