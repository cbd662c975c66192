//! One server of a cluster as one worker sees it: its connections that may take a request, and how busy
//! it is. It does not decide which server a request goes to.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_config::Endpoint;
use meltemi_frame::Mark;
use meltemi_router_core::{Admission, EndpointHealth, HealthStatus, Outcome};

use crate::cluster::{ClusterState, Need};
use crate::context::WorkerContext;
use crate::upstream::Upstream;

/// An endpoint that could not be connected to is left alone this long, in microseconds, as long as
/// there are others.
const AVOID_US: u64 = 1_000_000;

/// A request at the head of a shared in-order connection that is older than this, in microseconds, may
/// be stuck: clients with nothing under way take another connection.
const STUCK_US: u64 = 100_000;

/// One server, at one address.
pub(crate) struct EndpointState {
    pub(crate) address: SocketAddr,
    pub(crate) definition: Endpoint,
    /// What is known of it, where that is watched.
    pub(crate) vitals: RefCell<Option<Arc<EndpointHealth>>>,
    in_flight: Cell<u32>,
    avoid_until_us: Cell<u64>,
    /// It is not part of the cluster any more.
    pub(crate) retired: Cell<bool>,
    /// Its number among the endpoints of its cluster.
    pub(crate) mark: Cell<Mark>,
    shared: RefCell<Vec<Rc<Upstream>>>,
    idle: RefCell<Vec<Rc<Upstream>>>,
}

/// Counts a request against its endpoint and cluster as long as it lives, and tells what became of it.
pub(crate) struct InFlight {
    endpoint: Rc<EndpointState>,
    cluster: Rc<ClusterState>,
    admission: Admission,
    told: bool,
}

impl InFlight {
    /// One request more; `None` if the cluster has as many as it may.
    pub(crate) fn new(
        endpoint: &Rc<EndpointState>,
        cluster: &Rc<ClusterState>,
        admission: Admission,
        most: usize,
    ) -> Option<Self> {
        if !cluster.counters.requests.add_if(|so_far| so_far < most) {
            end_trial(endpoint, cluster, admission);
            return None;
        }
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        Some(Self {
            endpoint: Rc::clone(endpoint),
            cluster: Rc::clone(cluster),
            admission,
            told: false,
        })
    }

    /// Another endpoint serves it.
    pub(crate) fn move_to(&mut self, endpoint: &Rc<EndpointState>, admission: Admission) {
        let before = std::mem::replace(&mut self.endpoint, Rc::clone(endpoint));
        before
            .in_flight
            .set(before.in_flight.get().saturating_sub(1));
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        end_trial(&before, &self.cluster, self.admission);
        self.admission = admission;
    }

    /// Where the request went.
    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// What became of the request. Only the first word counts.
    pub(crate) fn end(&mut self, outcome: Outcome, now_us: u64) {
        if !std::mem::replace(&mut self.told, true) {
            self.cluster
                .report(&self.endpoint, self.admission, outcome, now_us);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let endpoint = &self.endpoint;
        endpoint
            .in_flight
            .set(endpoint.in_flight.get().saturating_sub(1));
        self.cluster.counters.requests.subtract();
        if !self.told {
            end_trial(endpoint, &self.cluster, self.admission);
        }
    }
}

/// A trial that ends without a word must end all the same.
fn end_trial(endpoint: &EndpointState, cluster: &ClusterState, admission: Admission) {
    if admission == Admission::Trial {
        cluster.report(endpoint, admission, Outcome::Unknown, 0);
    }
}

impl EndpointState {
    pub(crate) fn new(
        address: SocketAddr,
        definition: Endpoint,
        vitals: Option<Arc<EndpointHealth>>,
    ) -> Self {
        Self {
            address,
            definition,
            vitals: RefCell::new(vitals),
            in_flight: Cell::new(0),
            avoid_until_us: Cell::new(0),
            retired: Cell::new(false),
            mark: Cell::new(Mark::MIN),
            shared: RefCell::default(),
            idle: RefCell::default(),
        }
    }

    /// A request that was let in is not sent after all.
    pub(crate) fn turn_down(&self, cluster: &ClusterState, admission: Admission) {
        end_trial(self, cluster, admission);
    }

    /// Requests in flight.
    pub(crate) const fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// ClusterRegistry connections, and idle ones.
    pub(crate) fn connections(&self) -> (usize, usize) {
        (self.shared.borrow().len(), self.idle.borrow().len())
    }

