//! A cluster as one worker sees it: endpoints, balancer, connections, and who waits for one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_config::{Address, Cluster, Endpoint};
use meltemi_frame::{Bind, Fault, Interest, OwnedMessage, Protocol, Session, Sharing};
use meltemi_router_core::{Ask, Balancer, Endpoints, Fitness, Member};
use tokio::task::AbortHandle;

use crate::call::Call;
use crate::endpoint::EndpointState;
use crate::stats::{Group, cluster};
use crate::upstream::Upstream;
use crate::worker::Worker;

/// A cluster as one worker sees it. It outlives configurations, as its connections do.
pub(crate) struct ClusterState {
    pub(crate) config: RefCell<Arc<Cluster>>,
    endpoints: RefCell<Vec<Rc<EndpointState>>>,
    balancer: RefCell<Balancer>,
    pub(crate) counters: Rc<Counters>,
    waiting: RefCell<VecDeque<Waiting>>,
    pub(crate) group: Arc<Group>,
    resolver: RefCell<Option<AbortHandle>>,
}

/// What counts against the limits of a cluster.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) requests: Cell<usize>,
    pub(crate) connections: Cell<usize>,
}

/// What a request needs of a connection.
pub(crate) struct Need<'a> {
    pub(crate) protocol: &'a Arc<dyn Protocol>,
    pub(crate) session: &'a Session,
    /// Nobody else may use the connection at the same time.
    pub(crate) exclusive: bool,
    /// How deep responses must be looked at.
    pub(crate) interest: Interest,
    /// Spreads clients over the shared connections.
    pub(crate) affinity: u64,
}

/// A connection for a request, or what to do without.
pub(crate) enum Acquired {
    Upstream(Rc<Upstream>),
    /// Every connection is busy and no more may be made: the request may wait.
    Busy,
    Refused(Fault),
}

/// A request that waits for an exclusive connection.
pub(crate) struct Waiting {
    pub(crate) message: OwnedMessage,
    pub(crate) call: Option<Call>,
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) session: Session,
    pub(crate) interest: Interest,
    pub(crate) deadline_ms: u64,
    /// When it waits no longer.
    pub(crate) give_up_ms: u64,
    pub(crate) endpoint: Rc<EndpointState>,
    /// The request belongs to this endpoint and no other.
    pub(crate) hashed: bool,
}

impl Waiting {
    /// It waits no longer. Tells whether there is still somebody to serve.
    fn leave(&self) -> bool {
        let Some(caller) = self.call.as_ref().and_then(|call| call.caller.as_ref()) else {
            return true;
        };
        if self.message.head().bind == Bind::Once {
            caller.down.set_queued(false);
        }
        !caller.down.is_closed()
    }

    fn fits(&self, upstream: &Upstream) -> bool {
        upstream.serves(&self.protocol, &self.session)
            && (!self.hashed || Rc::ptr_eq(&self.endpoint, &upstream.endpoint))
    }
}

/// What the balancer asks.
struct Candidates<'a> {
    endpoints: &'a [Rc<EndpointState>],
    now_us: u64,
}

impl Endpoints for Candidates<'_> {
    fn fitness(&self, at: usize) -> Fitness {
        match self.endpoints.get(at) {
            Some(one) if one.is_usable(self.now_us) => Fitness::Fit,
            // With every endpoint down, one of them is tried all the same: it may be back.
            Some(_) => Fitness::Doubtful,
            None => Fitness::Unfit,
        }
    }

    fn load(&self, at: usize) -> u32 {
        self.endpoints.get(at).map_or(0, |one| one.in_flight())
    }
}

impl ClusterState {
    pub(crate) fn new(config: &Arc<Cluster>, group: Arc<Group>) -> Rc<Self> {
        let state = Rc::new(Self {
            config: RefCell::new(Arc::clone(config)),
            endpoints: RefCell::default(),
            balancer: RefCell::new(Balancer::new(config, &[])),
            counters: Rc::default(),
            waiting: RefCell::default(),
            group,
            resolver: RefCell::default(),
        });
        state.configure(false);
        state
    }

    /// Takes over a changed definition.
    pub(crate) fn update(self: &Rc<Self>, config: &Arc<Cluster>) {
        let before = self.config.replace(Arc::clone(config));
        let balanced = before.balancing == config.balancing
            && before.panic == config.panic
            && before.warmup == config.warmup
            && before.localities.shares == config.localities.shares;
        self.configure(balanced);
    }

    /// `balanced`: endpoints that stay as they are need no other balancer.
    fn configure(self: &Rc<Self>, balanced: bool) {
        if let Some(resolver) = self.resolver.take() {
            resolver.abort();
        }
        let config = Arc::clone(&self.config.borrow());
        let named = config
            .endpoints
            .iter()
            .any(|e| matches!(e.address, Address::Name { .. }));
        if named {
            if !balanced {
                self.balance();
            }
            let task = tokio::task::spawn_local(crate::dns::keep_resolved(Rc::downgrade(self)));
            *self.resolver.borrow_mut() = Some(task.abort_handle());
            return;
        }
        let endpoints = config
            .endpoints
            .iter()
            .filter_map(|endpoint| match endpoint.address {
                Address::Socket(address) => Some((address, endpoint.clone())),
                Address::Name { .. } => None,
            });
        self.set_endpoints(endpoints.collect());
        if !balanced {
            self.balance();
        }
    }

