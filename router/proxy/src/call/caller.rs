//! A client that waits for the answer to one request.

use std::rc::Rc;

use meltemi_frame::{Bind, Fault, Kind, Mark, Message, Reason, ReplyContext, Status};
use meltemi_router_core::CompiledRoute;

use super::RequestTelemetry;
use super::comparison::Compared;
use super::retry_state::RetryState;
use crate::config::view::ServedView;
use crate::context::WorkerContext;
use crate::downstream::Downstream;

/// A client that waits, and what to do with the answer.
pub(crate) struct Caller {
    pub(crate) down: Rc<Downstream>,
    /// The request's place among the requests of its connection.
    pub(crate) seq: u64,
    pub(crate) receipt: ReplyContext,
    /// The routes that the request met, and the place of the one that it took.
    pub(crate) served: Rc<ServedView>,
    pub(crate) route: usize,
    /// How the response went, as its front told.
    pub(crate) status: Status,
    /// What the request asks of its connection.
    pub(crate) bind: Bind,
    /// The endpoint that serves the request, if the answer means something only there.
    pub(crate) mark: Option<Mark>,
    pub(crate) track: RequestTelemetry,
    /// What is needed to send the request again.
    pub(crate) kept: Option<Box<RetryState>>,
    /// Copies whose answers are compared with the one that the caller gets.
    pub(crate) compared: Option<Box<Compared>>,
}

impl Caller {
    /// The route that the request took.
    pub(crate) fn route(&self) -> Option<&CompiledRoute> {
        self.served.table.routes().get(self.route)
    }

    /// Starts the answer at the front of a response, whether the response comes in pieces or whole.
    pub(crate) fn begin(
        &mut self,
        worker: &WorkerContext,
        cluster: &str,
        message: &mut Message<'_>,
    ) {
        if message.head.kind != Kind::Response {
            return;
        }
        self.status = message.head.status;
        self.track.on_response_start(worker);
        // The client gets the response, so the request is not sent again.
        self.kept = None;
        if let Some(mark) = self.mark {
            message.set_mark(mark);
        }
        if let Some(compared) = &self.compared {
            compared.answered(message);
        }
        let route = self.served.table.routes().get(self.route);
        if let Some(route) = route.filter(|route| !route.response_changes.is_empty()) {
            let view = self.down.view();
            let facts = self.down.facts(&view.listener.name, route, cluster);
            route.response_changes.apply(message, &facts);
        }
    }

    pub(super) fn fail(
        &mut self,
        worker: &WorkerContext,
        fault: Fault,
        reason: Reason,
        text: &str,
    ) {
        if let Some(compared) = &self.compared {
            compared.lost();
        }
        self.down.count_fault(fault);
        self.track
            .end(worker, &self.served, 0, "local", Some(fault), text);
        self.down.fail(self.seq, &self.receipt, reason, text);
    }
}
