//! One endpoint of a cluster in one worker: its connections and its load. The module does not
//! choose the endpoint for a request.

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

/// After a failed connect, an endpoint is avoided for this long if others exist, in microseconds.
const AVOID_US: u64 = 1_000_000;

/// If the first request of a shared in-order connection is older than this, in microseconds, the
/// connection may be stuck. Clients with no request in flight then use another connection.
const STUCK_US: u64 = 100_000;

/// One server at one address.
pub(crate) struct EndpointState {
    pub(crate) address: SocketAddr,
    pub(crate) definition: Endpoint,
    /// The shared health of the endpoint. `None` if it is not tracked.
    pub(crate) vitals: RefCell<Option<Arc<EndpointHealth>>>,
    in_flight: Cell<u32>,
    avoid_until_us: Cell<u64>,
    /// `true` if the endpoint was removed from the cluster.
    pub(crate) retired: Cell<bool>,
    /// The number of the endpoint in its cluster.
    pub(crate) mark: Cell<Mark>,
    shared: RefCell<Vec<Rc<Upstream>>>,
    idle: RefCell<Vec<Rc<Upstream>>>,
}

/// Counts a request against the limits of its endpoint and cluster until it is dropped, and reports
/// its outcome.
pub(crate) struct InFlight {
    endpoint: Rc<EndpointState>,
    cluster: Rc<ClusterState>,
    admission: Admission,
    reported: bool,
}

impl InFlight {
    /// Counts one more request. `None` if the cluster is at its limit.
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
            reported: false,
        })
    }

    /// Moves the request to another endpoint.
    pub(crate) fn move_to(&mut self, endpoint: &Rc<EndpointState>, admission: Admission) {
        let before = std::mem::replace(&mut self.endpoint, Rc::clone(endpoint));
        before
            .in_flight
            .set(before.in_flight.get().saturating_sub(1));
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        end_trial(&before, &self.cluster, self.admission);
        self.admission = admission;
    }

    /// Returns the address of the request's endpoint.
    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Reports the outcome of the request. Only the first call has an effect.
    pub(crate) fn end(&mut self, outcome: Outcome, now_us: u64) {
        if !std::mem::replace(&mut self.reported, true) {
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
        if !self.reported {
            end_trial(endpoint, &self.cluster, self.admission);
        }
    }
}

/// Ends a trial request that has no outcome, so that another trial can start.
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

    /// Releases the admission of a request that is not sent after all.
    pub(crate) fn turn_down(&self, cluster: &ClusterState, admission: Admission) {
        end_trial(self, cluster, admission);
    }

    /// Returns the number of requests in flight.
    pub(crate) const fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Returns the numbers of shared and idle connections.
    pub(crate) fn connections(&self) -> (usize, usize) {
        (self.shared.borrow().len(), self.idle.borrow().len())
    }

    /// Returns a shared connection for a client with no request in flight here. `None` if the
    /// caller should open another one.
    pub(crate) fn find_shared(
        &self,
        worker: &WorkerContext,
        need: &Need<'_>,
        most: usize,
    ) -> Option<Rc<Upstream>> {
        let shared = self.shared.borrow();
        let now = worker.now_us();
        // Skips connections that wait for a slow client.
        let fits = |upstream: &&Rc<Upstream>| upstream.fits(need) && !upstream.is_slow();
        let flows = |upstream: &&Rc<Upstream>| upstream.oldest_us(now) < STUCK_US;
        let first = shared.iter().take(if need.packed { most } else { 0 });
        let first = first.filter(|upstream| !upstream.is_busy());
        let first = first.filter(fits).find(flows);
        // If all are busy, each client always uses the same connection, so that its requests and
        // responses are batched.
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

    /// Returns any shared connection that fits, even a stuck one.
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

    /// Adds the connection to the shared ones.
    pub(crate) fn share(&self, upstream: &Rc<Upstream>) {
        self.shared.borrow_mut().push(Rc::clone(upstream));
    }

    /// Adds an exclusive connection to the idle list.
    pub(crate) fn keep(&self, upstream: &Rc<Upstream>) {
        // The connection may already be in the list.
        if !upstream.is_kept() {
            upstream.set_kept(true);
            self.idle.borrow_mut().push(Rc::clone(upstream));
        }
    }

    /// Removes an idle connection that fits the request from the list and returns it.
    pub(crate) fn take_idle(&self, need: &Need<'_>) -> Option<Rc<Upstream>> {
        let mut idle = self.idle.borrow_mut();
        let at = idle.iter().rposition(|upstream| upstream.fits(need))?;
        let upstream = idle.remove(at);
        upstream.set_kept(false);
        upstream.set_interest(need.interest);
        Some(upstream)
    }

    /// Returns the connection at rest whose last request is oldest.
    pub(crate) fn longest_at_rest(&self) -> Option<Rc<Upstream>> {
        let (shared, idle) = (self.shared.borrow(), self.idle.borrow());
        let at_rest = shared.iter().chain(idle.iter());
        let at_rest = at_rest.filter(|upstream| upstream.is_reusable());
        at_rest.min_by_key(|upstream| upstream.active_us()).cloned()
    }

    /// Removes the connection from all lists.
    pub(crate) fn forget(&self, upstream: &Rc<Upstream>) {
        let lists = [&self.shared, &self.idle];
        for list in lists {
            list.borrow_mut()
                .retain(|other| !Rc::ptr_eq(other, upstream));
        }
        upstream.set_kept(false);
    }

    /// Removes the endpoint from its cluster. Its connections close when they are idle.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        for upstream in self.shared.take().into_iter().chain(self.idle.take()) {
            upstream.set_kept(false);
            upstream.drain();
        }
    }

    /// Avoids the endpoint for a while after a failed connect.
    pub(crate) fn avoid(&self, worker: &WorkerContext) {
        self.avoid_until_us.set(worker.now_us() + AVOID_US);
    }

    /// Returns the health of the endpoint.
    pub(crate) fn fitness(&self, now_us: u64) -> HealthStatus {
        let vitals = self.vitals.borrow();
        let known = vitals.as_ref().map(|vitals| vitals.fitness(now_us));
        match known.unwrap_or(HealthStatus::Healthy) {
            HealthStatus::Healthy if self.avoid_until_us.get() > now_us => HealthStatus::Degraded,
            known => known,
        }
    }
}
