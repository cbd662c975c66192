//! A request in flight: who asked, and what to do when it ends. Where it goes is `dispatch`'s affair.

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

/// A request in flight, or about to be. Boxed, as it is handed on often and large; boxes are used again.
pub(crate) struct Call {
    pub(crate) who: Who,
    /// The correlation id as the caller wrote it.
    pub(crate) id: Option<i64>,
    /// When the time of the whole request is out, in milliseconds of the worker's clock.
    pub(crate) deadline_ms: u64,
    /// The cluster's place in the configuration that the request met.
    pub(crate) cluster: usize,
    /// What the balancer hashed.
    pub(crate) hash: Option<u64>,
    /// When it was given to its connection, if that answers in order, in microseconds of the worker's
    /// clock. It may have waited long before.
    pub(crate) sent_us: u64,
    /// Where it stands in everything that was ever put into the output of its connection.
    pub(crate) place: Place,
    /// Counts the request against its endpoint and cluster as long as it lives.
    pub(crate) in_flight: Option<InFlight>,
}

/// A stretch of everything that was ever put into the output of a connection, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: u64,
    /// 0: it cannot be taken back.
    pub(crate) length: usize,
}

/// Who asked.
pub(crate) enum Who {
    /// A client.
    Caller(Caller),
    /// A client that wants no answer.
    OneWay(OneWay),
    /// Nobody: it is a copy, whose answer may be compared with the original's.
    Mirror(Option<Rc<Comparison>>),
    /// Nobody: it is a copy for one endpoint, and the request is answered when all copies are.
    Part(Part),
    /// The proxy itself, for a heartbeat.
    Proxy,
}

/// A one-way request.
pub(crate) struct OneWay {
    pub(crate) down: Rc<Downstream>,
    pub(crate) served: Rc<ServedView>,
    pub(crate) route: usize,
    pub(crate) track: RequestTelemetry,
}

/// Boxes of requests that have ended, for those to come: in the steady state none is allocated.
#[derive(Default)]
pub(crate) struct Pool(RefCell<Vec<Box<Call>>>);

/// Boxes that are kept.
const KEPT: usize = 1024;

