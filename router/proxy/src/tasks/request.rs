//! Receives requests from clients: records the caller, carries each request through its steps
//! (`steps`) and dispatches it. Must not depend on how an endpoint and a connection are selected.

mod policies;
mod steps;

use std::rc::Rc;

use meltemi_config::Abort;
use meltemi_frame::{Bind, Fault, Kind, Message, Reach};
use meltemi_router_core::Step;

use crate::call::delayed::Wait;
use crate::call::{Call, Caller, OneWay, RequestLog, RequestTelemetry, Who};
use crate::config::view::ServedView;
use crate::dispatch::authorize::Refusal;
use crate::dispatch::delayed;
use crate::dispatch::{Dispatch, Sent};
use crate::tasks::downstream::{DownstreamTask, Streaming};
use crate::telemetry::access_log::Entry;
use crate::telemetry::stats::{listener, operation};
use crate::upstream::Upstream;

use steps::{Request, Stop, Target};

impl DownstreamTask {
    /// Handles one request. Returns `true` if the connection must wait before the next.
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
            // The default until the destination of the pieces is known.
            self.conversation.streaming = Streaming::Nowhere;
        }
        let call = self.call(&served, message);
        self.admit(&served, message, call);
        self.must_wait()
    }

    /// Returns `true` if the request must wait for earlier ones. A request with a dedicated
    /// connection runs alone: earlier requests are answered first, and later ones wait for its
    /// reply. Requests behind a transaction that is about to end wait too.
    fn must_stall(&mut self, served: &ServedView, message: &Message<'_>) -> bool {
        let head = &message.head;
        let every = matches!(head.reach, Reach::Every { .. });
        let own = served.in_order && (head.bind == Bind::Dedicated || !head.end || every);
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

    /// Creates the call of a request, with its place in the order of replies.
    fn call(&self, served: &Rc<ServedView>, message: &Message<'_>) -> Box<Call> {
        let operation = served.operations.of(message);
        served
            .operations
            .with(operation, |group| group.add(operation::REQUESTS, 1));
        let track = RequestTelemetry {
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

    /// Creates the record for the access log and traces. `None` if neither is enabled.
    fn told(&self, served: &ServedView, message: &Message<'_>) -> Option<Box<RequestLog>> {
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
        Some(Box::new(RequestLog { entry, span }))
    }

    /// Carries a request through its steps.
    fn admit(&mut self, served: &Rc<ServedView>, message: &mut Message<'_>, call: Box<Call>) {
        let mut request = Request::new(served, message, call);
        let mut steps = Step::ALL.into_iter();
        let stop = steps.find_map(|step| self.step(step, &mut request).break_value());
        let Request {
            message,
            call,
            target,
            ..
        } = request;
        match (stop, target) {
            (Some(Stop::Dispatch), Some(target)) => self.dispatch(served, target, message, call),
            (Some(Stop::Denied(refusal)), _) => self.deny(message, call, &refusal),
            (Some(Stop::Failed(fault, text)), _) => call.refuse(&self.worker, fault, &text),
            (Some(Stop::Aborted(abort, delay_ms)), _) => self.abort(message, call, abort, delay_ms),
            (Some(Stop::Waits(wait)), _) => self.delay(message, call, wait),
            (Some(Stop::Deferred(receipt)), _) => call.deferred(&self.worker, &receipt),
            (Some(Stop::Dispatch) | None, _) => {
                call.refuse(&self.worker, Fault::NoRoute, "it has no route");
            }
        }
    }

    fn dispatch(
        &mut self,
        served: &Rc<ServedView>,
        target: Target<'_>,
        message: &mut Message<'_>,
        call: Box<Call>,
    ) {
        let errand = Dispatch {
            worker: &self.worker,
            down: &self.down,
            served,
            route: target.route,
            cluster: target.cluster,
        };
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
            Sent::Later(call) => self.delay(message, call, Wait::Turn),
            Sent::Waits | Sent::Ended => {}
        }
    }

    fn delay(&self, message: &Message<'_>, call: Box<Call>, wait: Wait) {
        if message.head.end {
            delayed::delay(&self.worker, message.to_owned_message(), call, wait);
        } else {
            // Listeners with such rules buffer whole messages, up to the size limit.
            call.refuse(&self.worker, Fault::TooLarge, "it is too large to wait");
        }
    }

    /// Answers a denied request.
    fn deny(&self, message: &Message<'_>, call: Box<Call>, refusal: &Refusal) {
        call.refuse(&self.worker, refusal.fault, &refusal.text);
        self.down.abort_transaction(&message.head);
    }

    /// Answers a request with an injected fault, now or after its delay.
    fn abort(&self, message: &Message<'_>, call: Box<Call>, abort: &Abort, delay_ms: Option<u64>) {
        if let Some(due_ms) = delay_ms.filter(|_| message.head.end) {
            let wait = Wait::Abort(due_ms, abort.reason, abort.text.clone());
            return delayed::delay(&self.worker, message.to_owned_message(), call, wait);
        }
        call.answer(&self.worker, Fault::Injected, abort.reason, &abort.text);
        self.down.abort_transaction(&message.head);
    }

    /// Sends a further piece of a large request. If that fails, the callers are answered here.
    pub(crate) fn send_piece(
        &mut self,
        upstream: &Rc<Upstream>,
        message: &mut Message<'_>,
    ) -> bool {
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

    /// Handles a further piece of a large request.
    pub(crate) fn further_piece(&mut self, message: &mut Message<'_>) -> bool {
        let end = message.head.end;
        if let Streaming::To(upstream) = &self.conversation.streaming {
            let upstream = Rc::clone(upstream);
            if !self.send_piece(&upstream, message) {
                // The request is incomplete without this piece.
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

    /// Returns `true` if the connection must wait before its next message.
    pub(crate) fn must_wait(&self) -> bool {
        let (talk, limits) = (&self.conversation, &self.view.listener.limits);
        // The rest of a started request must be read, or it is never answered.
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
