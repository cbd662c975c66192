//! A cluster as one worker sees it: endpoints, balancer, connections, and who waits for one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_config::{Address, Cluster, Endpoint};
use meltemi_frame::{Bind, Fault, Interest, OwnedMessage, Protocol, Session, Sharing};
use meltemi_router_core::{
    Admission, Ask, Balancer, Endpoints, Fitness, Fleet, Member, Outcome, Vitals,
};
use tokio::task::AbortHandle;

use crate::call::Call;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::endpoint::{EndpointState, InFlight};
use crate::fitness::CompiledCluster;
use crate::stats::{Group, cluster};
use crate::upstream::Upstream;
use crate::worker::Worker;

/// A cluster as one worker sees it. It outlives configurations, as its connections do.
pub(crate) struct ClusterState {
    pub(crate) config: RefCell<Arc<Cluster>>,
    endpoints: RefCell<Vec<Rc<EndpointState>>>,
    balancer: RefCell<Balancer>,
    pub(crate) counters: Arc<Counters>,
    /// What all workers know of its endpoints, where that is watched.
    fleet: RefCell<Option<Arc<Fleet>>>,
    waiting: RefCell<VecDeque<Waiting>>,
    pub(crate) group: Arc<Group>,
    resolver: RefCell<Option<AbortHandle>>,
    clock: Clock,
}

/// The endpoints, as a balancer asks about them.
struct Fit<'a> {
    endpoints: &'a [Rc<EndpointState>],
    now_us: u64,
}