    /// Replaces the endpoints; connections to those that stay are kept, the others drain.
    pub(crate) fn set_endpoints(&self, wanted: Vec<(SocketAddr, Endpoint)>) {
        // Names are resolved often and change seldom; and a balancer can be costly to make.
        let same =
            |(state, (address, definition)): (&Rc<EndpointState>, &(SocketAddr, Endpoint))| {
                state.address == *address && state.definition == *definition
            };
        let unchanged = {
            let endpoints = self.endpoints.borrow();
            endpoints.len() == wanted.len() && endpoints.iter().zip(&wanted).all(same)
        };
        if unchanged {
            return;
        }
        let mut old = std::mem::take(&mut *self.endpoints.borrow_mut());
        let mut new = Vec::with_capacity(wanted.len());
        for (address, definition) in wanted {
            let kept = old
                .iter()
                .position(|state| state.address == address && state.definition == definition);
            new.push(kept.map_or_else(
                || Rc::new(EndpointState::new(address, definition)),
                |at| old.swap_remove(at),
            ));
        }
        for gone in old {
            gone.retire();
        }
        *self.endpoints.borrow_mut() = new;
        self.balance();
    }

    fn balance(&self) {
        let endpoints = self.endpoints.borrow();
        let members: Vec<Member<'_>> = endpoints
            .iter()
            .map(|state| Member {
                weight: state.definition.weight,
                key: meltemi_router_core::stable_hash(state.address.to_string().as_bytes()),
                priority: state.definition.priority,
                locality: &state.definition.locality,
            })
            .collect();
        *self.balancer.borrow_mut() = Balancer::new(&self.config.borrow(), &members);
    }

    /// The endpoint for a request.
    pub(crate) fn pick(&self, worker: &Worker, hash: Option<u64>) -> Option<Rc<EndpointState>> {
        let endpoints = self.endpoints.borrow();
        if let [only] = endpoints.as_slice() {
            return (only.definition.weight > 0).then(|| Rc::clone(only));
        }
        let candidates = Candidates {
            endpoints: &endpoints,
            now_us: worker.now_us(),
        };
        let ask = Ask {
            hash,
            now_us: candidates.now_us,
            ..Ask::default()
        };
        let mut balancer = self.balancer.borrow_mut();
        let choice = balancer.pick(&ask, &mut || worker.random(), &candidates)?;
        endpoints.get(choice.at).cloned()
    }

    /// How requests of this protocol share connections here.
    pub(crate) fn sharing(&self, protocol: &Arc<dyn Protocol>) -> Sharing {
        self.config
            .borrow()
            .sharing
            .unwrap_or(protocol.spec().sharing)
    }

    /// A connection to `endpoint`.
    pub(crate) fn acquire(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        endpoint: &Rc<EndpointState>,
        need: &Need<'_>,
    ) -> Acquired {
        let limits = self.config.borrow().limits;
        if self.counters.requests.get() >= limits.requests {
            self.group.add(cluster::OVERFLOW, 1);
            return Acquired::Refused(Fault::Overload);
        }
        let exclusive = need.exclusive || self.sharing(need.protocol) == Sharing::Exclusive;
        if !exclusive
            && let Some(upstream) = endpoint.find_shared(worker, need, limits.shared_connections)
        {
            return Acquired::Upstream(upstream);
        }
        if let Some(upstream) = endpoint.take_idle(need) {
            if !exclusive {
                upstream.become_shared();
                endpoint.share(&upstream);
            }
            return Acquired::Upstream(upstream);
        }
        let full = self.counters.connections.get() >= limits.connections;
        if full && !self.make_room() {
            if exclusive {
                return Acquired::Busy;
            }
            // Shared connections are not given back, so that there is nothing to wait for: any one
            // that fits is better, and an endpoint may always have one.
            if let Some(upstream) = endpoint.any_shared(need) {
                return Acquired::Upstream(upstream);
            }
            if endpoint.has_shared() {
                return Acquired::Busy;
            }
        }
        let upstream = Upstream::connect(worker, self, endpoint, need, exclusive);
        if !exclusive {
            endpoint.share(&upstream);
        }
        Acquired::Upstream(upstream)
    }

    /// Closes an idle connection, of another session or endpoint. Tells whether there was one.
    fn make_room(&self) -> bool {
        let endpoints = self.endpoints.borrow();
        let idle = endpoints.iter().find_map(|other| other.pop_idle());
        if let Some(idle) = &idle {
            idle.close(Fault::Overload);
        }
        idle.is_some()
    }