impl Pool {
    pub(crate) fn call(&self, who: Who, id: Option<i64>) -> Box<Call> {
        match self.0.borrow_mut().pop() {
            Some(mut call) => {
                // One by one, as there is nothing in it that has to be dropped.
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
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT {
            kept.push(call);
        }
    }

    /// Gives memory back.
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

    /// The proxy's own heartbeat.
    pub(crate) fn keepalive() -> Box<Call> {
        Box::new(Self::new(Who::Proxy, None))
    }

    pub(crate) const fn is_keepalive(&self) -> bool {
        matches!(self.who, Who::Proxy)
    }

    /// The client that waits.
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

    /// Returns `true` if it is a copy, whose answer no client gets.
    pub(crate) const fn is_copy(&self) -> bool {
        matches!(self.who, Who::Mirror(_) | Who::Part(_))
    }

    /// Keeps the request whole, as its bytes on the wire are not all there is to it.
    pub(crate) fn keep_whole(&mut self, message: &Message<'_>) {
        if let Some(caller) = self.caller_mut()
            && caller.kept.is_none()
        {
            caller.kept = Some(Box::new(RetryState::unsent(message.to_owned_message())));
        }
    }

    /// The client that sent the request.
    pub(crate) const fn down(&self) -> Option<&Rc<Downstream>> {
        match &self.who {
            Who::Caller(caller) => Some(&caller.down),
            Who::OneWay(one_way) => Some(&one_way.down),
            Who::Mirror(_) | Who::Part(_) | Who::Proxy => None,
        }
    }

    /// What is told of the request when it ends.
    pub(crate) const fn telemetry_mut(&mut self) -> Option<&mut RequestTelemetry> {
        match &mut self.who {
            Who::Caller(caller) => Some(&mut caller.track),
            Who::OneWay(one_way) => Some(&mut one_way.track),
            Who::Mirror(_) | Who::Part(_) | Who::Proxy => None,
        }
    }

    /// Endpoints that have failed it.
    pub(crate) fn tried(&self) -> &[SocketAddr] {
        let kept = self.caller().and_then(|caller| caller.kept.as_ref());
        kept.map_or(&[], |kept| &kept.tried)
    }

    /// The endpoint that serves it, if the answer means something only there.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.caller().and_then(|caller| caller.mark)
    }

    /// Whether it left a connection before anything of it was sent.
    pub(crate) fn has_moved(&self) -> bool {
        let kept = self.caller().and_then(|caller| caller.kept.as_ref());
        kept.is_some_and(|kept| kept.has_moved())
    }

    /// Whether its connection will bring an answer.
    pub(crate) const fn expects_reply(&self, kind: Kind) -> bool {
        !matches!(self.who, Who::OneWay(_)) && matches!(kind, Kind::Request)
    }

    /// The request has ended.
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

    /// It was sent, and nobody waits for an answer.
    pub(crate) fn sent(mut self: Box<Self>, worker: &WorkerContext) {
        if let Who::OneWay(one_way) = &mut self.who {
            let OneWay { track, served, .. } = one_way;
            track.end(worker, served, 0, "ok", None, "");
        }
        self.recycle();
    }

    /// Its client is gone before it was sent: nobody is answered, but it is told of.
    pub(crate) fn abandon(self: Box<Self>, worker: &WorkerContext) {
        self.refuse(worker, Fault::Reset, "the client has left");
    }

    /// Answers with a fault. Nothing is tried again.
    pub(crate) fn refuse(self: Box<Self>, worker: &WorkerContext, fault: Fault, text: &str) {
        self.answer(worker, fault, fault.reason(), text);
    }

    /// Answers with a fault that says something else than usual.
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

    /// The codec answers it, and sends it with the next.
    pub(crate) fn deferred(mut self: Box<Self>, worker: &WorkerContext, receipt: &ReplyContext) {
        if let Who::Caller(caller) = &mut self.who {
            let Caller { track, served, .. } = caller;
            track.end(worker, served, 0, "ok", None, "");
            caller.down.answer_deferred(caller.seq, receipt);
        }
        self.recycle();
    }

    /// What became of the request says something of its endpoint.
    pub(crate) fn outcome(&mut self, worker: &WorkerContext, outcome: Outcome) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.end(outcome, worker.now_us());
        }
    }
}

/// What to tell of a request when it ends.
pub(crate) struct RequestTelemetry {
    /// When it was read, in microseconds of the worker's clock.
    pub(crate) started_us: u64,
    /// The place of its operation's counters.
    pub(crate) operation: usize,
    /// What only some want to know.
    pub(crate) told: Option<Box<RequestLog>>,
}

/// What is told of a request to the access log and to its trace.
pub(crate) struct RequestLog {
    pub(crate) entry: Entry,
    /// Its span, if traces are exported.
    pub(crate) span: Option<Box<Active>>,
}

impl RequestTelemetry {
    /// The request has ended.
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

    /// A piece of the response went by.
    pub(crate) fn add_bytes(&mut self, bytes: usize) {
        self.note(|entry| entry.response_bytes += bytes);
    }

    /// The request goes out to an endpoint.
    pub(crate) fn on_attempt(&mut self, endpoint: SocketAddr, worker: &WorkerContext) {
        self.note(|entry| {
            entry.add_endpoint(endpoint);
            entry.sent_us = worker.now_us();
        });
    }

    /// The front of the response is there.
    pub(crate) fn on_response_start(&mut self, worker: &WorkerContext) {
        self.note(|entry| {
            let since = worker.now_us().saturating_sub(entry.sent_us);
            entry.upstream_duration_us = Some(since);
        });
    }

    /// Writes something into the line of the access log, if there is one.
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
