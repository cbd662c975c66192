//! One upstream connection: its output, and who waits for what on it. Downstream tasks append here;
//! the connection's own task (`upstream_task`) moves the bytes.

mod account;
pub(crate) mod connector;
mod ending;
mod heartbeat;
pub(crate) mod in_flight;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;

use meltemi_frame::{
    Bind, Codec, Fault, Interest, Message, Output, Protocol, Session, Sharing, Side,
};

use crate::call::{Call, Place};
use crate::cluster::endpoint::EndpointState;
use crate::cluster::{ClusterState, Need};
use crate::context::WorkerContext;
use crate::context::memory::{Memory, Share};
use crate::downstream::Downstream;
use crate::telemetry::stats::cluster;
use crate::upstream::in_flight::{Calls, Unsent};

/// Requests in flight from which a shared connection is busy: clients share one as long as it is not, as
/// what travels together costs less, and spread over several when it is.
const BUSY: usize = 64;

/// One upstream connection.
pub(crate) struct Upstream {
    pub(crate) cluster: Rc<ClusterState>,
    pub(crate) endpoint: Rc<EndpointState>,
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) state: RefCell<State>,
    /// More than this may not wait to be written before downstreams are held back, in bytes.
    cap: usize,
    /// When the last request went out, and the last byte came in.
    active_us: Cell<u64>,
    heard_us: Cell<u64>,
    spared_us: Cell<u64>,
    /// A request's time ran out, and nothing was answered since.
    mute: Cell<bool>,
    /// It is among the idle ones of its endpoint.
    kept: Cell<bool>,
    /// The client of the reply that is coming does not keep up.
    slow: Cell<bool>,
    /// A heartbeat is not answered yet.
    asked: Cell<bool>,
    /// Bytes of messages that are not whole yet, or not taken.
    input: Cell<usize>,
    /// What it has reported of the bytes that it holds.
    share: Share,
    memory: Arc<Memory>,
}

pub(crate) struct State {
    pub(crate) codec: Box<dyn Codec>,
    pub(crate) out: Output,
    /// Bytes that have left the output for the socket.
    pub(crate) written: u64,
    pub(crate) calls: Calls,
    pub(crate) phase: Phase,
    pub(crate) interest: Interest,
    /// The response that is coming in pieces: its wire id, or the head of the order.
    pub(crate) streaming: Option<i64>,
    pub(crate) waker: Option<Waker>,
    /// Downstreams that wait until there is room in the output.
    pub(crate) blocked: Vec<Waker>,
    session: Session,
    exclusive: bool,
    /// A request is going out in pieces.
    sending: bool,
    pinned_to: Option<Weak<Downstream>>,
    /// The client that it belongs to as long as that is connected.
    owner: Option<Weak<Downstream>>,
    /// Why it was closed from this side.
    pub(crate) closed_for: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Open,
    /// No new requests; closes when nothing is in flight.
    Draining,
    Closed,
}

impl Upstream {
    /// Starts a connection, which is counted already. Requests can be sent at once: they wait in the
    /// output.
    pub(crate) fn connect(
        worker: &Rc<WorkerContext>,
        cluster: &Rc<ClusterState>,
        endpoint: &Rc<EndpointState>,
        need: &Need<'_>,
        exclusive: bool,
    ) -> Rc<Self> {
        let multiplexed = cluster.sharing(need.protocol) == Sharing::Multiplexed;
        let calls = Calls::new(need.protocol.spec(), multiplexed && !exclusive);
        let config = cluster.config.borrow();
        let mut out = Output::new();
        out.put(need.session.preamble());
        let upstream = Rc::new(Self {
            cluster: Rc::clone(cluster),
            endpoint: Rc::clone(endpoint),
            protocol: Arc::clone(need.protocol),
            cap: config.limits.output,
            active_us: Cell::new(worker.now_us()),
            heard_us: Cell::new(worker.now_us()),
            spared_us: Cell::new(0),
            mute: Cell::new(false),
            kept: Cell::new(false),
            slow: Cell::new(false),
            asked: Cell::new(false),
            input: Cell::new(0),
            share: Share::default(),
            memory: Arc::clone(&worker.services.memory),
            state: RefCell::new(State {
                codec: need
                    .protocol
                    .codec(Side::Client, &worker.codec_limits(), need.session),
                out,
                written: 0,
                calls,
                phase: Phase::Connecting,
                interest: need.interest,
                streaming: None,
                waker: None,
                blocked: Vec::new(),
                session: need.session.clone(),
                exclusive,
                sending: false,
                pinned_to: None,
                owner: None,
                closed_for: None,
            }),
        });
        cluster.group.add(cluster::ACTIVE, 1);
        cluster
            .connector
            .start(worker, &upstream, config.connect_timeout);
        upstream
    }

