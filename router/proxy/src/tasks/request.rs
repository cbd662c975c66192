//! What happens to a request before it is sent: who may, how much, which route, which faults and copies.
//! Where it goes from there is told by `dispatch`.

mod policies;

use std::rc::Rc;
use std::time::Duration;

use meltemi_config::Abort;
use meltemi_frame::{Bind, Fault, Kind, Message, Reach};

use crate::call::delayed::Wait;
use crate::call::{Call, Caller, OneWay, Told, Track, Who};
use crate::config::view::ServedView;
use crate::dispatch::authorize::Refusal;
use crate::dispatch::parked;
use crate::dispatch::{Errand, Sent};
use crate::tasks::downstream::{DownstreamTask, Streaming};
use crate::telemetry::access_log::Entry;
use crate::telemetry::stats::{listener, operation, route};
use crate::upstream::Upstream;

impl DownstreamTask {
    /// Takes one request. Tells whether the connection has to wait before the next.
    pub(crate) fn request(&mut self, message: &mut Message<'_>, again: bool) -> bool {
        let Some(served) = self.served.clone() else {
            return true;
        };
        if self.must_stall(&served, message) {
            self.conversation.stalled = Some(Box::new(message.to_owned_message()));
            return true;
        }
        self.count(message, again);
        self.conversation.changing |= message.head.bind.changes_session();
        self.conversation.closing |= message.head.close;
        if !message.head.end {
            // Until it is known where the pieces go.
            self.conversation.streaming = Streaming::Nowhere;
        }
        let call = self.call(&served, message);
        self.admit(&served, message, call);
        self.must_wait()
    }

    /// A request that has a connection of its own goes alone: those before it are answered first, and
    /// those behind it wait for its answer. So do those behind a transaction that is about to end.
    fn must_stall(&mut self, served: &ServedView, message: &Message<'_>) -> bool {
        let head = &message.head;
        let every = matches!(head.reach, Reach::Every { .. });
        let own = served.in_order && (head.bind == Bind::Once || !head.end || every);
        if self.down.in_flight() == 0 {
            let alone = own && head.bind != Bind::Pin && self.down.pinned().is_none();
            self.conversation.alone = alone;
            return false;
        }
        self.conversation.alone
            || match self.down.pinned() {
                None => own || head.bind == Bind::Pin || head.bind.changes_session(),
                Some(upstream) => served.leads_elsewhere(message, &upstream),
            }
    }

    fn count(&self, message: &Message<'_>, again: bool) {
        if again {
            return;
        }
        self.view.group.add(listener::REQUESTS, 1);
        if message.head.kind == Kind::OneWay {
            self.view.group.add(listener::ONE_WAY, 1);
        }
    }

    /// The request as it is remembered, with its place in the order of replies.
    fn call(&self, served: &Rc<ServedView>, message: &Message<'_>) -> Call {
        let operation = served.operations.of(message);
        served
            .operations
            .with(operation, |group| group.add(operation::REQUESTS, 1));
        let track = Track {
            started_us: self.worker.now_us(),
            operation,
            told: self.told(served, message),
        };
        let down = Rc::clone(&self.down);
        let route = usize::MAX;
        let who = if message.head.kind == Kind::Request {
            let (seq, receipt) = self.down.open(message);
            Who::Caller(Caller {
                down,
                seq,
                receipt,
                served: Rc::clone(served),
                route,
                status: meltemi_frame::Status::Ok,
                bind: message.head.bind,
                mark: None,
                track,
                kept: None,
                compared: None,
            })
        } else {
            Who::OneWay(OneWay {
                down,
                served: Rc::clone(served),
                route,
                track,
            })
        };
        served.calls.call(who, message.head.id)
    }

