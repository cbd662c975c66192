//! The steps of a request before it is sent, in the order of [`Step::ALL`]. Each step lets the
//! request go on or ends it. Must not depend on how a request is dispatched.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use meltemi_config::Abort;
use meltemi_frame::{Bind, Fault, Message, ReplyContext};
use meltemi_router_core::{CompiledRoute, Step};

use crate::call::delayed::{PendingLimit, Wait};
use crate::call::{Call, Who};
use crate::cluster::ClusterState;
use crate::config::view::ServedView;
use crate::dispatch::authorize::Refusal;
use crate::tasks::downstream::DownstreamTask;
use crate::telemetry::stats::route;

/// A request on its way through the steps.
pub(super) struct Request<'r, 'b> {
    pub(super) served: &'r Rc<ServedView>,
    pub(super) message: &'r mut Message<'b>,
    pub(super) call: Box<Call>,
    /// Set by [`Step::Route`].
    pub(super) target: Option<Target<'r>>,
    /// The limits whose services have not answered yet.
    limits: Option<Vec<PendingLimit>>,
    /// The end of an injected delay, in milliseconds of the worker's clock.
    delay_ms: Option<u64>,
}

/// The route and cluster of a request.
#[derive(Clone, Copy)]
pub(super) struct Target<'r> {
    pub(super) route: &'r CompiledRoute,
    pub(super) cluster: &'r Rc<ClusterState>,
}

/// Why a request takes no further step.
pub(super) enum Stop<'r> {
    /// A policy denies the request. Its transaction, if any, is aborted.
    Denied(Refusal),
    /// The request cannot be sent.
    Failed(Fault, String),
    /// The request is answered with an injected fault, now or after a delay.
    Aborted(&'r Abort, Option<u64>),
    /// The request waits.
    Waits(Wait),
    /// The codec answers the request itself, and sends it together with the next one.
    Deferred(ReplyContext),
    /// The request can be dispatched.
    Dispatch,
}

type Next<'r> = ControlFlow<Stop<'r>>;

impl<'r, 'b> Request<'r, 'b> {
    pub(super) const fn new(
        served: &'r Rc<ServedView>,
        message: &'r mut Message<'b>,
        call: Box<Call>,
    ) -> Self {
        Self {
            served,
            message,
            call,
            target: None,
            limits: None,
            delay_ms: None,
        }
    }
}

impl DownstreamTask {
    /// Takes one step.
    #[inline]
    pub(super) fn step<'r>(&self, step: Step, request: &mut Request<'r, '_>) -> Next<'r> {
        match step {
            Step::Policies => self.policies(request),
            Step::Route => self.route(request),
            Step::RoutePolicies => self.route_policies(request),
            Step::Faults => self.faults(request),
            Step::Trace => trace(request),
            Step::Changes => self.changes(request),
            Step::Wait => self.wait(request),
            Step::Dispatch => ControlFlow::Break(Stop::Dispatch),
        }
    }

    fn policies<'r>(&self, request: &mut Request<'r, '_>) -> Next<'r> {
        let Request {
            served,
            message,
            call,
            limits,
            ..
        } = request;
        match served.table.policies() {
            Some(policies) => go_on(self.ask(served, policies, message, call, limits)),
            None => ControlFlow::Continue(()),
        }
    }

    fn route<'r>(&self, request: &mut Request<'r, '_>) -> Next<'r> {
        let (served, call) = (request.served, &mut request.call);
        let message = &*request.message;
        let found = served.table.find(message);
        let found = found.and_then(|at| served.table.routes().get(at).map(|route| (route, at)));
        let Some((route, place)) = found else {
            return ControlFlow::Break(Stop::Denied(Refusal {
                fault: Fault::NoRoute,
                text: self.describe_no_route(served, message),
            }));
        };
        if let Some(group) = served.routes.get(place) {
            group.add(route::REQUESTS, 1);
        }
        let index = served.choose(route, &message.head, self.worker.random());
        let Some(cluster) = served.clusters.get(index) else {
            let text = format!("route {} has no cluster", route.name);
            return ControlFlow::Break(Stop::Failed(Fault::NoEndpoint, text));
        };
        match &mut call.who {
            Who::Caller(caller) => caller.route = place,
            Who::OneWay(one_way) => one_way.route = place,
            Who::Mirror(_) | Who::Part(_) | Who::Proxy => {}
        }
        call.cluster = index;
        call.hash = route.hash(index, message, self.down.peer.ip());
        call.deadline_ms = self.deadline(route.timeout, message);
        if let Some(track) = call.telemetry_mut() {
            track.note(|entry| {
                entry.route = route.name.to_string();
                entry.cluster.clone_from(&cluster.config.borrow().name);
            });
        }
        request.target = Some(Target { route, cluster });
        ControlFlow::Continue(())
    }

