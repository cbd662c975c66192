//! A client that waits for the response to one request.

use std::rc::Rc;

use meltemi_frame::{Bind, Fault, Kind, Mark, Message, Reason, ReplyContext, Status};
use meltemi_router_core::CompiledRoute;

use super::RequestTelemetry;
use super::comparison::Compared;
use super::retry_state::RetryState;
use crate::config::view::ServedView;
use crate::context::WorkerContext;
use crate::downstream::Downstream;

/// A client that waits, and the data needed to answer it.
pub(crate) struct Caller {
    pub(crate) down: Rc<Downstream>,
    /// The sequence number of the request on its downstream connection.
    pub(crate) seq: u64,
    pub(crate) receipt: ReplyContext,
    /// The routes that were current when the request arrived, and the index of the route that
    /// matched.
    pub(crate) served: Rc<ServedView>,
    pub(crate) route: usize,
    /// The status from the first piece of the response.
    pub(crate) status: Status,
    /// How the request binds its connection.
    pub(crate) bind: Bind,
    /// The mark of the request's endpoint, if the response is valid only on that endpoint.
    pub(crate) mark: Option<Mark>,
    pub(crate) track: RequestTelemetry,
    /// The data needed to send the request again. `None` if it cannot be retried.
    pub(crate) kept: Option<Box<RetryState>>,
    /// Comparisons of the client's response with the responses to mirrored copies.
    pub(crate) compared: Option<Box<Compared>>,
}

impl Caller {
    /// Returns the route of the request.
    pub(crate) fn route(&self) -> Option<&CompiledRoute> {
        self.served.table.routes().get(self.route)
    }

    /// Starts the reply: processes the first piece of a response, or the whole response.
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
        // The client gets this response, so the request must not be sent again.
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