    /// Sends a request, or a piece of one, and remembers who waits for its response. Tells whether
    /// the output is over its cap.
    ///
    /// # Errors
    /// The fault to answer with, and the call to answer.
    pub(crate) fn send(
        self: &Rc<Self>,
        worker: &WorkerContext,
        message: &mut Message<'_>,
        call: Option<Box<Call>>,
        deadline_ms: u64,
    ) -> Result<bool, Box<Unsent>> {
        let mut state = self.state.borrow_mut();
        // One that comes in pieces, or belongs to a connection that is there, is never taken back.
        let free = message.head.bind != Bind::Pin && state.pinned_to.is_none();
        let whole = message.head.end && (free || state.phase == Phase::Connecting);
        let State {
            codec,
            out,
            written,
            calls,
            phase,
            ..
        } = &mut *state;
        if *phase == Phase::Closed {
            return Err(Unsent::new(
                Fault::Reset,
                "the upstream connection has ended",
                call,
            ));
        }
        let before = out.len();
        let start = *written + before as u64;
        let place = |out: &Output| Place {
            start,
            length: if whole { out.len() - before } else { 0 },
        };
        let wants_answer = call.is_some();
        match (calls, call) {
            (Calls::ById(pending), Some(call)) => {
                if pending.is_full() {
                    let text = "no request id is free";
                    return Err(Unsent::new(Fault::Overload, text, Some(call)));
                }
                let Some(id) = pending.insert(call, deadline_ms) else {
                    return Err(Unsent::new(Fault::Overload, "no request id", None));
                };
                message.set_id(id);
                if let Err(error) = codec.encode(message, out) {
                    return Err(Unsent::new(
                        Fault::Unsupported,
                        error.to_string(),
                        pending.remove(id),
                    ));
                }
                if let Some(call) = pending.get_mut(id) {
                    call.place = place(out);
                }
            }
            (Calls::InOrder(fifo), Some(mut call)) => {
                if let Err(error) = codec.encode(message, out) {
                    return Err(Unsent::new(
                        Fault::Unsupported,
                        error.to_string(),
                        Some(call),
                    ));
                }
                call.place = place(out);
                // More than was asked: what is added for this connection is nothing elsewhere.
                if call.place.length > message.wire().len() && message.edits().is_empty() {
                    match message.head.bind {
                        Bind::Free | Bind::Dedicated => call.keep_whole(message),
                        Bind::Pin | Bind::Session | Bind::Login => call.place.length = 0,
                    }
                }
                call.sent_us = worker.now_us();
                fifo.push(call, deadline_ms);
            }
            (_, None) => {
                if let Err(error) = codec.encode(message, out) {
                    return Err(Unsent::new(Fault::Unsupported, error.to_string(), None));
                }
            }
        }
        let after = out.len();
        self.cluster
            .group
            .add(cluster::TX_BYTES, (after - before) as u64);
        self.active_us.set(worker.now_us());
        if wants_answer {
            worker.something_pending();
        }
        if before == 0
            && let Some(waker) = &state.waker
        {
            waker.wake_by_ref();
        }
        self.account(worker, after);
        Ok(after > self.cap())
    }

    /// Something has ended here: if nothing else goes on, and the connection is nobody's, it goes
    /// back to its cluster.
    pub(crate) fn done(self: &Rc<Self>, worker: &Rc<WorkerContext>) {
        self.mute.set(false);
        let free = {
            let state = self.state.borrow();
            let free = state.exclusive && state.owner.is_none();
            free && state.is_at_rest() && !self.kept.get()
        };
        if free {
            self.cluster.release(worker, self);
        }
    }

    /// Whether requests of this protocol and session may be sent here.
    pub(crate) fn serves(&self, protocol: &Arc<dyn Protocol>, session: &Session) -> bool {
        // The same protocol, not one of the same name: what is declared may have changed.
        Arc::ptr_eq(&self.protocol, protocol) && self.state.borrow().session.same(session)
    }

    /// Whether a new request may be sent here.
    pub(crate) fn fits(&self, need: &Need<'_>) -> bool {
        self.accepts() && self.serves(need.protocol, need.session)
    }

    /// The connection is of another session now, by a request that it carried.
    pub(crate) fn adopt(&self, session: Session) {
        let mut state = self.state.borrow_mut();
        state.codec.adopt(&session);
        state.session = session;
    }

    /// Responses must be looked at at least this deep from here on.
    pub(crate) fn set_interest(&self, interest: Interest) {
        let mut state = self.state.borrow_mut();
        state.interest = state.interest.max(interest);
    }

    /// New requests may be sent here.
    pub(crate) fn accepts(&self) -> bool {
        matches!(self.state.borrow().phase, Phase::Connecting | Phase::Open)
    }

    /// Nothing is owed in either direction.
    pub(crate) fn is_reusable(&self) -> bool {
        let state = self.state.borrow();
        matches!(state.phase, Phase::Connecting | Phase::Open)
            && state.is_at_rest()
            && state.streaming.is_none()
    }

    /// How long the oldest request of an in-order connection has waited, in microseconds.
    pub(crate) fn oldest_us(&self, now_us: u64) -> u64 {
        self.state.borrow_mut().calls.oldest_us(now_us)
    }

