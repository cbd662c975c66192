//! A request in flight: whom to answer, and what to tell of it when it ends.

use std::rc::Rc;
use std::sync::Arc;

use meltemi_frame::{Fault, Receipt, Status};

use crate::access_log::Entry;
use crate::downstream::Downstream;
use crate::endpoint::InFlight;
use crate::stats::{Group, operation};
use crate::view::ServedView;
use crate::worker::Worker;

/// A request in flight on an upstream connection.
pub(crate) struct Call {
    /// Who asked. `None`: the proxy itself, for a heartbeat.
    pub(crate) caller: Option<Caller>,
    /// The correlation id as the caller wrote it.
    pub(crate) id: Option<i64>,
    /// Counts the request against its endpoint and cluster as long as it lives.
    pub(crate) _in_flight: Option<InFlight>,
}

/// Who asked, and what to do with the answer.
pub(crate) struct Caller {
    pub(crate) down: Rc<Downstream>,
    /// The request's place among the requests of its connection.
    pub(crate) seq: u64,
    pub(crate) receipt: Receipt,
    /// The routes that the request met, and the place of the one that it took.
    pub(crate) served: Rc<ServedView>,
    pub(crate) place: usize,
    /// How the response went, as its front told.
    pub(crate) status: Status,
    /// A success makes the upstream connection one of another session.
    pub(crate) session: bool,
    pub(crate) track: Track,
}

impl Call {
    /// The proxy's own heartbeat.
    pub(crate) const fn keepalive() -> Self {
        Self {
            caller: None,
            id: None,
            _in_flight: None,
        }
    }

    /// Answers the caller with a fault.
    pub(crate) fn fail(self, fault: Fault, text: &str) {
        if let Some(caller) = self.caller {
            let Caller {
                down,
                seq,
                receipt,
                track,
                ..
            } = caller;
            down.fail(seq, receipt, track, fault, text);
        }
    }
}

/// What to tell of a request when it ends.
pub(crate) struct Track {
    /// When it was read, in microseconds of the worker's clock.
    pub(crate) started_us: u64,
    /// Counters of its operation.
    pub(crate) operation: Arc<Group>,
    /// Its line in the access log, if there is one.
    pub(crate) entry: Option<Box<Entry>>,
}

impl Track {
    /// The request has ended.
    pub(crate) fn end(
        self,
        worker: &Worker,
        bytes: usize,
        status: &'static str,
        fault: Option<Fault>,
        details: &str,
    ) {
        let duration = worker.now_us().saturating_sub(self.started_us);
        self.operation.observe(duration);
        if status != "ok" {
            self.operation.add(operation::FAILED, 1);
        }
        if let (Some(mut entry), Some(log)) = (self.entry, &worker.access_log) {
            entry.duration_us = duration;
            entry.response_bytes += bytes;
            entry.status = status;
            entry.fault = fault.map_or("", Fault::name);
            details.clone_into(&mut entry.details);
            log.write(&entry);
        }
    }

    /// A piece of the response went by.
    pub(crate) fn add_bytes(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.entry {
            entry.response_bytes += bytes;
        }
    }
}
