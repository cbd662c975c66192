//! A request in flight: who sent it, and how it ends. The module does not choose endpoints (see
//! `dispatch`).

mod caller;
pub(crate) mod comparison;
pub(crate) mod delayed;
pub(crate) mod gathering;
pub(crate) mod retry_state;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use meltemi_frame::{Fault, Kind, Mark, Message, Reason, ReplyContext};
use meltemi_router_core::Outcome;

use crate::cluster::endpoint::InFlight;
use crate::config::view::ServedView;
use crate::context::WorkerContext;
use crate::downstream::Downstream;
use crate::telemetry::access_log::Entry;
use crate::telemetry::spans::{Active, Finished};
use crate::telemetry::stats::operation;
use comparison::Comparison;
use gathering::Part;
use retry_state::RetryState;

pub(crate) use caller::Caller;

/// A request in flight, or one that is about to be sent. It is boxed because it is large and often
/// moved. The boxes are reused (see [`Pool`]).
pub(crate) struct Call {
    pub(crate) who: Who,
    /// The correlation id from the client's request.
    pub(crate) id: Option<i64>,
    /// The deadline of the whole request, in milliseconds of the worker's clock.
    pub(crate) deadline_ms: u64,
    /// The index of the cluster in the configuration that was current when the request arrived.
    pub(crate) cluster: usize,
    /// The hash that the balancer used.
    pub(crate) hash: Option<u64>,
    /// The time when the request was given to its connection, in microseconds of the worker's
    /// clock. Set only if the connection answers in order. The request may have waited long before
    /// that.
    pub(crate) sent_us: u64,
    /// The position of the request's bytes in the output stream of its connection.
    pub(crate) place: Place,
    /// Counts the request against the limits of its endpoint and cluster until it is dropped.
    pub(crate) in_flight: Option<InFlight>,
}

/// A range of bytes in the output stream of a connection, counted from the first byte of the
/// connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: u64,
    /// 0 if the bytes cannot be taken back.
    pub(crate) length: usize,
}

/// The sender of a request.
pub(crate) enum Who {
    /// A client that waits for the response.
    Caller(Caller),
    /// A client that expects no response.
    OneWay(OneWay),
    /// No client: the request is a mirrored copy. Its response may be compared with the original's.
    Mirror(Option<Rc<Comparison>>),
    /// No client: the request is a copy for one endpoint of a broadcast. The client gets a response
    /// when all copies have ended.
    Part(Part),
    /// The proxy itself: the request is a heartbeat.
    Proxy,
}

/// A one-way request.
pub(crate) struct OneWay {
    pub(crate) down: Rc<Downstream>,
    pub(crate) served: Rc<ServedView>,
    pub(crate) route: usize,
    pub(crate) track: RequestTelemetry,
}

/// A pool of boxes for requests. In the steady state no box is allocated.
#[derive(Default)]
pub(crate) struct Pool(RefCell<Vec<Box<Call>>>);

/// The largest number of boxes in the pool.
const CAPACITY: usize = 1024;

impl Pool {
    pub(crate) fn call(&self, who: Who, id: Option<i64>) -> Box<Call> {
        match self.0.borrow_mut().pop() {
            Some(mut call) => {
                // Assigns each field: none of the old values needs a drop, so this is cheaper than
                // `Call::new`.
                call.who = who;
                call.id = id;
                call.deadline_ms = u64::MAX;
                call.cluster = usize::MAX;
                call.hash = None;
                call.sent_us = u64::MAX;
                call.place = Place::default();
                call
            }
            None => Box::new(Call::new(who, id)),
        }
    }

    fn put(&self, call: Box<Call>) {
        let mut boxes = self.0.borrow_mut();
        if boxes.len() < CAPACITY {
            boxes.push(call);
        }
    }

    /// Frees the memory of the pool.
    pub(crate) fn trim(&self) {
        *self.0.borrow_mut() = Vec::new();
    }
}

impl Call {
    pub(crate) const fn new(who: Who, id: Option<i64>) -> Self {
        Self {
            who,
            id,
            deadline_ms: u64::MAX,
            cluster: usize::MAX,
            hash: None,
            sent_us: u64::MAX,
            place: Place {
                start: 0,
                length: 0,
            },
            in_flight: None,
        }
    }

    /// Creates a heartbeat of the proxy.
    pub(crate) fn keepalive() -> Box<Call> {
        Box::new(Self::new(Who::Proxy, None))
    }

