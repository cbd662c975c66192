//! A cluster as one worker sees it: endpoints, balancer, connections, and who waits for one.

pub(crate) mod counters;
pub(crate) mod endpoint;
mod marks;
mod pick;
mod queue;
pub(crate) mod registry;
pub(crate) mod resolver;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_config::{Address, Cluster, Endpoint};
use meltemi_frame::{Interest, Protocol, Session, Sharing};
use meltemi_router_core::{Admission, Balancer, ClusterHealth, EndpointHealth, Outcome};
use tokio::task::AbortHandle;

use crate::cluster::counters::Counters;
use crate::cluster::endpoint::EndpointState;
use crate::cluster::registry::CompiledCluster;
use crate::context::WorkerContext;
use crate::context::clock::Clock;
use crate::telemetry::stats::{MetricSet, cluster};
use crate::upstream::Upstream;
use crate::upstream::connector::Connector;

pub(crate) use queue::Waiting;

/// A cluster as one worker sees it. It outlives configurations, as its connections do.
pub(crate) struct ClusterState {
    pub(crate) config: RefCell<Arc<Cluster>>,
    endpoints: RefCell<Vec<Rc<EndpointState>>>,
    balancer: RefCell<Balancer>,
    /// It has, or had, several endpoints.
    plural: Cell<bool>,
    pub(crate) counters: Arc<Counters>,
    /// What all workers know of its endpoints, where that is watched.
    fleet: RefCell<Option<Arc<ClusterHealth>>>,
    waiting: RefCell<VecDeque<Waiting>>,
    pub(crate) group: Arc<MetricSet>,
    resolver: RefCell<Option<AbortHandle>>,
    clock: Clock,
    pub(crate) connector: Rc<Connector>,
}

/// What a request needs of a connection.
pub(crate) struct Need<'a> {
    pub(crate) protocol: &'a Arc<dyn Protocol>,
    pub(crate) session: &'a Session,
    /// Nobody else may use the connection at the same time.
    pub(crate) exclusive: bool,
    /// Nobody else should use it: others would wait for the client.
    pub(crate) apart: bool,
    /// How deep responses must be looked at.
    pub(crate) interest: Interest,
    /// The client's number: the shared connection that it uses when all are busy.
    pub(crate) place: u64,
    /// The first that is not busy will do, too.
    pub(crate) packed: bool,
}

/// A connection for a request, or what to do without.
pub(crate) enum Acquired {
    Upstream(Rc<Upstream>),
    /// Every connection is busy and no more may be made: the request may wait.
    Busy,
}

impl ClusterState {
    pub(crate) fn new(
        worker: &WorkerContext,
        connector: &Rc<Connector>,
        compiled: &CompiledCluster,
        group: Arc<MetricSet>,
    ) -> Rc<Self> {
        let config = &compiled.config;
        let state = Rc::new(Self {
            config: RefCell::new(Arc::clone(config)),
            endpoints: RefCell::default(),
            balancer: RefCell::new(Balancer::new(config, &[])),
            plural: Cell::new(false),
            counters: Arc::clone(&compiled.counters),
            fleet: RefCell::new(compiled.fleet.clone()),
            waiting: RefCell::default(),
            group,
            resolver: RefCell::default(),
            clock: worker.clock(),
            connector: Rc::clone(connector),
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
    fn join(&self, address: SocketAddr) -> Option<Arc<EndpointHealth>> {
        let fleet = self.fleet.borrow();
        Some(fleet.as_ref()?.join(address, self.clock.now_us()))
    }

    /// What all workers know of its endpoints, where that is watched.
    pub(crate) fn fleet(&self) -> Option<Arc<ClusterHealth>> {
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
            crate::cluster::registry::tell_ejection(&self.group, endpoint.address, &ejection);
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
            let task = tokio::task::spawn_local(crate::cluster::resolver::keep_resolved(
                Rc::downgrade(self),
            ));
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
        self.mark(&new);
        *self.endpoints.borrow_mut() = new;
        self.balance();
    }

    /// How requests of this protocol share connections here.
    pub(crate) fn sharing(&self, protocol: &Arc<dyn Protocol>) -> Sharing {
        self.config
            .borrow()
            .sharing
            .unwrap_or(protocol.spec().sharing)
    }

    /// Whether each client has connections of its own here, over which servers may call it.
    #[inline]
    pub(crate) fn is_owned(&self, protocol: &Arc<dyn Protocol>) -> bool {
        self.sharing(protocol) == Sharing::Exclusive && protocol.calls_back()
    }

    /// A connection to `endpoint`.
    pub(crate) fn acquire(
        self: &Rc<Self>,
        worker: &Rc<WorkerContext>,
        endpoint: &Rc<EndpointState>,
        need: &Need<'_>,
    ) -> Acquired {
        let limits = self.config.borrow().limits;
        let exclusive = need.exclusive || self.sharing(need.protocol) == Sharing::Exclusive;
        let alone = exclusive || need.apart;
        if !alone
            && let Some(upstream) = endpoint.find_shared(worker, need, limits.shared_connections)
        {
            return Acquired::Upstream(upstream);
        }
        if let Some(upstream) = endpoint.take_idle(need) {
            if !alone {
                upstream.become_shared();
                endpoint.share(&upstream);
            }
            return Acquired::Upstream(upstream);
        }
        if !self.take_room() {
            if !self.make_room() {
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
            self.counters.connections.add();
        }
        let upstream = Upstream::connect(worker, self, endpoint, need, alone);
        if !alone {
            endpoint.share(&upstream);
        }
        Acquired::Upstream(upstream)
    }

    /// Counts one more connection, if there may be one.
    fn take_room(&self) -> bool {
        let most = self.config.borrow().limits.connections;
        self.counters.connections.add_if(|open| open < most)
    }

    /// Closes the connection that has been without a request for longest, of another session or endpoint.
    /// Returns whether there was one.
    fn make_room(&self) -> bool {
        let endpoints = self.endpoints.borrow();
        let at_rest = endpoints.iter().filter_map(|one| one.longest_at_rest());
        let oldest = at_rest.min_by_key(|upstream| upstream.active_us());
        let Some(oldest) = oldest else { return false };
        oldest.endpoint.forget(&oldest);
        // What it was given and nobody waits for is still written.
        oldest.drain();
        true
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

    /// A connection is gone, so there is room for another.
    pub(crate) fn connection_closed(
        self: &Rc<Self>,
        worker: &Rc<WorkerContext>,
        upstream: &Rc<Upstream>,
    ) {
        self.counters.connections.subtract();
        self.group.subtract(cluster::ACTIVE, 1);
        upstream.endpoint.forget(upstream);
        self.serve_waiting(worker);
    }

    fn is_full(&self) -> bool {
        self.counters.connections.value() >= self.config.borrow().limits.connections
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