    /// An exclusive connection may be shared from here on.
    pub(crate) fn become_shared(&self) {
        self.state.borrow_mut().exclusive = false;
    }

    /// Ties the connection to one downstream: what it pushes goes there.
    pub(crate) fn pin(&self, down: &Rc<Downstream>) {
        self.state.borrow_mut().pinned_to = Some(Rc::downgrade(down));
    }

    pub(crate) fn pinned_to(&self) -> Option<Rc<Downstream>> {
        self.state
            .borrow()
            .pinned_to
            .as_ref()
            .and_then(Weak::upgrade)
    }

    /// Gives the connection to one client. Calls of the server go there.
    pub(crate) fn set_owner(&self, down: &Rc<Downstream>) {
        self.state.borrow_mut().owner = Some(Rc::downgrade(down));
    }

    /// The client that it belongs to.
    pub(crate) fn owner(&self) -> Option<Rc<Downstream>> {
        self.state.borrow().owner.as_ref().and_then(Weak::upgrade)
    }

    /// Unties it. One that is not clean is closed.
    pub(crate) fn unpin(self: &Rc<Self>, worker: &Rc<WorkerContext>, clean: bool) {
        self.state.borrow_mut().pinned_to = None;
        if clean {
            self.done(worker);
        } else {
            self.close(Fault::Reset);
        }
    }

    /// Whether a request is going out in pieces.
    pub(crate) fn set_sending(&self, sending: bool) {
        self.state.borrow_mut().sending = sending;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().phase == Phase::Closed
    }

    /// Whether it is among the idle ones of its endpoint.
    pub(crate) const fn is_kept(&self) -> bool {
        self.kept.get()
    }

    pub(crate) fn set_kept(&self, kept: bool) {
        self.kept.set(kept);
    }

    pub(crate) fn is_exclusive(&self) -> bool {
        self.state.borrow().exclusive
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.state.borrow().pinned_to.is_some()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.state.borrow().calls.len()
    }

    /// Whether replies come in the order of the requests.
    pub(crate) fn answers_in_order(&self) -> bool {
        matches!(self.state.borrow().calls, Calls::InOrder(_))
    }

    /// Whether the sweep has to look at deadlines here.
    pub(crate) fn has_deadline(&self) -> bool {
        self.state.borrow().calls.has_deadline()
    }

    /// The downstream is woken when there is room in the output again. Tells whether it has to wait.
    pub(crate) fn is_full(&self, waker: &Waker) -> bool {
        let mut state = self.state.borrow_mut();
        if state.phase == Phase::Closed || state.out.len() <= self.cap() {
            return false;
        }
        if !state.blocked.iter().any(|other| other.will_wake(waker)) {
            state.blocked.push(waker.clone());
        }
        true
    }

    /// Gives back memory that a connection without anything to write does not need.
    pub(crate) fn trim(&self) {
        self.state.borrow_mut().out.shrink(0);
    }

    /// Microseconds since the last request.
    pub(crate) const fn idle_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.active_us.get())
    }

    /// When the last request went out, in microseconds of the worker's clock.
    pub(crate) const fn active_us(&self) -> u64 {
        self.active_us.get()
    }

    /// Microseconds since the last request, or since it was last kept for a client that is connected.
    pub(crate) fn unwanted_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.active_us.get().max(self.spared_us.get()))
    }

    /// A client is connected that may come back to it.
    pub(crate) fn spare(&self, now_us: u64) {
        self.spared_us.set(now_us);
    }

    /// The state that it is in, beyond being connected.
    pub(crate) fn session(&self) -> Session {
        self.state.borrow().session.clone()
    }

    /// It has so much to do that others had better do some of it.
    pub(crate) fn is_busy(&self) -> bool {
        self.state.borrow().calls.len() >= BUSY
    }

    /// Whether the client of the reply that is coming does not keep up: requests of others had better go by
    /// another connection.
    pub(crate) const fn is_slow(&self) -> bool {
        self.slow.get()
    }

    pub(crate) fn set_slow(&self, slow: bool) {
        self.slow.set(slow);
    }

    /// Whether it owes answers to this client, and to nobody else.
    pub(crate) fn serves_only(&self, down: &Rc<Downstream>) -> bool {
        self.state.borrow().calls.are_all_of(down)
    }

    /// Whether the next answer is for this client, as far as is known.
    pub(crate) fn goes_on_for(&self, down: &Rc<Downstream>) -> bool {
        self.state.borrow_mut().calls.go_on_for(down)
    }

    /// More waits to be written than may.
    pub(crate) fn is_over_cap(&self) -> bool {
        self.state.borrow().out.len() > self.cap()
    }
}

impl State {
    /// Nothing goes on in either direction, and nobody holds the connection.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.calls.len() == 0 && !self.sending && self.pinned_to.is_none()
    }

    /// Remembers the connection's task, which is woken when there is something to do.
    pub(crate) fn remember(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|own| own.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}