    /// A shared connection for a client with nothing under way here; `None` if another one should be made.
    pub(crate) fn find_shared(
        &self,
        worker: &WorkerContext,
        need: &Need<'_>,
        most: usize,
    ) -> Option<Rc<Upstream>> {
        let shared = self.shared.borrow();
        let now = worker.now_us();
        // Clients keep away from a connection that waits for a slow one.
        let fits = |upstream: &&Rc<Upstream>| upstream.fits(need) && !upstream.is_slow();
        let flows = |upstream: &&Rc<Upstream>| upstream.oldest_us(now) < STUCK_US;
        let first = shared.iter().take(if need.packed { most } else { 0 });
        let first = first.filter(|upstream| !upstream.is_busy());
        let first = first.filter(fits).find(flows);
        // A client that finds them all busy has its place, so that its requests travel and return together.
        let place = usize::try_from(need.place % most.max(1) as u64).unwrap_or(0);
        let own = || shared.get(place).filter(fits).filter(flows);
        let chosen = match first.or_else(own) {
            Some(found) => found,
            None => {
                let count = shared.iter().filter(fits).count();
                if count <= place && count < most {
                    return None;
                }
                let own = place.min(count.saturating_sub(1));
                let own = shared.iter().filter(fits).nth(own);
                own.filter(flows)
                    .or_else(|| shared.iter().filter(fits).find(flows))?
            }
        };
        chosen.set_interest(need.interest);
        Some(Rc::clone(chosen))
    }

    /// Any shared connection that fits, stuck or not.
    pub(crate) fn any_shared(&self, need: &Need<'_>) -> Option<Rc<Upstream>> {
        let shared = self.shared.borrow();
        let found = shared.iter().find(|upstream| upstream.fits(need))?;
        found.set_interest(need.interest);
        Some(Rc::clone(found))
    }

    pub(crate) fn has_shared(&self) -> bool {
        self.shared
            .borrow()
            .iter()
            .any(|upstream| upstream.accepts())
    }

    /// From here on others may use the connection, too.
    pub(crate) fn share(&self, upstream: &Rc<Upstream>) {
        self.shared.borrow_mut().push(Rc::clone(upstream));
    }

    /// An exclusive connection has nothing to do.
    pub(crate) fn keep(&self, upstream: &Rc<Upstream>) {
        // Whatever ends on a connection that is kept already does not make it two.
        if !upstream.is_kept() {
            upstream.set_kept(true);
            self.idle.borrow_mut().push(Rc::clone(upstream));
        }
    }

    /// A connection that was kept, for a request.
    pub(crate) fn take_idle(&self, need: &Need<'_>) -> Option<Rc<Upstream>> {
        let mut idle = self.idle.borrow_mut();
        let at = idle.iter().rposition(|upstream| upstream.fits(need))?;
        let upstream = idle.remove(at);
        upstream.set_kept(false);
        upstream.set_interest(need.interest);
        Some(upstream)
    }

    /// Of the connections on which nothing goes on, the one that has been without a request for longest.
    pub(crate) fn longest_at_rest(&self) -> Option<Rc<Upstream>> {
        let (shared, idle) = (self.shared.borrow(), self.idle.borrow());
        let at_rest = shared.iter().chain(idle.iter());
        let at_rest = at_rest.filter(|upstream| upstream.is_reusable());
        at_rest.min_by_key(|upstream| upstream.active_us()).cloned()
    }

    /// The connection is in no list any more.
    pub(crate) fn forget(&self, upstream: &Rc<Upstream>) {
        let lists = [&self.shared, &self.idle];
        for list in lists {
            list.borrow_mut()
                .retain(|other| !Rc::ptr_eq(other, upstream));
        }
        upstream.set_kept(false);
    }

    /// It is not part of its cluster any more: its connections end when they have nothing to do.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        for upstream in self.shared.take().into_iter().chain(self.idle.take()) {
            upstream.set_kept(false);
            upstream.drain();
        }
    }

    /// It could not be connected to.
    pub(crate) fn avoid(&self, worker: &WorkerContext) {
        self.avoid_until_us.set(worker.now_us() + AVOID_US);
    }

    /// Whether it may be used now, as far as is known.
    pub(crate) fn fitness(&self, now_us: u64) -> HealthStatus {
        let vitals = self.vitals.borrow();
        let known = vitals.as_ref().map(|vitals| vitals.fitness(now_us));
        match known.unwrap_or(HealthStatus::Healthy) {
            HealthStatus::Healthy if self.avoid_until_us.get() > now_us => HealthStatus::Degraded,
            known => known,
        }
    }
}
