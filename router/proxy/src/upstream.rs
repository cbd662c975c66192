//! One upstream connection: its output buffer, and the requests that wait for responses on it.
//! Downstream tasks append requests here. The connection's own task (`tasks::upstream`) writes the
//! bytes to the socket.

mod account;
pub(crate) mod connector;
mod ending;
mod heartbeat;
pub(crate) mod in_flight;
mod sending;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;

use meltemi_frame::{Codec, Fault, Interest, Output, Protocol, Session, Sharing, Side};

use crate::cluster::endpoint::EndpointState;
use crate::cluster::{ClusterState, Need};
use crate::context::WorkerContext;
use crate::context::memory::{Memory, Share};
use crate::downstream::Downstream;
use crate::telemetry::stats::cluster;
use crate::upstream::in_flight::Calls;

/// A shared connection with this many requests in flight counts as busy. Below this number clients
/// share one connection, because batched writes cost less. Above it they spread over several
/// connections.
const BUSY: usize = 64;

pub(crate) struct Upstream {
    pub(crate) cluster: Rc<ClusterState>,
    pub(crate) endpoint: Rc<EndpointState>,
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) state: RefCell<State>,
    /// The largest number of bytes in the output before downstreams must wait.
    cap: usize,
    /// Times of the last request and of the last received byte.
    active_us: Cell<u64>,
    heard_us: Cell<u64>,
    spared_us: Cell<u64>,
    /// A request timed out, and no response has arrived since.
    mute: Cell<bool>,
    /// The connection is in the idle list of its endpoint.
    kept: Cell<bool>,
    /// The client of the current response reads too slowly.
    slow: Cell<bool>,
    /// A heartbeat was sent and is not answered yet.
    asked: Cell<bool>,
    /// Received bytes that are still in the buffer: a partial message, or messages that are not
    /// processed yet.
    input: Cell<usize>,
    /// The memory that the connection last reported.
    share: Share,
    memory: Arc<Memory>,
}

pub(crate) struct State {
    pub(crate) codec: Box<dyn Codec>,
    pub(crate) out: Output,
    /// Bytes that were moved from the output to the socket.
    pub(crate) written: u64,
    pub(crate) calls: Calls,
    pub(crate) phase: Phase,
    pub(crate) interest: Interest,
    /// The response that is being received in pieces: its wire id, or the first request of the
    /// queue.
    pub(crate) streaming: Option<i64>,
    pub(crate) waker: Option<Waker>,
    /// Downstreams that wait for room in the output.
    pub(crate) blocked: Vec<Waker>,
    session: Session,
    exclusive: bool,
    /// A request is being sent in pieces.
    sending: bool,
    pinned_to: Option<Weak<Downstream>>,
    /// The client that owns the connection while the client is connected.
    owner: Option<Weak<Downstream>>,
    /// Why the proxy closed the connection.
    pub(crate) closed_for: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Open,
    /// Accepts no new requests. Closes when nothing is in flight.
    Draining,
    Closed,
}

impl Upstream {
    /// Starts to connect. The caller has already counted the connection. Requests can be sent at
    /// once: they wait in the output.
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

    /// Handles the end of a reply or of a send. Returns the connection to its cluster if nothing
    /// else is in progress and no client owns it.
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

    /// Returns `true` if requests of this protocol and session may be sent here.
    pub(crate) fn serves(&self, protocol: &Arc<dyn Protocol>, session: &Session) -> bool {
        // Compares pointers, not names: a protocol of the same name may have another definition
        // after a configuration change.
        Arc::ptr_eq(&self.protocol, protocol) && self.state.borrow().session.same(session)
    }

    /// Returns `true` if a new request may be sent here.
    pub(crate) fn fits(&self, need: &Need<'_>) -> bool {
        self.accepts() && self.serves(need.protocol, need.session)
    }

    /// Sets the session after a request changed it.
    pub(crate) fn adopt(&self, session: Session) {
        let mut state = self.state.borrow_mut();
        state.codec.adopt(&session);
        state.session = session;
    }

    /// Parses responses at least this deep from now on.
    pub(crate) fn set_interest(&self, interest: Interest) {
        let mut state = self.state.borrow_mut();
        state.interest = state.interest.max(interest);
    }

    /// Returns `true` if new requests may be sent here.
    pub(crate) fn accepts(&self) -> bool {
        matches!(self.state.borrow().phase, Phase::Connecting | Phase::Open)
    }

