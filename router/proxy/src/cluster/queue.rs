//! The requests that wait until a connection of a cluster is free, and who is served next. When there may be
//! one more connection is told by the cluster; what a request says is not known here.

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
    /// When it waits no longer.
    pub(crate) give_up_ms: u64,
    pub(crate) endpoint: Rc<EndpointState>,
    /// What it takes of its client's connection meanwhile.
    pub(crate) hold: Option<Reservation>,
}

impl Waiting {
    /// It waits no longer. Tells whether there is still somebody to serve.
    fn leave(&mut self) -> bool {
        self.hold = None;
        let caller = self.call.caller();
        caller.is_none_or(|caller| !caller.down.is_closed())
    }

    /// Whether a connection may serve it. `fit`: others may be sent to its endpoint.
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
    /// Lets a request wait for a connection. Gives it back if too many wait already.
    pub(crate) fn wait(&self, waiting: Waiting) -> Result<(), Box<Waiting>> {
        let most = self.config.borrow().limits.pending;
        if !self.counters.pending.add_if(|so_far| so_far < most) {
            self.group.add(cluster::OVERFLOW, 1);
            return Err(Box::new(waiting));
        }
        self.waiting.borrow_mut().push_back(waiting);
        Ok(())
    }

    /// An exclusive connection has nothing to do: gives it to who waits, or keeps it.
    pub(crate) fn release(self: &Rc<Self>, worker: &Rc<WorkerContext>, upstream: &Rc<Upstream>) {
        // One-way requests leave it free at once: a loop, as many of them may wait.
        while upstream.is_reusable() && !upstream.endpoint.retired.get() {
            let fit = upstream.endpoint.fitness(worker.now_us()) == HealthStatus::Healthy;
            match self.next_waiting(worker, |waiting| waiting.fits(upstream, fit)) {
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

    /// Makes connections for those who wait, as many as there is room for: there may be more than
    /// the limit, as it may have been lowered, or room made before this.
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

    /// Takes out the first that `fits` of those who wait and are still there.
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

    /// Sends a request that waited. Tells whether its answer is owed now.
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

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Takes out requests that have waited too long.
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