impl Endpoints for Fit<'_> {
    fn fitness(&self, at: usize) -> Fitness {
        let endpoint = self.endpoints.get(at);
        endpoint.map_or(Fitness::Unfit, |endpoint| endpoint.fitness(self.now_us))
    }

    fn load(&self, at: usize) -> u32 {
        self.endpoints.get(at).map_or(0, |one| one.in_flight())
    }

    fn since_us(&self, at: usize) -> u64 {
        let endpoint = self.endpoints.get(at);
        let vitals = endpoint.and_then(|endpoint| endpoint.vitals.borrow().clone());
        vitals.map_or(0, |vitals| vitals.since_us())
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
    pub(crate) call: Call,
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
        let Some(caller) = self.call.caller() else {
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

impl ClusterState {
    pub(crate) fn new(worker: &Worker, compiled: &CompiledCluster, group: Arc<Group>) -> Rc<Self> {
        let config = &compiled.config;
        let state = Rc::new(Self {
            config: RefCell::new(Arc::clone(config)),
            endpoints: RefCell::default(),
            balancer: RefCell::new(Balancer::new(config, &[])),
            counters: Arc::clone(&compiled.counters),
            fleet: RefCell::new(compiled.fleet.clone()),
            waiting: RefCell::default(),
            group,
            resolver: RefCell::default(),
            clock: worker.clock(),
        });
        state.configure(false);
        state
    }

    /// Takes over a changed definition.
    pub(crate) fn update(self: &Rc<Self>, compiled: &CompiledCluster) {
        let before = self.config.replace(Arc::clone(&compiled.config));
        let other_fleet = {
            let mut fleet = self.fleet.borrow_mut();
            let same = match (&*fleet, &compiled.fleet) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                (None, None) => true,
                _ => false,
            };
            fleet.clone_from(&compiled.fleet);
            !same
        };
        if other_fleet {
            for endpoint in self.endpoints.borrow().iter() {
                *endpoint.vitals.borrow_mut() = self.join(endpoint.address);
            }
        }
        let config = &compiled.config;
        let balanced = before.balancing == config.balancing
            && before.panic == config.panic
            && before.warmup == config.warmup
            && before.localities == config.localities;
        self.configure(balanced);
    }

    /// What all workers know of an endpoint.
    fn join(&self, address: SocketAddr) -> Option<Arc<Vitals>> {
        let fleet = self.fleet.borrow();
        Some(fleet.as_ref()?.join(address, self.clock.now_us()))
    }

    /// What all workers know of its endpoints, where that is watched.
    pub(crate) fn fleet(&self) -> Option<Arc<Fleet>> {
        self.fleet.borrow().clone()
    }

    /// What became of a request says something of its endpoint, where that is watched.
    pub(crate) fn report(
        &self,
        endpoint: &EndpointState,
        admission: Admission,
        outcome: Outcome,
        now_us: u64,
    ) {
        let fleet = self.fleet.borrow();
        let Some(fleet) = &*fleet else { return };
        let vitals = endpoint.vitals.borrow();
        let Some(vitals) = &*vitals else { return };
        if let Some(ejection) = fleet.report(vitals, admission, outcome, now_us) {
            crate::fitness::tell_ejection(&self.group, endpoint.address, &ejection);
        }
    }

    /// Whether it has no endpoint at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.endpoints.borrow().is_empty()
    }

    /// A sentence about the cluster.
    pub(crate) fn says(&self, what: &str) -> String {
        format!("cluster {} {what}", self.config.borrow().name)
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
                || Rc::new(EndpointState::new(address, definition, self.join(address))),
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
        let config = self.config.borrow();
        *self.balancer.borrow_mut() = Balancer::new(&config, &members);
    }

    /// The endpoint for a request, and how it is let in there. `tried`: endpoints that failed it before.
    pub(crate) fn pick(
        &self,
        worker: &Worker,
        hash: Option<u64>,
        tried: &[SocketAddr],
    ) -> Option<(Rc<EndpointState>, Admission)> {
        let endpoints = self.endpoints.borrow();
        let fleet = self.fleet.borrow();
        if let ([only], None) = (endpoints.as_slice(), &*fleet) {
            return (only.definition.weight > 0).then(|| (Rc::clone(only), Admission::Plain));
        }
        let now_us = worker.now_us();
        let fit = Fit {
            endpoints: &endpoints,
            now_us,
        };
        let was_tried = |at: usize| {
            let endpoint = endpoints.get(at);
            endpoint.is_some_and(|endpoint| tried.contains(&endpoint.address))
        };
        let mut balancer = self.balancer.borrow_mut();
        let mut random = || worker.random();
        // Another worker may be faster with the one trial of an endpoint: then it is another's turn.
        for _ in 0..=endpoints.len() {
            let ask = Ask {
                hash,
                now_us,
                epoch: fleet.as_ref().map_or(0, |fleet| fleet.epoch()),
                tried: (!tried.is_empty()).then_some(&was_tried),
            };
            let choice = balancer.pick(&ask, &mut random, &fit)?;
            let endpoint = endpoints.get(choice.at)?;
            let vitals = endpoint.vitals.borrow();
            let admission = match &*vitals {
                Some(vitals) if !choice.panic => vitals.admit(now_us),
                _ => Some(Admission::Plain),
            };
            if let Some(admission) = admission {
                return Some((Rc::clone(endpoint), admission));
            }
        }
        None
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
        if self.counters.requests.value() >= limits.requests {
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
        let full = self.counters.connections.value() >= limits.connections;
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
            // What it was given and nobody waits for is still written.
            idle.drain();
        }
        idle.is_some()
    }

    /// Idle connections make room for requests that wait on another worker: nothing ends on these
    /// connections that could tell.
    pub(crate) fn make_way(&self) {
        if self.is_full() {
            for _ in 0..self.counters.pending.value() {
                if !self.make_room() {
                    break;
                }
            }
        }
    }

    /// Lets a request wait for a connection. Gives it back if too many wait already.
    pub(crate) fn wait(&self, waiting: Waiting) -> Result<(), Box<Waiting>> {
        if self.counters.pending.value() >= self.config.borrow().limits.pending {
            self.group.add(cluster::OVERFLOW, 1);
            return Err(Box::new(waiting));
        }
        self.counters.pending.add();
        self.waiting.borrow_mut().push_back(waiting);
        Ok(())
    }

    /// An exclusive connection has nothing to do: gives it to who waits, or keeps it.
    pub(crate) fn release(self: &Rc<Self>, worker: &Rc<Worker>, upstream: &Rc<Upstream>) {
        // One-way requests leave it free at once: a loop, as many of them may wait.
        while upstream.is_reusable() && !upstream.endpoint.retired.get() {
            match self.next_waiting(worker, |waiting| waiting.fits(upstream)) {
                Some(waiting) => {
                    upstream.set_interest(waiting.interest);
                    if Self::serve(worker, upstream, waiting) {
                        return;
                    }
                }
                // Somebody waits for one of another kind, perhaps on another worker: this one makes room.
                None if self.counters.pending.value() > 0 && self.is_full() => break,
                None => return upstream.endpoint.keep(upstream),
            }
        }
        // It cannot be kept.
        upstream.drain();
    }

    /// A connection is gone, so there is room for another.
    pub(crate) fn connection_closed(self: &Rc<Self>, worker: &Rc<Worker>, upstream: &Rc<Upstream>) {
        self.counters.connections.subtract();
        self.group.subtract(cluster::ACTIVE, 1);
        upstream.endpoint.forget(upstream);
        self.serve_waiting(worker);
    }

    /// Makes connections for those who wait, as many as there is room for: there may be more than
    /// the limit, as it may have been lowered, or room made before this.
    pub(crate) fn serve_waiting(self: &Rc<Self>, worker: &Rc<Worker>) {
        while !self.is_full()
            && let Some(mut waiting) = self.next_waiting(worker, |_| true)
        {
            if waiting.endpoint.retired.get()
                && let Some((endpoint, admission)) = self.pick(worker, None, &[])
            {
                waiting.call.in_flight = Some(InFlight::new(&endpoint, self, admission));
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
    fn next_waiting(&self, worker: &Worker, fits: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        loop {
            let waiting = {
                let mut queue = self.waiting.borrow_mut();
                let at = queue.iter().position(&fits)?;
                queue.remove(at)?
            };
            self.counters.pending.subtract();
            if waiting.leave() {
                return Some(waiting);
            }
            waiting.call.abandon(worker);
        }
    }

    /// Sends a request that waited. Tells whether its answer is owed now.
    fn serve(worker: &Rc<Worker>, upstream: &Rc<Upstream>, waiting: Waiting) -> bool {
        let down = waiting.call.caller().map(|caller| Rc::clone(&caller.down));
        if let Some(down) = &down {
            down.uses_alone(upstream, waiting.message.head().bind == Bind::Once);
        }
        let message = &mut waiting.message.message();
        let sent = if waiting.call.expects_reply(message.head.kind) {
            upstream.send(worker, message, Some(waiting.call), waiting.deadline_ms)
        } else {
            let sent = upstream.send(worker, message, None, u64::MAX);
            match &sent {
                Ok(_) => waiting.call.sent(worker),
                Err(unsent) => waiting.call.refuse(worker, unsent.fault, unsent.text()),
            }
            sent
        };
        match sent {
            Ok(_) => down.is_some(),
            Err(unsent) => {
                unsent.answer(worker);
                if let Some(down) = &down {
                    down.after_reply(upstream);
                }
                false
            }
        }
    }

    fn is_full(&self) -> bool {
        self.counters.connections.value() >= self.config.borrow().limits.connections
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Takes out requests that have waited too long.
    pub(crate) fn expired(&self, now_ms: u64) -> Vec<Call> {
        let mut queue = self.waiting.borrow_mut();
        let mut calls = Vec::new();
        while let Some(at) = queue
            .iter()
            .position(|waiting| waiting.give_up_ms <= now_ms)
        {
            let Some(waiting) = queue.remove(at) else {
                break;
            };
            self.counters.pending.subtract();
            waiting.leave();
            calls.push(waiting.call);
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
