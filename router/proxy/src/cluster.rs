//! A cluster as one worker sees it: endpoints, balancer, connections, and who waits for one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_config::{Address, Cluster, Endpoint};
use meltemi_frame::{Fault, Interest, OwnedMessage, Protocol, Session, Sharing};
use meltemi_router_core::Balancer;
use tokio::task::AbortHandle;

use crate::call::Call;
use crate::stats::{CLUSTER, Group, cluster};
use crate::upstream::Upstream;
use crate::worker::Worker;

/// An endpoint that could not be connected to is left alone this long, in microseconds, as long as
/// there are others.
const AVOID_US: u64 = 1_000_000;

/// A request at the head of a shared in-order connection that is older than this, in
/// microseconds, may be stuck: new requests go over another connection.
const STUCK_US: u64 = 100_000;

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

/// One server, at one address.
pub(crate) struct EndpointState {
    pub(crate) address: SocketAddr,
    pub(crate) definition: Endpoint,
    in_flight: Cell<u32>,
    avoid_until_us: Cell<u64>,
    /// It is not part of the cluster any more.
    pub(crate) retired: Cell<bool>,
    shared: RefCell<Vec<Rc<Upstream>>>,
    idle: RefCell<Vec<Rc<Upstream>>>,
}

/// Counts a request against its endpoint and cluster as long as it lives.
pub(crate) struct InFlight {
    endpoint: Rc<EndpointState>,
    counters: Rc<Counters>,
}

impl InFlight {
    pub(crate) fn new(endpoint: &Rc<EndpointState>, counters: &Rc<Counters>) -> Self {
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        counters.requests.set(counters.requests.get() + 1);
        Self {
            endpoint: Rc::clone(endpoint),
            counters: Rc::clone(counters),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint
            .in_flight
            .set(self.endpoint.in_flight.get().saturating_sub(1));
        self.counters
            .requests
            .set(self.counters.requests.get().saturating_sub(1));
    }
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
    pub(crate) endpoint: Rc<EndpointState>,
}

impl ClusterState {
    pub(crate) fn new(worker: &Rc<Worker>, config: &Arc<Cluster>) -> Rc<Self> {
        let state = Rc::new(Self {
            config: RefCell::new(Arc::clone(config)),
            endpoints: RefCell::default(),
            balancer: RefCell::new(Balancer::new(&config.balancing, &[], &[])),
            counters: Rc::default(),
            waiting: RefCell::default(),
            group: worker.stats.group(&CLUSTER, vec![config.name.clone()]),
            resolver: RefCell::default(),
        });
        state.configure();
        state
    }

    /// Takes over a changed definition.
    pub(crate) fn update(self: &Rc<Self>, config: &Arc<Cluster>) {
        *self.config.borrow_mut() = Arc::clone(config);
        self.configure();
    }

    fn configure(self: &Rc<Self>) {
        if let Some(resolver) = self.resolver.take() {
            resolver.abort();
        }
        let config = Arc::clone(&self.config.borrow());
        let named = config
            .endpoints
            .iter()
            .any(|e| matches!(e.address, Address::Name { .. }));
        if named {
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
    }

    /// Replaces the endpoints; connections to those that stay are kept, the others drain.
    pub(crate) fn set_endpoints(&self, wanted: Vec<(SocketAddr, Endpoint)>) {
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
            gone.retired.set(true);
            let mut connections = gone.shared.take();
            connections.append(&mut gone.idle.borrow_mut());
            for upstream in connections {
                upstream.drain();
            }
        }
        let weights: Vec<u32> = new.iter().map(|state| state.definition.weight).collect();
        let keys: Vec<u64> = new
            .iter()
            .map(|state| meltemi_router_core::stable_hash(state.address.to_string().as_bytes()))
            .collect();
        let config = self.config.borrow();
        *self.balancer.borrow_mut() = Balancer::new(&config.balancing, &weights, &keys);
        *self.endpoints.borrow_mut() = new;
    }