    fn route_policies<'r>(&self, request: &mut Request<'r, '_>) -> Next<'r> {
        let extras = request
            .target
            .and_then(|target| target.route.rules.extras());
        let Some(policies) = extras.and_then(|extras| extras.policies.as_ref()) else {
            return ControlFlow::Continue(());
        };
        let Request {
            served,
            message,
            call,
            limits,
            ..
        } = request;
        go_on(self.ask(served, policies, message, call, limits))
    }

    fn faults<'r>(&self, request: &mut Request<'r, '_>) -> Next<'r> {
        let extras = request
            .target
            .and_then(|target| target.route.rules.extras());
        let Some(faults) = extras.and_then(|extras| extras.faults.as_ref()) else {
            return ControlFlow::Continue(());
        };
        let drawn = faults.draw(request.message, &mut || self.worker.random());
        if let Some(track) = request.call.telemetry_mut() {
            track.note(|entry| {
                entry.injected.abort = drawn.abort.is_some();
                entry.injected.delay_ms = drawn.delay.map(|delay| delay.as_millis() as u64);
            });
        }
        request.delay_ms = drawn.delay.map(|delay| self.worker.after(delay));
        match drawn.abort {
            Some(abort) => ControlFlow::Break(Stop::Aborted(abort, request.delay_ms)),
            None => ControlFlow::Continue(()),
        }
    }

    fn changes<'r>(&self, request: &mut Request<'r, '_>) -> Next<'r> {
        if let Some(Target { route, cluster }) = request.target
            && !route.request_changes.is_empty()
        {
            let cluster = &cluster.config.borrow().name;
            let facts = self.down.facts(&self.view.listener.name, route, cluster);
            route.request_changes.apply(request.message, &facts);
        }
        ControlFlow::Continue(())
    }

    fn wait<'r>(&self, request: &mut Request<'r, '_>) -> Next<'r> {
        let wait = if let Some(limits) = request.limits.take() {
            Wait::RateLimit(limits, request.delay_ms)
        } else if let Some(due_ms) = request.delay_ms {
            Wait::Until(due_ms)
        } else if self.down.has_delayed() {
            Wait::Turn
        } else {
            let deferred = request
                .served
                .split
                .then(|| self.down.defer(request.message));
            return match deferred.flatten() {
                Some(receipt) => ControlFlow::Break(Stop::Deferred(receipt)),
                None => ControlFlow::Continue(()),
            };
        };
        ControlFlow::Break(Stop::Waits(wait))
    }

    fn describe_no_route(&self, served: &ServedView, message: &Message<'_>) -> String {
        let (service, operation) = served.operations.names(message);
        let separator = if service.is_empty() { "" } else { "." };
        format!(
            "no route on {} for {service}{separator}{operation}",
            self.view.listener.name
        )
    }

    /// Returns the deadline of the request, in milliseconds of the worker's clock.
    fn deadline(&self, route: Option<Duration>, message: &Message<'_>) -> u64 {
        let own = message.head.timeout;
        // A blocking command may wait as long as the client requested.
        let timeout = match (route, own) {
            _ if message.head.bind == Bind::Dedicated => None,
            (Some(route), Some(own)) => Some(route.min(own)),
            (route, own) => route.or(own),
        };
        timeout.map_or(u64::MAX, |timeout| self.worker.after(timeout))
    }
}

fn trace<'r>(request: &mut Request<'r, '_>) -> Next<'r> {
    if let Some(told) = request
        .call
        .telemetry_mut()
        .and_then(|track| track.told.as_mut())
        && let Some(span) = &mut told.span
    {
        span.propagate(request.message);
    }
    ControlFlow::Continue(())
}

fn go_on<'r>(asked: Result<(), Refusal>) -> Next<'r> {
    match asked {
        Ok(()) => ControlFlow::Continue(()),
        Err(refusal) => ControlFlow::Break(Stop::Denied(refusal)),
    }
}
