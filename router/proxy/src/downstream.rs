//! One downstream connection: its output buffer and the order of its replies. Upstream tasks append
//! replies here. The connection's own task (`tasks::downstream`) writes the bytes to the socket.

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

pub(crate) struct Downstream {
    pub(crate) worker: Rc<WorkerContext>,
    pub(crate) peer: SocketAddr,
    /// The local port that accepted the connection.
    port: u16,
    /// The client's number. It spreads clients over shared upstream connections.
    pub(crate) number: u64,
    /// Times of the last activity, for the sweep.
    pub(crate) activity: Activity,
    /// The memory that the connection last reported.
    share: Share,
    /// The listener's configuration that this connection uses.
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
    /// Upstream connections that may carry requests of this client.
    affinity: Affinity,
    /// Upstream connections that serve only this client at the moment. `true` if the request is
    /// useful only while the client is connected.
    exclusive: Vec<(Rc<Upstream>, bool)>,
    /// The client's session, saved when the connection closed.
    last: Session,
    cold: Option<Box<ColdState>>,
    /// The pinned upstream connection ended. The client's connection ends too, once its output is
    /// written.
    ending: bool,
}

/// State that most connections need never or only for a while. Created on demand and freed when the
/// connection is idle.
#[derive(Default)]
struct ColdState {
    /// Upstream tasks that wait until this client has read.
    waiting: Vec<Waker>,
    /// Bytes that the client has read since this state was created.
    taken: u64,
    /// Delayed requests: all of them, the ones that wait for a connection, and the ones that are
    /// useful only while the client is connected.
    held: usize,
    in_queue: usize,
    blocking: usize,
    /// The task to wake when a request of this client ends.
    turn: Option<Waker>,
    /// Delayed requests in client order, and whether the drain task runs.
    delayed: VecDeque<Delayed>,
    resuming: bool,
    /// Bytes of all delayed requests.
    delayed_bytes: usize,
    /// Upstream connections owned by this client, and the server calls on them.
    own: Own,
    /// The upstream session of the last request with its two keys, cached so that it is not
    /// composed again.
    composed: Option<(u64, u64, Session)>,
}

impl ColdState {
    /// Returns `true` if nothing in it is in use.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.delayed.is_empty()
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

    /// Returns the listener's configuration if it is not `known`.
    pub(crate) fn other_view(&self, known: &Rc<ListenerView>) -> Option<Rc<ListenerView>> {
        let view = self.view.borrow();
        (!Rc::ptr_eq(&view, known)).then(|| Rc::clone(&view))
    }

    /// Replaces the listener's configuration.
    pub(crate) fn set_view(&self, view: &Rc<ListenerView>) {
        *self.view.borrow_mut() = Rc::clone(view);
    }

    /// Returns the values that request and response changes can use.
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

    pub(crate) fn count(&self, index: usize, more: u64) {
        self.view.borrow().group.add(index, more);
    }

    pub(crate) fn count_fault(&self, fault: Fault) {
        self.worker
            .count_fault(&self.view.borrow().listener.name, fault);
    }

    /// Sets the codec once the protocol is known.
    pub(crate) fn speak(&self, codec: Box<dyn Codec>, in_order: bool) {
        let mut state = self.state.borrow_mut();
        state.codec = Some(codec);
        state.replies = Replies::new(in_order);
    }