    pub(crate) const fn is_keepalive(&self) -> bool {
        matches!(self.who, Who::Proxy)
    }

    /// Returns the client that waits for the response. `None` for any other sender.
    pub(crate) const fn caller(&self) -> Option<&Caller> {
        match &self.who {
            Who::Caller(caller) => Some(caller),
            _ => None,
        }
    }

    pub(crate) const fn caller_mut(&mut self) -> Option<&mut Caller> {
        match &mut self.who {
            Who::Caller(caller) => Some(caller),
            _ => None,
        }
    }

    /// Returns `true` if the request is a copy. No client gets the response to a copy.
    pub(crate) const fn is_copy(&self) -> bool {
        matches!(self.who, Who::Mirror(_) | Who::Part(_))
    }

    /// Keeps a copy of the whole request. Needed when the bytes on the wire are not enough to send
    /// it again.
    pub(crate) fn keep_whole(&mut self, message: &Message<'_>) {
        if let Some(caller) = self.caller_mut()
            && caller.kept.is_none()
        {
            caller.kept = Some(Box::new(RetryState::unsent(message.to_owned_message())));
        }
    }

    /// Returns the client that sent the request. `None` for copies and heartbeats.
    pub(crate) const fn down(&self) -> Option<&Rc<Downstream>> {
        match &self.who {
            Who::Caller(caller) => Some(&caller.down),
            Who::OneWay(one_way) => Some(&one_way.down),
            Who::Mirror(_) | Who::Part(_) | Who::Proxy => None,
        }
    }

    /// Returns `true` if the request is of this client.
    pub(crate) fn is_of(&self, down: &Rc<Downstream>) -> bool {
        self.down().is_some_and(|other| Rc::ptr_eq(other, down))
    }

    /// Returns the telemetry of the request. `None` for copies and heartbeats.
    pub(crate) const fn telemetry_mut(&mut self) -> Option<&mut RequestTelemetry> {
        match &mut self.who {
            Who::Caller(caller) => Some(&mut caller.track),
            Who::OneWay(one_way) => Some(&mut one_way.track),
            Who::Mirror(_) | Who::Part(_) | Who::Proxy => None,
        }
    }

    /// Returns the endpoints that already failed this request.
    pub(crate) fn tried(&self) -> &[SocketAddr] {
        let retry = self.caller().and_then(|caller| caller.kept.as_ref());
        retry.map_or(&[], |retry| &retry.tried)
    }

    /// Returns the mark of the request's endpoint, if the response is valid only on that endpoint.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.caller().and_then(|caller| caller.mark)
    }

    /// Returns `true` if the request was moved from a connection before any of its bytes were sent.
    pub(crate) fn has_moved(&self) -> bool {
        let retry = self.caller().and_then(|caller| caller.kept.as_ref());
        retry.is_some_and(|retry| retry.has_moved())
    }

    /// Returns `true` if the upstream will send a response.
    pub(crate) const fn expects_reply(&self, kind: Kind) -> bool {
        !matches!(self.who, Who::OneWay(_)) && matches!(kind, Kind::Request)
    }

    /// Ends the request and puts its box back into the pool.
    pub(crate) fn recycle(mut self: Box<Self>) {
        self.in_flight = None;
        let served = match &self.who {
            Who::Caller(caller) => Rc::clone(&caller.served),
            Who::OneWay(one_way) => Rc::clone(&one_way.served),
            Who::Mirror(_) | Who::Part(_) | Who::Proxy => return,
        };
        self.who = Who::Proxy;
        served.calls.put(self);
    }

    /// Ends a request that was sent and gets no response.
    pub(crate) fn sent(mut self: Box<Self>, worker: &WorkerContext) {
        if let Who::OneWay(one_way) = &mut self.who {
            let OneWay { track, served, .. } = one_way;
            track.end(worker, served, 0, "ok", None, "");
        }
        self.recycle();
    }

    /// Ends a request that was not sent because its client disconnected. Sends no reply, but logs
    /// the request.
    pub(crate) fn abandon(self: Box<Self>, worker: &WorkerContext) {
        self.refuse(worker, Fault::Reset, "the client disconnected");
    }

    /// Sends a fault to the client. Does not retry.
    pub(crate) fn refuse(self: Box<Self>, worker: &WorkerContext, fault: Fault, text: &str) {
        self.answer(worker, fault, fault.reason(), text);
    }

    /// Sends a fault to the client with a reason other than the default of `fault`.
    pub(crate) fn answer(
        mut self: Box<Self>,
        worker: &WorkerContext,
        fault: Fault,
        reason: Reason,
        text: &str,
    ) {
        match &mut self.who {
            Who::Caller(caller) => caller.fail(worker, fault, reason, text),
            Who::OneWay(one_way) => {
                one_way.down.count_fault(fault);
                let OneWay { served, track, .. } = one_way;
                track.end(worker, served, 0, "local", Some(fault), text);
            }
            Who::Mirror(comparison) => {
                if let Some(comparison) = comparison {
                    comparison.lost();
                }
            }
            Who::Part(part) => part.lost(worker, fault, text),
            Who::Proxy => {}
        }
        self.recycle();
    }

    /// Ends a request that the codec answers itself and sends together with the next request.
    pub(crate) fn deferred(mut self: Box<Self>, worker: &WorkerContext, receipt: &ReplyContext) {
        if let Who::Caller(caller) = &mut self.who {
            let Caller { track, served, .. } = caller;
            track.end(worker, served, 0, "ok", None, "");
            caller.down.answer_deferred(caller.seq, receipt);
        }
        self.recycle();
    }

    /// Reports the outcome of the request to the health tracking of its endpoint.
    pub(crate) fn outcome(&mut self, worker: &WorkerContext, outcome: Outcome) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.end(outcome, worker.now_us());
        }
    }
}

