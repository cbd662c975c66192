//! Sends a request to a cluster: selects an endpoint and a connection. Used for first attempts,
//! retries, delayed requests and copies. The steps before are in `request`, the handling of
//! failures in `retry`.

pub(crate) mod authorize;
pub(crate) mod broadcast;
pub(crate) mod delayed;
mod goal;
mod marks;
pub(crate) mod mirror;
pub(crate) mod retry;

use std::rc::Rc;
use std::sync::Arc;

use meltemi_frame::{Bind, Fault, Head, Message, Reach, Session};
use meltemi_router_core::CompiledRoute;

use crate::call::delayed::Reservation;
use crate::call::retry_state::RetryState;
use crate::call::{Call, Who};
use crate::cluster::endpoint::{EndpointState, InFlight};
use crate::cluster::{Acquired, ClusterState, Need, Waiting};
use crate::config::view::ServedView;
use crate::context::WorkerContext;
use crate::dispatch::authorize::{Refusal, authorize};
use crate::downstream::Downstream;
use crate::telemetry::stats::cluster;
use crate::upstream::Upstream;

use goal::Tie;

/// A request and the cluster that it goes to.
pub(crate) struct Dispatch<'a> {
    pub(crate) worker: &'a Rc<WorkerContext>,
    /// The client that sent the request, or the original of the copy.
    pub(crate) down: &'a Rc<Downstream>,
    pub(crate) served: &'a Rc<ServedView>,
    pub(crate) route: &'a CompiledRoute,
    pub(crate) cluster: &'a Rc<ClusterState>,
}

/// The result of a dispatch.
pub(crate) enum Sent {
    /// The request is in the output of `upstream`. `full`: the output is over its limit.
    Out { upstream: Rc<Upstream>, full: bool },
    /// The request waits for a connection.
    Waits,
    /// The request must wait until the earlier requests of its client are answered.
    Later(Box<Call>),
    /// The request has already ended.
    Ended,
}