    /// Returns `true` if the connection is open and nothing is in progress on it.
    pub(crate) fn is_reusable(&self) -> bool {
        let state = self.state.borrow();
        matches!(state.phase, Phase::Connecting | Phase::Open)
            && state.is_at_rest()
            && state.streaming.is_none()
    }

    /// Returns the age of the oldest request of an in-order connection, in microseconds.
    pub(crate) fn oldest_us(&self, now_us: u64) -> u64 {
        self.state.borrow_mut().calls.oldest_us(now_us)
    }

    /// Makes an exclusive connection shared.
    pub(crate) fn become_shared(&self) {
        self.state.borrow_mut().exclusive = false;
    }

    /// Pins the connection to one downstream. The downstream gets all messages that the server
    /// pushes.
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

    /// Sets the client that owns the connection. The client gets the callbacks of the server.
    pub(crate) fn set_owner(&self, down: &Rc<Downstream>) {
        self.state.borrow_mut().owner = Some(Rc::downgrade(down));
    }

    pub(crate) fn owner(&self) -> Option<Rc<Downstream>> {
        self.state.borrow().owner.as_ref().and_then(Weak::upgrade)
    }

    /// Removes the pin. Closes the connection if it is not `clean`.
    pub(crate) fn unpin(self: &Rc<Self>, worker: &Rc<WorkerContext>, clean: bool) {
        self.state.borrow_mut().pinned_to = None;
        if clean {
            self.done(worker);
        } else {
            self.close(Fault::Reset);
        }
    }

    pub(crate) fn set_sending(&self, sending: bool) {
        self.state.borrow_mut().sending = sending;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().phase == Phase::Closed
    }

    /// Returns `true` if the connection is in the idle list of its endpoint.
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

    /// Returns `true` if responses arrive in request order.
    pub(crate) fn answers_in_order(&self) -> bool {
        matches!(self.state.borrow().calls, Calls::InOrder(_))
    }

    /// Returns `true` if the sweep must check deadlines here.
    pub(crate) fn has_deadline(&self) -> bool {
        self.state.borrow().calls.has_deadline()
    }

    /// Returns `true` if the downstream must wait. It is then woken when there is room in the
    /// output.
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

    pub(crate) fn trim(&self) {
        self.state.borrow_mut().out.shrink(0);
    }

    /// Returns the time since the last request, in microseconds.
    pub(crate) const fn idle_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.active_us.get())
    }

    /// Returns the time of the last request, in microseconds of the worker's clock.
    pub(crate) const fn active_us(&self) -> u64 {
        self.active_us.get()
    }

    /// Returns the microseconds since the last request, or since the connection was last spared for
    /// a connected client.
    pub(crate) fn unwanted_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.active_us.get().max(self.spared_us.get()))
    }

    /// Restarts the time that `unwanted_us` measures, because a connected client may use the
    /// connection again.
    pub(crate) fn spare(&self, now_us: u64) {
        self.spared_us.set(now_us);
    }

    /// Returns the session of the connection, for example its login.
    pub(crate) fn session(&self) -> Session {
        self.state.borrow().session.clone()
    }

    /// Returns `true` if other connections should take new requests.
    pub(crate) fn is_busy(&self) -> bool {
        self.state.borrow().calls.len() >= BUSY
    }

    /// Returns `true` if the client of the current response reads too slowly. Requests of other
    /// clients should use another connection.
    pub(crate) const fn is_slow(&self) -> bool {
        self.slow.get()
    }

    pub(crate) fn set_slow(&self, slow: bool) {
        self.slow.set(slow);
    }

    /// Returns `true` if there are calls in flight and all of them belong to this client.
    pub(crate) fn serves_only(&self, down: &Rc<Downstream>) -> bool {
        self.state.borrow().calls.are_all_of(down)
    }

    /// Returns `true` if the next response belongs to this client, as far as can be known.
    pub(crate) fn goes_on_for(&self, down: &Rc<Downstream>) -> bool {
        self.state.borrow_mut().calls.go_on_for(down)
    }

    /// Returns `true` if the output is over its limit.
    pub(crate) fn is_over_cap(&self) -> bool {
        self.state.borrow().out.len() > self.cap()
    }
}

impl State {
    /// Returns `true` if nothing is in progress and the connection is not pinned.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.calls.len() == 0 && !self.sending && self.pinned_to.is_none()
    }

    pub(crate) fn remember(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|own| own.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}