/// The data that is reported when the request ends.
pub(crate) struct RequestTelemetry {
    /// The time when the request was read, in microseconds of the worker's clock.
    pub(crate) started_us: u64,
    /// The index of the counters of the request's operation.
    pub(crate) operation: usize,
    /// `None` if neither the access log nor a trace needs this request.
    pub(crate) told: Option<Box<RequestLog>>,
}

/// The data of a request for the access log and for its trace.
pub(crate) struct RequestLog {
    pub(crate) entry: Entry,
    /// The span of the request, if traces are exported.
    pub(crate) span: Option<Box<Active>>,
}

impl RequestTelemetry {
    /// Records the end of the request.
    pub(crate) fn end(
        &mut self,
        worker: &WorkerContext,
        served: &ServedView,
        bytes: usize,
        status: &'static str,
        fault: Option<Fault>,
        details: &str,
    ) {
        let duration = worker.now_us().saturating_sub(self.started_us);
        served.operations.with(self.operation, |group| {
            group.observe(duration);
            if status != "ok" {
                group.add(operation::FAILED, 1);
            }
        });
        if let Some(mut told) = self.told.take() {
            let entry = &mut told.entry;
            entry.duration_us = duration;
            entry.response_bytes += bytes;
            entry.status = status;
            entry.fault = fault.map_or("", Fault::name);
            details.clone_into(&mut entry.details);
            told.end(worker, fault);
        }
    }

    /// Adds the size of a piece of the response.
    pub(crate) fn add_bytes(&mut self, bytes: usize) {
        self.note(|entry| entry.response_bytes += bytes);
    }

    /// Records that the request is sent to an endpoint.
    pub(crate) fn on_attempt(&mut self, endpoint: SocketAddr, worker: &WorkerContext) {
        self.note(|entry| {
            entry.add_endpoint(endpoint);
            entry.sent_us = worker.now_us();
        });
    }

    /// Records that the first piece of the response arrived.
    pub(crate) fn on_response_start(&mut self, worker: &WorkerContext) {
        self.note(|entry| {
            let since = worker.now_us().saturating_sub(entry.sent_us);
            entry.upstream_duration_us = Some(since);
        });
    }

    /// Changes the access log entry, if there is one.
    pub(crate) fn note(&mut self, write: impl FnOnce(&mut Entry)) {
        if let Some(told) = &mut self.told {
            write(&mut told.entry);
        }
    }
}

impl RequestLog {
    fn end(self, worker: &WorkerContext, fault: Option<Fault>) {
        let Self { entry, span } = self;
        if let Some(span) = span {
            span.finish(Finished {
                route: &entry.route,
                cluster: &entry.cluster,
                endpoint: entry.endpoint(),
                attempts: entry.attempts(),
                status: entry.status,
                fault,
                details: &entry.details,
            });
        }
        if let Some(log) = &worker.services.access_log {
            log.write(&entry);
        }
    }
}