    /// Returns the connection's codec, if the protocol is known. The rest of the connection must
    /// not be used while the codec is borrowed.
    #[inline]
    pub(crate) fn codec(&self) -> Option<RefMut<'_, Box<dyn Codec>>> {
        RefMut::filter_map(self.state.borrow_mut(), |state| state.codec.as_mut()).ok()
    }

    /// Opens a slot in the reply order for a request. Returns it with the data that the reply will
    /// need.
    pub(crate) fn open(&self, request: &Message<'_>) -> (u64, ReplyContext) {
        let mut state = self.state.borrow_mut();
        state.in_flight += 1;
        let seq = state.replies.open();
        let receipt = state.codec.as_ref().map(|codec| codec.receipt(request));
        (seq, receipt.unwrap_or_default())
    }

    /// Opens a slot in the reply order.
    fn open_slot(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        state.in_flight += 1;
        state.replies.open()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.state.borrow().in_flight
    }

    /// Sends a piece of a response that is not the last one.
    pub(crate) fn piece(&self, seq: u64, message: &Message<'_>) -> Pressure {
        self.put(seq, &Piece::Message(message))
    }

    /// Sends a whole response, or its last piece.
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

    /// Replies with a fault of the proxy.
    pub(crate) fn fail(&self, seq: u64, receipt: &ReplyContext, reason: Reason, text: &str) {
        self.put(seq, &Piece::Fault(receipt, reason, text));
    }

    /// Replies to a request that could not be decoded.
    pub(crate) fn reject(&self, receipt: &ReplyContext, fault: Fault, text: &str) {
        self.count_fault(fault);
        let seq = self.open_slot();
        self.put(seq, &Piece::Fault(receipt, fault.reason(), text));
    }

    /// Sends the codec's own reply to a request that already has a slot.
    pub(crate) fn answer_deferred(&self, seq: u64, receipt: &ReplyContext) {
        self.put(seq, &Piece::Own(receipt));
    }

    /// Sends the codec's own reply.
    pub(crate) fn answer_own(&self, receipt: &ReplyContext) {
        let seq = self.open_slot();
        self.put(seq, &Piece::Own(receipt));
    }

    pub(crate) fn answer_ping(&self, receipt: &ReplyContext) {
        let seq = self.open_slot();
        self.put(seq, &Piece::Pong(receipt));
    }

    /// Asks the client to send its next requests elsewhere, if the protocol supports that.
    pub(crate) fn go_away(&self) {
        let mut state = self.state.borrow_mut();
        let State { codec, out, .. } = &mut *state;
        if let Some(codec) = codec {
            // Ignored if the protocol cannot express it: the client notices when the connection
            // closes.
            let _ = codec.synthesize(LocalMessage::GoAway, out);
        }
        state.wake();
    }

    /// Sends a message of the pinned upstream that is not a response.
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
            // A reply that fails after it began ends the connection, as on a direct connection.
            *ending |= replies.put(seq, piece, codec.as_mut(), out).is_err();
        }
        let after = state.out.len();
        self.count(listener::TX_BYTES, (after - before) as u64);
        state.wake();
        self.pressure(&mut state, Some(seq), after - before)
    }

    /// Returns the peer for policy checks.
    pub(crate) fn identity(&self) -> Peer {
        Peer::new(self.peer, self.peer.ip(), self.port, None)
    }

    /// Returns `true` if the connection must close after its output is written.
    pub(crate) fn is_ending(&self) -> bool {
        self.state.borrow().ending
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Closes the connection at once.
    pub(crate) fn kill(&self) {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        state.wake();
    }

    pub(crate) fn wake(&self) {
        self.state.borrow().wake();
    }

    /// Frees memory that an idle connection does not need.
    pub(crate) fn trim(&self) {
        let mut state = self.state.borrow_mut();
        if state.in_flight == 0 {
            state.out.shrink(0);
            state.replies.trim();
            state.affinity.forget();
            state.cold.take_if(|cold| cold.is_idle());
            state.exclusive.shrink_to_fit();
        }
    }

    /// Cleans up after the connection closed. Closes the upstream connections that serve only this
    /// client.
    pub(crate) fn gone(&self) {
        let (pinned, exclusive, own) = {
            let mut state = self.state.borrow_mut();
            state.closed = true;
            // Requests in flight keep this object alive for a while, so the buffers are freed now.
            state.out = Output::new();
            state.affinity = Affinity::default();
            if let Some(codec) = state.codec.take() {
                state.last = codec.session();
            }
            state.replies = Replies::new(false);
            self.activity.input.set(0);
            self.account(&state);
            if let Some(cold) = &mut state.cold {
                for waker in cold.waiting.drain(..) {
                    waker.wake();
                }
            }
            let own = state.cold.as_mut().map(|cold| cold.own.take());
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
        if let Some(cold) = &self.cold
            && let Some(turn) = &cold.turn
        {
            turn.wake_by_ref();
        }
    }
}
