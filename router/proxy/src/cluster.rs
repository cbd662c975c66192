//! A cluster in one worker: its endpoints, its balancer, its connections, and the requests that
//! wait for a connection.

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

/// A cluster in one worker. It survives configuration changes, because its connections do.
pub(crate) struct ClusterState {
    pub(crate) config: RefCell<Arc<Cluster>>,
    endpoints: RefCell<Vec<Rc<EndpointState>>>,
    balancer: RefCell<Balancer>,
    /// `true` if the cluster has, or once had, several endpoints.
    plural: Cell<bool>,
    pub(crate) counters: Arc<Counters>,
    /// The endpoint health that all workers share. `None` if the cluster does not track health.
    fleet: RefCell<Option<Arc<ClusterHealth>>>,
    waiting: RefCell<VecDeque<Waiting>>,
    pub(crate) group: Arc<MetricSet>,
    resolver: RefCell<Option<AbortHandle>>,
    clock: Clock,
    pub(crate) connector: Rc<Connector>,
}

/// The requirements of a request for its connection.
pub(crate) struct Need<'a> {
    pub(crate) protocol: &'a Arc<dyn Protocol>,
    pub(crate) session: &'a Session,
    /// No other request may use the connection at the same time.
    pub(crate) exclusive: bool,
    /// Other clients should not use the connection, because they would wait for this slow client.
    pub(crate) apart: bool,
    /// How deep responses must be parsed.
    pub(crate) interest: Interest,
    /// The client's number. It selects the shared connection when all are busy.
    pub(crate) place: u64,
    /// The first connection that is not busy is also acceptable.
    pub(crate) packed: bool,
}

/// The result of acquiring a connection.
pub(crate) enum Acquired {
    Upstream(Rc<Upstream>),
    /// All connections are busy and the limit is reached. The request may wait.
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
            clock: worker.services.clock,
            connector: Rc::clone(connector),
        });
        state.configure(false);
        state
    }

    /// Applies a changed definition.
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

    /// Returns the shared health of an endpoint.
    fn join(&self, address: SocketAddr) -> Option<Arc<EndpointHealth>> {
        let fleet = self.fleet.borrow();
        Some(fleet.as_ref()?.join(address, self.clock.now_us()))
    }

    /// Returns the endpoint health that all workers share. `None` if it is not tracked.
    pub(crate) fn fleet(&self) -> Option<Arc<ClusterHealth>> {
        self.fleet.borrow().clone()
    }

    /// Reports the outcome of a request to the health tracking of its endpoint.
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

    /// Returns `true` if the cluster has no endpoints.
    pub(crate) fn is_empty(&self) -> bool {
        self.endpoints.borrow().is_empty()
    }

    /// Returns an error text that begins with the cluster's name.
    pub(crate) fn says(&self, what: &str) -> String {
        format!("cluster {} {what}", self.config.borrow().name)
    }

    /// `balanced`: the balancer can be kept if the endpoints do not change.
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

    /// Replaces the endpoints. Keeps the connections to unchanged endpoints and drains the others.
    pub(crate) fn set_endpoints(&self, wanted: Vec<(SocketAddr, Endpoint)>) {
        // Names are resolved often and rarely change, and building a balancer can be expensive.
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

    /// Returns how requests of this protocol share connections in this cluster.
    pub(crate) fn sharing(&self, protocol: &Arc<dyn Protocol>) -> Sharing {
        self.config
            .borrow()
            .sharing
            .unwrap_or(protocol.spec().sharing)
    }

    /// Returns `true` if each client has its own connections here, over which servers can call it
    /// back.
    #[inline]
    pub(crate) fn is_owned(&self, protocol: &Arc<dyn Protocol>) -> bool {
        self.sharing(protocol) == Sharing::Exclusive && protocol.calls_back()
    }

    /// Returns a connection to `endpoint`.
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
                // Shared connections are not released, so waiting for one is useless. Any
                // connection that fits is better. An endpoint may always open one.
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

    /// Counts one more connection if the limit allows it.
    fn take_room(&self) -> bool {
        let most = self.config.borrow().limits.connections;
        self.counters.connections.add_if(|open| open < most)
    }

    /// Closes the idle connection whose last request is oldest, whatever its session and endpoint.
    /// Returns `true` if there was one.
    fn make_room(&self) -> bool {
        let endpoints = self.endpoints.borrow();
        let at_rest = endpoints.iter().filter_map(|one| one.longest_at_rest());
        let oldest = at_rest.min_by_key(|upstream| upstream.active_us());
        let Some(oldest) = oldest else { return false };
        oldest.endpoint.forget(&oldest);
        // Draining still writes one-way requests that are in its output.
        oldest.drain();
        true
    }

    /// Closes idle connections for requests that wait on another worker. Without this call these
    /// connections would stay open, because nothing ends on them that would trigger a check.
    pub(crate) fn make_way(&self) {
        if self.is_full() {
            for _ in 0..self.counters.pending.value() {
                if !self.make_room() {
                    break;
                }
            }
        }
    }

    /// Records that a connection closed, and serves a request that waits for one.
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

    /// Drains everything, because the new configuration does not contain the cluster.
    pub(crate) fn retire(&self) {
        if let Some(resolver) = self.resolver.take() {
            resolver.abort();
        }
        self.set_endpoints(Vec::new());
    }

    /// Returns the address, the requests in flight, and the numbers of shared and idle connections
    /// of every endpoint.
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
