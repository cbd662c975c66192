//! Sends a request to a cluster: selects an endpoint and a connection. Used for first attempts,
//! retries, delayed requests and copies. The steps before are in `request`, the handling of
//! failures in `retry`.

pub(crate) mod authorize;
pub(crate) mod broadcast;
pub(crate) mod delayed;
mod marks;
pub(crate) mod mirror;
pub(crate) mod retry;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_frame::{Bind, Fault, Message, Reach};
use meltemi_router_core::{Admission, CompiledRoute};

use crate::call::delayed::Reservation;
use crate::call::retry_state::RetryState;
use crate::call::{Call, Who};
use crate::cluster::endpoint::{EndpointState, InFlight};
use crate::cluster::{Acquired, ClusterState, Need, Waiting};
use crate::config::view::ServedView;
use crate::context::WorkerContext;
use crate::dispatch::authorize::{Refusal, authorize};
use crate::downstream::{Downstream, Placement, PlacementRequest};
use crate::telemetry::stats::cluster;
use crate::upstream::Upstream;

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

/// The endpoint of a request, and the connection if it is already fixed.
struct Goal {
    endpoint: Rc<EndpointState>,
    admission: Admission,
    tie: Tie,
}

/// How a request is bound to a connection.
enum Tie {
    /// The client is pinned to this connection.
    Pinned(Rc<Upstream>),
    /// The client has requests in flight on this connection.
    Stays(Rc<Upstream>),
    /// Not bound. `fresh`: the client has no request in flight anywhere.
    None { fresh: bool },
}