    /// The endpoint for a request.
    pub(crate) fn pick(&self, worker: &Worker, hash: Option<u64>) -> Option<Rc<EndpointState>> {
        let endpoints = self.endpoints.borrow();
        if let [only] = endpoints.as_slice() {
            return (only.definition.weight > 0).then(|| Rc::clone(only));
        }
        let now = worker.now_us();
        let load = |at: usize| {
            endpoints
                .get(at)
                .map_or(0, |endpoint| endpoint.in_flight.get())
        };
        let usable = |at: usize| {
            endpoints
                .get(at)
                .is_some_and(|e| e.avoid_until_us.get() <= now)
        };
        let mut balancer = self.balancer.borrow_mut();
        let mut random = || worker.random();
        // With every endpoint down, one of them is tried all the same: it may be back.
        let at = balancer
            .pick(hash, &mut random, &load, &usable)
            .or_else(|| balancer.pick(hash, &mut random, &load, &|_| true))?;
        endpoints.get(at).cloned()
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
        let config = Arc::clone(&self.config.borrow());
        if self.counters.requests.get() >= config.limits.requests {
            self.group.add(cluster::OVERFLOW, 1);
            return Acquired::Refused(Fault::Overload);
        }
        let exclusive = need.exclusive || self.sharing(need.protocol) == Sharing::Exclusive;
        if !exclusive
            && let Some(upstream) =
                endpoint.find_shared(worker, need, config.limits.shared_connections)
        {
            return Acquired::Upstream(upstream);
        }
        if let Some(upstream) = endpoint.take_idle(need.session) {
            if exclusive {
                return Acquired::Upstream(upstream);
            }
            upstream.become_shared();
            endpoint.shared.borrow_mut().push(Rc::clone(&upstream));
            return Acquired::Upstream(upstream);
        }
        if self.counters.connections.get() >= config.limits.connections {
            // An idle connection of another session or endpoint makes room.
            let idle = self
                .endpoints
                .borrow()
                .iter()
                .find_map(|other| other.idle.borrow_mut().pop());
            let Some(idle) = idle else {
                return Acquired::Busy;
            };
            idle.close(Fault::Overload);
        }
        let upstream = Upstream::connect(worker, self, endpoint, need, exclusive);
        if !exclusive {
            endpoint.shared.borrow_mut().push(Rc::clone(&upstream));
        }
        Acquired::Upstream(upstream)
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
        if !upstream.is_reusable() || upstream.endpoint.retired.get() {
            upstream.drain();
            return;
        }
        let next = {
            let mut queue = self.waiting.borrow_mut();
            let fits = |waiting: &Waiting| upstream.session().same(&waiting.session);
            queue.iter().position(fits).and_then(|at| queue.remove(at))
        };
        if let Some(waiting) = next {
            upstream.set_interest(waiting.interest);
            upstream.send_owned(worker, &waiting.message, waiting.call, waiting.deadline_ms);
        } else {
            upstream
                .endpoint
                .idle
                .borrow_mut()
                .push(Rc::clone(upstream));
            // Somebody of another session may wait: this one makes room.
            if !self.waiting.borrow().is_empty()
                && let Some(idle) = upstream.endpoint.idle.borrow_mut().pop()
            {
                idle.drain();
            }
        }
    }

    /// A connection is gone, so there is room for another.
    pub(crate) fn connection_closed(self: &Rc<Self>, worker: &Rc<Worker>, upstream: &Rc<Upstream>) {
        let counters = &self.counters;
        counters
            .connections
            .set(counters.connections.get().saturating_sub(1));
        self.group.subtract(cluster::ACTIVE, 1);
        upstream.endpoint.forget(upstream);
        let next = self.waiting.borrow_mut().pop_front();
        if let Some(waiting) = next {
            let Waiting {
                message,
                call,
                protocol,
                session,
                interest,
                endpoint,
                deadline_ms,
            } = waiting;
            let need = Need {
                protocol: &protocol,
                session: &session,
                exclusive: true,
                interest,
                affinity: 0,
            };
            let upstream = Upstream::connect(worker, self, &endpoint, &need, true);
            upstream.send_owned(worker, &message, call, deadline_ms);
        }
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Takes out requests that have waited too long.
    pub(crate) fn expired(&self, now_ms: u64) -> Vec<Call> {
        let mut queue = self.waiting.borrow_mut();
        let mut calls = Vec::new();
        if queue.iter().any(|waiting| waiting.deadline_ms <= now_ms) {
            queue.retain_mut(|waiting| {
                if waiting.deadline_ms > now_ms {
                    return true;
                }
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
                let shared = endpoint.shared.borrow().len();
                let idle = endpoint.idle.borrow().len();
                (endpoint.address, endpoint.in_flight.get(), shared, idle)
            })
            .collect()
    }
}

impl EndpointState {
    fn new(address: SocketAddr, definition: Endpoint) -> Self {
        Self {
            address,
            definition,
            in_flight: Cell::new(0),
            avoid_until_us: Cell::new(0),
            retired: Cell::new(false),
            shared: RefCell::default(),
            idle: RefCell::default(),
        }
    }

    fn find_shared(&self, worker: &Worker, need: &Need<'_>, most: usize) -> Option<Rc<Upstream>> {
        let shared = self.shared.borrow();
        let now = worker.now_us();
        let fits =
            |upstream: &&Rc<Upstream>| upstream.accepts() && upstream.session().same(need.session);
        let count = shared.iter().filter(fits).count();
        // Each client keeps to one connection, so that its requests travel and return together;
        // a connection whose oldest request seems stuck is left to those who are on it already.
        let place = usize::try_from(need.affinity % most.max(1) as u64).unwrap_or(0);
        if count <= place && count < most {
            return None;
        }
        let own = shared
            .iter()
            .filter(fits)
            .nth(place.min(count.saturating_sub(1)));
        let free = |upstream: &&Rc<Upstream>| upstream.oldest_us(now) < STUCK_US;
        let chosen = own
            .filter(free)
            .or_else(|| shared.iter().filter(fits).find(free))?;
        chosen.set_interest(need.interest);
        Some(Rc::clone(chosen))
    }

    fn take_idle(&self, session: &Session) -> Option<Rc<Upstream>> {
        let mut idle = self.idle.borrow_mut();
        let at = idle
            .iter()
            .rposition(|upstream| upstream.accepts() && upstream.session().same(session))?;
        Some(idle.remove(at))
    }

    /// The connection is in no list any more.
    pub(crate) fn forget(&self, upstream: &Rc<Upstream>) {
        self.shared
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, upstream));
        self.idle
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, upstream));
    }

    /// It could not be connected to.
    pub(crate) fn avoid(&self, worker: &Worker) {
        self.avoid_until_us.set(worker.now_us() + AVOID_US);
    }
}
