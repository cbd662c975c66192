//! The requests that wait for a connection of a cluster, and the order in which they are served.
//! The module does not interpret requests.

use std::rc::Rc;
use std::sync::Arc;

use meltemi_frame::{Bind, Interest, OwnedMessage, Protocol, Session};
use meltemi_router_core::{Admission, HealthStatus};

use super::{ClusterState, Need};
use crate::call::Call;
use crate::call::delayed::Reservation;
use crate::cluster::endpoint::EndpointState;
use crate::context::WorkerContext;
use crate::telemetry::stats::cluster;
use crate::upstream::Upstream;

/// A request that waits for an exclusive connection.
pub(crate) struct Waiting {
    pub(crate) message: OwnedMessage,
    pub(crate) call: Box<Call>,
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) session: Session,
    pub(crate) interest: Interest,
    pub(crate) deadline_ms: u64,
    /// The time when the wait times out, in milliseconds of the worker's clock.
    pub(crate) give_up_ms: u64,
    pub(crate) endpoint: Rc<EndpointState>,
    /// The resources that the request reserves on the client's connection.
    pub(crate) hold: Option<Reservation>,
}

impl Waiting {
    /// Ends the wait. Returns `true` if the client is still connected.
    fn leave(&mut self) -> bool {
        self.hold = None;
        let caller = self.call.caller();
        caller.is_none_or(|caller| !caller.down.is_closed())
    }

    /// Returns `true` if the connection may serve this request. `fit`: requests for other endpoints
    /// may be sent to its endpoint.
    fn fits(&self, upstream: &Upstream, fit: bool) -> bool {
        let endpoint = &upstream.endpoint;
        let may_go = || {
            let tried = self.call.tried();
            fit && self.call.hash.is_none()
                && self.call.mark().is_none()
                && !tried.contains(&endpoint.address)
        };
        upstream.serves(&self.protocol, &self.session)
            && (Rc::ptr_eq(&self.endpoint, endpoint) || may_go())
    }
}

impl ClusterState {
    /// Queues a request. Fails if the queue is full, and returns the request.
    pub(crate) fn wait(&self, waiting: Waiting) -> Result<(), Box<Waiting>> {
        let most = self.config.borrow().limits.pending;
        if !self.counters.pending.add_if(|so_far| so_far < most) {
            self.group.add(cluster::OVERFLOW, 1);
            return Err(Box::new(waiting));
        }
        self.waiting.borrow_mut().push_back(waiting);
        Ok(())
    }

    /// Gives an idle exclusive connection to a request that waits, or keeps it for later.
    pub(crate) fn release(self: &Rc<Self>, worker: &Rc<WorkerContext>, upstream: &Rc<Upstream>) {
        // A loop, because one-way requests leave the connection free at once and several may wait.
        while upstream.is_reusable() && !upstream.endpoint.retired.get() {
            let fit = upstream.endpoint.fitness(worker.now_us()) == HealthStatus::Healthy;
            match self.next_waiting(worker, |waiting| waiting.fits(upstream, fit)) {
                Some(waiting) => {
                    upstream.set_interest(waiting.interest);
                    if Self::serve(worker, upstream, waiting) {
                        return;
                    }
                }
                // A request with other requirements waits, perhaps on another worker. Closing this
                // connection makes room for it.
                None if self.counters.pending.value() > 0 && self.is_full() => break,
                None => return upstream.endpoint.keep(upstream),
            }
        }
        // The connection cannot be kept.
        upstream.drain();
    }

    /// Opens connections for waiting requests while the limit allows it. That can be several, if
    /// room was made earlier, or none, if the limit was lowered.
    pub(crate) fn serve_waiting(self: &Rc<Self>, worker: &Rc<WorkerContext>) {
        while self.has_waiting() && self.take_room() {
            let Some(mut waiting) = self.next_waiting(worker, |_| true) else {
                self.counters.connections.subtract();
                return;
            };
            if waiting.endpoint.retired.get()
                && waiting.call.mark().is_none()
                && let Some((endpoint, admission)) =
                    self.pick(worker, waiting.call.hash, waiting.call.tried())
            {
                if let Some(in_flight) = &mut waiting.call.in_flight {
                    in_flight.move_to(&endpoint, admission);
                }
                waiting.endpoint = endpoint;
            }
            let need = Need {
                protocol: &waiting.protocol,
                session: &waiting.session,
                exclusive: true,
                apart: false,
                interest: waiting.interest,
                place: 0,
                packed: true,
            };
            let upstream = Upstream::connect(worker, self, &waiting.endpoint, &need, true);
            if !Self::serve(worker, &upstream, waiting) {
                upstream.done(worker);
            }
        }
    }

    /// Removes the first waiting request that `fits` and whose client is still connected.
    fn next_waiting(
        &self,
        worker: &WorkerContext,
        fits: impl Fn(&Waiting) -> bool,
    ) -> Option<Waiting> {
        loop {
            let mut waiting = {
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

    /// Sends a request that waited. Returns `true` if its response is outstanding now.
    fn serve(worker: &Rc<WorkerContext>, upstream: &Rc<Upstream>, mut waiting: Waiting) -> bool {
        let endpoint = &upstream.endpoint;
        if !Rc::ptr_eq(endpoint, &waiting.endpoint)
            && let Some(in_flight) = &mut waiting.call.in_flight
        {
            in_flight.move_to(endpoint, Admission::Plain);
        }
        if let Some(track) = waiting.call.telemetry_mut() {
            track.on_attempt(endpoint.address, worker);
        }
        let head = *waiting.message.head();
        let client = waiting.call.down().map(Rc::clone);
        if let Some(client) = client.filter(|client| client.answers_in_order()) {
            client.record_use(upstream, head.kind, false);
        }
        if let Some(client) = waiting.call.down()
            && upstream.cluster.is_owned(&waiting.protocol)
        {
            client.own(upstream);
        }
        let down = waiting.call.caller().map(|caller| Rc::clone(&caller.down));
        if let Some(down) = &down {
            down.use_exclusively(upstream, head.bind == Bind::Dedicated);
        }
        let message = &mut waiting.message.message();
        match upstream.send_call(worker, message, waiting.call, waiting.deadline_ms) {
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

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Removes requests that have waited too long.
    pub(crate) fn expired(&self, now_ms: u64) -> Vec<Box<Call>> {
        let mut queue = self.waiting.borrow_mut();
        let mut calls = Vec::new();
        while let Some(at) = queue
            .iter()
            .position(|waiting| waiting.give_up_ms <= now_ms)
        {
            let Some(mut waiting) = queue.remove(at) else {
                break;
            };
            self.counters.pending.subtract();
            waiting.leave();
            calls.push(waiting.call);
        }
        calls
    }
}