impl Dispatch<'_> {
    /// Sends the request.
    pub(crate) fn run(&self, message: &mut Message<'_>, mut call: Box<Call>) -> Sent {
        let head = message.head;
        let copy = call.is_copy();
        let pinned = if copy { None } else { self.down.pinned() };
        // A pinned client has the order and the user of its connection only there.
        if let (Reach::Every { must }, false, None) = (head.reach, copy, &pinned) {
            return self.everywhere(message, call, must);
        }
        let cluster = pinned.as_ref().map_or(self.cluster, |tied| &tied.cluster);
        let session = match head.bind {
            Bind::Login if pinned.is_none() => cluster.config.borrow().login.clone(),
            _ => self.down.upstream_session(cluster),
        };
        let need = self.need(&head, copy, &session);
        // Copies were authorized before they were counted.
        let allowed = match copy {
            true => Ok(()),
            false => self
                .guard(message, &mut call, pinned.as_ref())
                .map_err(|refusal| (refusal.fault, refusal.text)),
        };
        let goal = allowed.and_then(|()| self.goal(message, &call, pinned.as_ref(), &need));
        let goal = match goal {
            Ok(Some(goal)) => goal,
            Ok(None) => return Sent::Later(call),
            Err((fault, text)) => {
                call.refuse(self.worker, fault, &text);
                if !copy {
                    self.down.abort_transaction(&head);
                }
                return Sent::Ended;
            }
        };
        // Copies leave together with the request: not before it is authorized, and not again with
        // each retry.
        let kept = call.caller().and_then(|caller| caller.kept.as_ref());
        if !copy && kept.is_none_or(|kept| kept.retries == 0 && !kept.has_moved()) {
            self.copy(message, &mut call);
        }
        let is_pinned = matches!(goal.tie, Tie::Pinned(_));
        // A request inside a transaction cannot be retried on another connection.
        if !is_pinned {
            self.keep(message, &mut call);
        }
        if matches!(head.reach, Reach::Begins | Reach::Continues(_)) {
            self.mark(message, &mut call, &goal.endpoint);
        }
        cluster.group.add(cluster::REQUESTS, 1);
        // The limit does not apply to a pinned connection or to a request that was admitted before.
        let most = match is_pinned || call.has_moved() {
            true => usize::MAX,
            false => cluster.config.borrow().limits.requests,
        };
        call.in_flight = InFlight::new(&goal.endpoint, cluster, goal.admission, most);
        if call.in_flight.is_none() {
            cluster.group.add(cluster::OVERFLOW, 1);
            call.refuse(
                self.worker,
                Fault::Overload,
                &cluster.says("is at its limit"),
            );
            return Sent::Ended;
        }
        match goal.tie {
            Tie::Pinned(upstream) => self.send(message, call, &upstream),
            Tie::Stays(upstream) => {
                upstream.set_interest(need.interest);
                self.send(message, call, &upstream)
            }
            Tie::None { fresh } => self.connect(message, call, goal.endpoint, &need, fresh),
        }
    }

    /// Returns what a request demands of its connection.
    fn need<'n>(&'n self, head: &Head, copy: bool, session: &'n Session) -> Need<'n> {
        let now_us = self.worker.now_us();
        Need {
            protocol: &self.served.protocol,
            session,
            exclusive: head.bind != Bind::Free || !head.end,
            apart: !copy && self.served.in_order && self.down.activity.is_apart(now_us),
            interest: self.served.table.response_interest(),
            place: self.down.number,
            packed: !copy,
        }
    }

    /// Sends the request on a connection to the endpoint, or queues it until there is one.
    fn connect(
        &self,
        message: &mut Message<'_>,
        call: Box<Call>,
        endpoint: Rc<EndpointState>,
        need: &Need<'_>,
        fresh: bool,
    ) -> Sent {
        let (head, copy) = (message.head, call.is_copy());
        let owned = !copy && self.cluster.is_owned(&self.served.protocol);
        if owned && let Some(upstream) = self.down.own_at(&endpoint, need) {
            upstream.set_interest(need.interest);
            return self.send(message, call, &upstream);
        }
        let upstream = match self.cluster.acquire(self.worker, &endpoint, need) {
            Acquired::Upstream(upstream) => upstream,
            Acquired::Busy if copy => {
                call.refuse(self.worker, Fault::Overload, "");
                return Sent::Ended;
            }
            Acquired::Busy => {
                let message = message.to_owned_message();
                return self.wait(Waiting {
                    hold: Reservation::of(&message, &call, true),
                    message,
                    protocol: Arc::clone(need.protocol),
                    session: need.session.clone(),
                    interest: need.interest,
                    deadline_ms: self.try_deadline(&call),
                    give_up_ms: self.give_up(call.deadline_ms),
                    endpoint,
                    call,
                });
            }
        };
        if !copy && (self.served.in_order || !upstream.is_exclusive()) {
            self.down.record_use(&upstream, head.kind, fresh);
        }
        if owned {
            self.down.own(&upstream);
        }
        if head.bind == Bind::Pin && !copy {
            self.down.pin(&upstream);
        }
        self.send(message, call, &upstream)
    }

    fn send(
        &self,
        message: &mut Message<'_>,
        mut call: Box<Call>,
        upstream: &Rc<Upstream>,
    ) -> Sent {
        let (worker, head) = (self.worker, message.head);
        let copy = call.is_copy();
        // A copy must never delay other requests, not even those on the same connection.
        if copy && upstream.is_over_cap() {
            call.refuse(worker, Fault::Overload, "");
            upstream.done(worker);
            return Sent::Ended;
        }
        if let Some(track) = call.telemetry_mut() {
            track.on_attempt(upstream.endpoint.address, worker);
        }
        let answered = call.expects_reply(head.kind);
        if answered && upstream.is_exclusive() && !upstream.is_pinned() && !copy {
            self.down
                .use_exclusively(upstream, head.bind == Bind::Dedicated);
        }
        let deadline_ms = self.try_deadline(&call);
        match upstream.send_call(worker, message, call, deadline_ms) {
            Ok(full) => {
                if !answered && head.end {
                    // No reply will come to mark the connection as free.
                    upstream.done(worker);
                }
                Sent::Out {
                    upstream: Rc::clone(upstream),
                    full,
                }
            }
            Err(unsent) => {
                unsent.answer(worker);
                if !copy {
                    self.down.after_reply(upstream);
                }
                upstream.done(worker);
                Sent::Ended
            }
        }
    }

    /// Checks the policies of the destination cluster: the selected cluster, or the cluster of the
    /// connection that the client is tied to.
    #[inline]
    pub(crate) fn guard(
        &self,
        message: &Message<'_>,
        call: &mut Box<Call>,
        pinned: Option<&Rc<Upstream>>,
    ) -> Result<(), Refusal> {
        let Some(guards) = self.route.rules.guards() else {
            return Ok(());
        };
        let tied = pinned.and_then(|upstream| {
            let mut clusters = self.served.clusters.iter();
            clusters.position(|cluster| Rc::ptr_eq(cluster, &upstream.cluster))
        });
        match guards.of(tied.unwrap_or(call.cluster)) {
            Some(authorizer) => authorize(self.down, authorizer, message, call),
            None => Ok(()),
        }
    }

    /// Keeps a copy of the request if it may be retried after it was sent.
    fn keep(&self, message: &Message<'_>, call: &mut Box<Call>) {
        if let Who::Caller(caller) = &mut call.who
            && caller.kept.is_none()
            && self.route.rules.retry.keeps(&message.head)
        {
            caller.kept = Some(Box::new(RetryState::of(message)));
        }
    }

    /// Returns the deadline of this attempt.
    fn try_deadline(&self, call: &Call) -> u64 {
        let per_try = self.route.rules.retry.per_try_timeout();
        match per_try.filter(|_| matches!(call.who, Who::Caller(_))) {
            Some(time) => call.deadline_ms.min(self.worker.after(time)),
            None => call.deadline_ms,
        }
    }

    /// Returns how long a request may wait for a connection, in milliseconds of the worker's clock.
    /// The limit is the connect timeout, even if the request's own timeout is longer.
    fn give_up(&self, deadline_ms: u64) -> u64 {
        let patience = self.cluster.config.borrow().connect_timeout;
        deadline_ms.min(self.worker.after(patience))
    }

    fn wait(&self, waiting: Waiting) -> Sent {
        let head = *waiting.message.head();
        let may_wait = head.end && matches!(head.bind, Bind::Free | Bind::Dedicated);
        let refused = if may_wait {
            self.worker.something_pending();
            let refused = self.cluster.wait(waiting).err();
            refused.map(|waiting| waiting.call)
        } else {
            Some(waiting.call)
        };
        let Some(call) = refused else {
            return Sent::Waits;
        };
        let text = self.cluster.says("has no connection to spare");
        call.refuse(self.worker, Fault::Overload, &text);
        Sent::Ended
    }
}

/// Sends a request that waited, as a background action of its downstream connection. Returns the
/// call if it must wait for earlier requests of its client.
pub(crate) fn resume(
    worker: &Rc<WorkerContext>,
    message: &mut Message<'_>,
    call: Box<Call>,
) -> Option<Box<Call>> {
    let (down, served, route) = match &call.who {
        Who::Caller(caller) => (&caller.down, &caller.served, caller.route),
        Who::OneWay(one_way) => (&one_way.down, &one_way.served, one_way.route),
        Who::Mirror(_) | Who::Part(_) | Who::Proxy => return None,
    };
    let (down, served) = (Rc::clone(down), Rc::clone(served));
    let (Some(route), Some(cluster)) = (
        served.table.routes().get(route),
        served.clusters.get(call.cluster),
    ) else {
        call.refuse(worker, Fault::NoEndpoint, "its route was removed");
        return None;
    };
    let errand = Dispatch {
        worker,
        down: &down,
        served: &served,
        route,
        cluster,
    };
    match errand.run(message, call) {
        Sent::Later(call) => Some(call),
        Sent::Out { .. } | Sent::Waits | Sent::Ended => None,
    }
}