impl Dispatch<'_> {
    /// Sends the request.
    pub(crate) fn run(&self, message: &mut Message<'_>, mut call: Box<Call>) -> Sent {
        let head = message.head;
        let worker = self.worker;
        let copy = call.is_copy();
        let pinned = if copy { None } else { self.down.pinned() };
        // A pinned client has the order and the user of its connection only there.
        let every = matches!(head.reach, Reach::Every { .. });
        if let (Reach::Every { must }, false, None) = (head.reach, copy, &pinned) {
            return self.everywhere(message, call, must);
        }
        let cluster = pinned.as_ref().map_or(self.cluster, |tied| &tied.cluster);
        let session = match head.bind {
            Bind::Login if pinned.is_none() => cluster.config.borrow().login.clone(),
            _ => self.down.upstream_session(cluster),
        };
        let need = Need {
            protocol: &self.served.protocol,
            session: &session,
            exclusive: head.bind != Bind::Free || !head.end,
            apart: !copy && self.served.in_order && self.down.activity.is_apart(worker.now_us()),
            interest: self.served.table.response_interest(),
            place: self.down.number,
            packed: !copy,
        };
        // Copies were authorized before they were counted.
        let guarded = match copy {
            true => Ok(()),
            false => self
                .guard(message, &mut call, pinned.as_ref())
                .map_err(|refusal| (refusal.fault, refusal.text)),
        };
        let goal = match guarded.and_then(|()| self.goal(message, &call, &need)) {
            Ok(Some(goal)) => goal,
            Ok(None) => return Sent::Later(call),
            Err((fault, text)) => {
                call.refuse(worker, fault, &text);
                if !copy {
                    self.down.abort_transaction(&head);
                }
                return Sent::Ended;
            }
        };
        let Goal {
            endpoint,
            admission,
            tie,
        } = goal;
        // Copies leave together with the request: not before it is authorized, and not again with
        // each retry.
        let kept = call.caller().and_then(|caller| caller.kept.as_ref());
        if !copy && kept.is_none_or(|kept| kept.retries == 0 && !kept.has_moved()) {
            self.copy(message, &mut call);
        }
        let is_pinned = matches!(tie, Tie::Pinned(_));
        // A request inside a transaction cannot be retried on another connection.
        if !is_pinned {
            self.keep(message, &mut call);
        }
        if !head.reach.is_any() && !every {
            self.mark(message, &mut call, &endpoint);
        }
        cluster.group.add(cluster::REQUESTS, 1);
        // The limit does not apply to a pinned connection or to a request that was admitted before.
        let let_in = is_pinned || call.has_moved();
        let most = match let_in {
            true => usize::MAX,
            false => cluster.config.borrow().limits.requests,
        };
        call.in_flight = InFlight::new(&endpoint, cluster, admission, most);
        if call.in_flight.is_none() {
            cluster.group.add(cluster::OVERFLOW, 1);
            call.refuse(worker, Fault::Overload, &cluster.says("is at its limit"));
            return Sent::Ended;
        }
        let fresh = match tie {
            Tie::Pinned(upstream) => return self.send(message, call, &upstream),
            Tie::Stays(upstream) => {
                upstream.set_interest(need.interest);
                return self.send(message, call, &upstream);
            }
            Tie::None { fresh } => fresh,
        };
        let owned = !copy && cluster.is_owned(&self.served.protocol);
        if owned && let Some(upstream) = self.down.own_at(&endpoint, &need) {
            upstream.set_interest(need.interest);
            return self.send(message, call, &upstream);
        }
        let upstream = match cluster.acquire(worker, &endpoint, &need) {
            Acquired::Upstream(upstream) => upstream,
            Acquired::Busy if copy => {
                call.refuse(worker, Fault::Overload, "");
                return Sent::Ended;
            }
            Acquired::Busy => {
                let message = message.to_owned_message();
                let waiting = Waiting {
                    hold: Reservation::of(&message, &call, true),
                    message,
                    protocol: Arc::clone(&self.served.protocol),
                    session: session.clone(),
                    interest: need.interest,
                    deadline_ms: self.try_deadline(&call),
                    give_up_ms: self.give_up(call.deadline_ms),
                    endpoint,
                    call,
                };
                return self.wait(waiting);
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

    /// Returns the endpoint for the request. `None` if earlier requests must be answered first.
    fn goal(
        &self,
        message: &Message<'_>,
        call: &Box<Call>,
        need: &Need<'_>,
    ) -> Result<Option<Goal>, (Fault, String)> {
        let copy = call.is_copy();
        if copy {
            let (endpoint, admission) = match &call.who {
                Who::Part(part) => (Rc::clone(&part.endpoint), Admission::Plain),
                _ => self.pick(call)?,
            };
            return Ok(Some(Goal {
                endpoint,
                admission,
                tie: Tie::None { fresh: false },
            }));
        }
        if let Some(upstream) = self.down.pinned() {
            let (endpoint, admission) = self.pinned(message, &upstream)?;
            self.expect(message, &endpoint)?;
            return Ok(Some(Goal {
                endpoint,
                admission,
                tie: Tie::Pinned(upstream),
            }));
        }
        let mut trip = PlacementRequest {
            kind: message.head.kind,
            cluster: self.cluster,
            endpoint: None,
            need,
        };
        // For a client with in-order replies, equal endpoints count as one server.
        let fixed = self.fixed(message)?;
        let together = self.served.in_order && call.hash.is_none() && fixed.is_none();
        let mut way = together.then(|| self.down.placement(&trip));
        if let Some(Placement::Wait) = way {
            return Ok(None);
        }
        let (endpoint, admission) = match (&way, fixed) {
            (_, Some(endpoint)) => (endpoint, Admission::Plain),
            (Some(Placement::Stay(upstream)), None) => {
                (Rc::clone(&upstream.endpoint), Admission::Plain)
            }
            _ => self.pick(call)?,
        };
        if way.is_none() {
            trip.endpoint = Some(&endpoint);
            way = Some(self.down.placement(&trip));
        }
        let tie = match way {
            Some(Placement::Stay(upstream)) => Tie::Stays(upstream),
            Some(Placement::Any { fresh }) => Tie::None { fresh },
            Some(Placement::Wait) | None => {
                endpoint.turn_down(self.cluster, admission);
                return Ok(None);
            }
        };
        Ok(Some(Goal {
            endpoint,
            admission,
            tie,
        }))
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
        let sent = if answered {
            if upstream.is_exclusive() && !upstream.is_pinned() && !copy {
                self.down
                    .use_exclusively(upstream, head.bind == Bind::Dedicated);
            }
            let deadline_ms = self.try_deadline(&call);
            upstream.send(worker, message, Some(call), deadline_ms)
        } else {
            let sent = upstream.send(worker, message, None, u64::MAX);
            match &sent {
                Ok(_) => call.sent(worker),
                Err(unsent) => call.refuse(worker, unsent.fault, unsent.text()),
            }
            sent
        };
        match sent {
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

    /// Returns the endpoint of the connection that the client is tied to.
    fn pinned(
        &self,
        message: &Message<'_>,
        upstream: &Rc<Upstream>,
    ) -> Result<(Rc<EndpointState>, Admission), (Fault, String)> {
        if self.served.leads_elsewhere(message, upstream) {
            tracing::debug!(
                tied = upstream.cluster.config.borrow().name,
                route = self.cluster.config.borrow().name,
                "the route leads to another cluster than the client's connection"
            );
            let text = "it belongs to another server than the one that this connection is tied to";
            return Err((Fault::Misrouted, text.to_owned()));
        }
        Ok((Rc::clone(&upstream.endpoint), Admission::Plain))
    }

    fn pick(&self, call: &Box<Call>) -> Result<(Rc<EndpointState>, Admission), (Fault, String)> {
        self.cluster
            .pick(self.worker, call.hash, call.tried())
            .ok_or_else(|| {
                let what = if self.cluster.is_empty() {
                    "has no endpoint"
                } else {
                    "has no healthy endpoint"
                };
                (Fault::NoEndpoint, self.cluster.says(what))
            })
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
    fn try_deadline(&self, call: &Box<Call>) -> u64 {
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