    /// What is told of the request, if anybody wants to know.
    fn told(&self, served: &ServedView, message: &Message<'_>) -> Option<Box<Told>> {
        let tracer = self.worker.services.tracer.as_ref();
        if tracer.is_none() && self.worker.services.access_log.is_none() {
            return None;
        }
        let span = tracer.map(|tracer| {
            let random = || self.worker.random();
            let (keys, listener) = (&served.trace_keys, &self.view.listener);
            tracer.begin(message, keys, listener, self.down.peer, random)
        });
        let (service, operation) = served.operations.names(message);
        let entry = Entry {
            listener: self.view.listener.name.clone(),
            protocol: served.protocol.spec().name.to_string(),
            kind: message.head.kind.name(),
            downstream: Some(self.down.peer),
            id: message.head.id,
            service,
            operation,
            request_bytes: message.wire().len(),
            trace_id: span
                .as_ref()
                .map(|span| span.trace_id())
                .unwrap_or_default(),
            ..Entry::default()
        };
        Some(Box::new(Told { entry, span }))
    }

    /// Policies, the route, and what the route does to its requests.
    fn admit(&mut self, served: &Rc<ServedView>, message: &mut Message<'_>, mut call: Call) {
        let mut words = None;
        if let Some(policies) = served.table.policies()
            && let Err(refusal) = self.ask(served, policies, message, &mut call, &mut words)
        {
            return self.deny(message, call, &refusal);
        }
        let found = served.table.find(message);
        let found = found.and_then(|at| served.table.routes().get(at).map(|route| (route, at)));
        let Some((route, place)) = found else {
            let refusal = Refusal {
                fault: Fault::NoRoute,
                text: self.describe_no_route(served, message),
            };
            return self.deny(message, call, &refusal);
        };
        if let Some(group) = served.routes.get(place) {
            group.add(route::REQUESTS, 1);
        }
        let index = served.choose(route, &message.head, self.worker.random());
        let Some(cluster) = served.clusters.get(index) else {
            let text = format!("route {} leads nowhere", route.name);
            return call.refuse(&self.worker, Fault::NoEndpoint, &text);
        };
        match &mut call.who {
            Who::Caller(caller) => caller.route = place,
            Who::OneWay(one_way) => one_way.route = place,
            Who::Mirror(_) | Who::Part(_) | Who::Proxy => {}
        }
        call.cluster = index;
        call.hash = route.hash(index, message, self.down.peer.ip());
        call.deadline_ms = self.deadline(route.timeout, message);
        if let Some(track) = call.track_mut() {
            track.note(|entry| {
                route.name.to_string().clone_into(&mut entry.route);
                entry.cluster.clone_from(&cluster.config.borrow().name);
            });
        }
        let errand = Errand {
            worker: &self.worker,
            down: &self.down,
            served,
            route,
            cluster,
        };
        let mut delay_ms = None;
        let extras = route.rules.extras();
        if let Some(extras) = extras {
            if let Some(policies) = &extras.policies
                && let Err(refusal) = self.ask(served, policies, message, &mut call, &mut words)
            {
                return self.deny(message, call, &refusal);
            }
            if let Some(faults) = &extras.faults {
                let drawn = faults.draw(message, &mut || self.worker.random());
                if let Some(track) = call.track_mut() {
                    track.note(|entry| {
                        entry.injected.abort = drawn.abort.is_some();
                        entry.injected.delay_ms = drawn.delay.map(|delay| delay.as_millis() as u64);
                    });
                }
                delay_ms = drawn.delay.map(|delay| self.worker.after(delay));
                if let Some(abort) = drawn.abort {
                    return self.abort(message, call, abort, delay_ms);
                }
            }
        }
        if let Some(told) = call.track_mut().and_then(|track| track.told.as_mut())
            && let Some(span) = &mut told.span
        {
            span.propagate(message);
        }
        if !route.request_changes.is_empty() {
            let cluster = &cluster.config.borrow().name;
            let facts = self.down.facts(&self.view.listener.name, route, cluster);
            route.request_changes.apply(message, &facts);
        }
        let wait = if let Some(words) = words {
            Some(Wait::Words(words, delay_ms))
        } else if let Some(due_ms) = delay_ms {
            Some(Wait::Until(due_ms))
        } else if self.down.has_parked() {
            Some(Wait::Turn)
        } else {
            None
        };
        if let Some(wait) = wait {
            if !message.head.end {
                // Listeners with such rules hold messages whole, up to their limit.
                let text = "it is too large to wait";
                return call.refuse(&self.worker, Fault::TooLarge, text);
            }
            let message = message.to_owned_message();
            return parked::park(&self.worker, message, call, wait);
        }
        if served.split
            && let Some(receipt) = self.down.defer(message)
        {
            return call.deferred(&self.worker, &receipt);
        }
        match errand.run(message, call) {
            Sent::Out { upstream, full } => {
                if full {
                    self.conversation.blocked_on = Some(Rc::clone(&upstream));
                }
                if !message.head.end {
                    upstream.set_sending(true);
                    self.conversation.streaming = Streaming::To(upstream);
                }
            }
            Sent::Later(call) if message.head.end => {
                parked::park(&self.worker, message.to_owned_message(), call, Wait::Turn);
            }
            Sent::Later(call) => {
                let text = "it is too large to wait";
                call.refuse(&self.worker, Fault::TooLarge, text);
            }
            Sent::Waits | Sent::Ended => {}
        }
    }
}