    /// Lets a request wait for a connection. Gives it back if too many wait already.
    pub(crate) fn wait(&self, waiting: Waiting) -> Result<(), Box<Waiting>> {
        let mut queue = self.waiting.borrow_mut();
        if queue.len() >= self.config.borrow().limits.pending {
            self.group.add(cluster::OVERFLOW, 1);
            return Err(Box::new(waiting));
        }
        queue.push_back(waiting);
        Ok(())
    }

    /// An exclusive connection has nothing to do: gives it to who waits, or keeps it.
    pub(crate) fn release(self: &Rc<Self>, worker: &Rc<Worker>, upstream: &Rc<Upstream>) {
        // One-way requests leave it free at once: a loop, as many of them may wait.
        while upstream.is_reusable() && !upstream.endpoint.retired.get() {
            match self.next_waiting(|waiting| waiting.fits(upstream)) {
                Some(waiting) => {
                    upstream.set_interest(waiting.interest);
                    if Self::serve(worker, upstream, waiting) {
                        return;
                    }
                }
                None if self.has_waiting() => break,
                None => return upstream.endpoint.keep(upstream),
            }
        }
        // It cannot be kept, or somebody waits for one of another kind and this one makes room.
        upstream.drain();
    }

    /// A connection is gone, so there is room for another.
    pub(crate) fn connection_closed(self: &Rc<Self>, worker: &Rc<Worker>, upstream: &Rc<Upstream>) {
        let counters = &self.counters;
        let open = counters.connections.get().saturating_sub(1);
        counters.connections.set(open);
        self.group.subtract(cluster::ACTIVE, 1);
        upstream.endpoint.forget(upstream);
        self.serve_waiting(worker);
    }

    /// Makes connections for those who wait, as many as there is room for: there may be more than
    /// the limit, as it may have been lowered, or room made before this.
    fn serve_waiting(self: &Rc<Self>, worker: &Rc<Worker>) {
        let most = self.config.borrow().limits.connections;
        while self.counters.connections.get() < most
            && let Some(mut waiting) = self.next_waiting(|_| true)
        {
            if waiting.endpoint.retired.get()
                && let Some(endpoint) = self.pick(worker, None)
            {
                waiting.endpoint = endpoint;
            }
            let need = Need {
                protocol: &waiting.protocol,
                session: &waiting.session,
                exclusive: true,
                interest: waiting.interest,
                affinity: 0,
            };
            let upstream = Upstream::connect(worker, self, &waiting.endpoint, &need, true);
            if !Self::serve(worker, &upstream, waiting) {
                upstream.done(worker);
            }
        }
    }

    /// Takes out the first that `fits` of those who wait and are still there.
    fn next_waiting(&self, fits: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        loop {
            let waiting = {
                let mut queue = self.waiting.borrow_mut();
                let at = queue.iter().position(&fits)?;
                queue.remove(at)?
            };
            if waiting.leave() {
                return Some(waiting);
            }
        }
    }

    /// Sends a request that waited. Tells whether its answer is owed now.
    fn serve(worker: &Rc<Worker>, upstream: &Rc<Upstream>, waiting: Waiting) -> bool {
        let caller = waiting.call.as_ref().and_then(|call| call.caller.as_ref());
        let down = caller.map(|caller| Rc::clone(&caller.down));
        if let Some(down) = &down {
            down.uses_alone(upstream, waiting.message.head().bind == Bind::Once);
        }
        let message = &mut waiting.message.message();
        match upstream.send(worker, message, waiting.call, waiting.deadline_ms) {
            Ok(_) => down.is_some(),
            Err(unsent) => {
                unsent.answer();
                if let Some(down) = &down {
                    down.after_reply(upstream);
                }
                false
            }
        }
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Takes out requests that have waited too long.
    pub(crate) fn expired(&self, now_ms: u64) -> Vec<Call> {
        let mut queue = self.waiting.borrow_mut();
        let mut calls = Vec::new();
        if queue.iter().any(|waiting| waiting.give_up_ms <= now_ms) {
            queue.retain_mut(|waiting| {
                if waiting.give_up_ms > now_ms {
                    return true;
                }
                waiting.leave();
                calls.extend(waiting.call.take());
                false
            });
        }
        calls
    }

    /// The configuration has no such cluster any more: everything drains.
    pub(crate) fn retire(&self) {
        if let Some(resolver) = self.resolver.take() {
            resolver.abort();
        }
        self.set_endpoints(Vec::new());
    }

    /// Address, labels, requests in flight and connections of every endpoint.
    pub(crate) fn endpoint_lines(&self) -> Vec<(SocketAddr, u32, usize, usize)> {
        self.endpoints
            .borrow()
            .iter()
            .map(|endpoint| {
                let (shared, idle) = endpoint.connections();
                (endpoint.address, endpoint.in_flight(), shared, idle)
            })
            .collect()
    }
}