impl DownstreamTask {
    /// Answers a request that goes no further.
    fn deny(&self, message: &Message<'_>, call: Call, refusal: &Refusal) {
        call.refuse(&self.worker, refusal.fault, &refusal.text);
        self.down.spoil(&message.head);
    }

    /// Answers a request with an injected fault, now or when its delay is over.
    fn abort(&self, message: &Message<'_>, call: Call, abort: &Abort, delay_ms: Option<u64>) {
        if let Some(due_ms) = delay_ms.filter(|_| message.head.end) {
            let wait = Wait::Abort(due_ms, abort.reason, abort.text.clone());
            return parked::park(&self.worker, message.to_owned_message(), call, wait);
        }
        call.answer(&self.worker, Fault::Injected, abort.reason, &abort.text);
        self.down.spoil(&message.head);
    }
}

impl DownstreamTask {
    fn describe_no_route(&self, served: &ServedView, message: &Message<'_>) -> String {
        let (service, operation) = served.operations.names(message);
        let separator = if service.is_empty() { "" } else { "." };
        format!(
            "no route on {} for {service}{separator}{operation}",
            self.view.listener.name
        )
    }

    /// When the request's time is out, in milliseconds of the worker's clock.
    fn deadline(&self, route: Option<Duration>, message: &Message<'_>) -> u64 {
        let own = message.head.timeout;
        // A blocking command waits as long as it says: that is what it is for.
        let timeout = match (route, own) {
            _ if message.head.bind == Bind::Once => None,
            (Some(route), Some(own)) => Some(route.min(own)),
            (route, own) => route.or(own),
        };
        timeout.map_or(u64::MAX, |timeout| self.worker.after(timeout))
    }

    /// Sends a further piece of a large request. If it cannot be sent, whoever waits has been told.
    fn send_piece(&mut self, upstream: &Rc<Upstream>, message: &mut Message<'_>) -> bool {
        match upstream.send(&self.worker, message, None, u64::MAX) {
            Ok(full) => {
                if full {
                    self.conversation.blocked_on = Some(Rc::clone(upstream));
                }
                true
            }
            Err(unsent) => {
                self.down.count_fault(unsent.fault);
                false
            }
        }
    }

    /// A further piece of a large request.
    pub(crate) fn further_piece(&mut self, message: &Message<'_>) -> bool {
        let end = message.head.end;
        if let Streaming::To(upstream) = &self.conversation.streaming {
            let upstream = Rc::clone(upstream);
            if !self.send_piece(&upstream, &mut message.clone()) {
                // Without this piece the others make no sense.
                upstream.close(Fault::Reset);
                self.conversation.streaming = Streaming::Nowhere;
            } else if end {
                upstream.set_sending(false);
                upstream.done(&self.worker);
            }
        }
        if end {
            self.conversation.streaming = Streaming::None;
        }
        self.must_wait()
    }

    /// Whether the connection has to wait before its next message.
    pub(crate) fn must_wait(&self) -> bool {
        let (talk, limits) = (&self.conversation, &self.view.listener.limits);
        // The rest of a request that counts already must come, or it is never answered.
        let more = matches!(talk.streaming, Streaming::None);
        talk.changing
            || talk.closing
            || talk.stalled.is_some()
            || talk.blocked_on.is_some()
            || self
                .down
                .may_read(limits.output)
                .is_none_or(|in_flight| more && in_flight >= limits.in_flight)
    }
}
