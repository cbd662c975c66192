//! A broadcast: one request that is sent to every endpoint, and the single response that the client
//! gets. `dispatch` chooses the endpoints.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use meltemi_frame::{Fault, Kind, Message, OwnedMessage, Status};

use super::{Call, Who};
use crate::cluster::endpoint::EndpointState;
use crate::context::WorkerContext;

/// A request that was sent to every endpoint.
pub(crate) struct Gathering {
    /// The original request. `None` once the client has its response.
    call: RefCell<Option<Box<Call>>>,
    /// Number of copies that have not ended.
    left: Cell<usize>,
    /// The request fails if an endpoint cannot be reached.
    must: bool,
    /// The first successful response.
    answer: RefCell<Option<Box<OwnedMessage>>>,
    failure: RefCell<Option<Failure>>,
}

/// Why the request fails.
enum Failure {
    /// An endpoint sent a failure.
    Answer(Box<OwnedMessage>),
    Lost(Fault, String),
}

/// The copy for one endpoint.
pub(crate) struct Part {
    gathering: Rc<Gathering>,
    pub(crate) endpoint: Rc<EndpointState>,
}

impl Gathering {
    /// Creates a broadcast to `endpoints` endpoints. With `must`, the request fails if an endpoint
    /// cannot be reached.
    pub(crate) fn new(call: Box<Call>, endpoints: usize, must: bool) -> Rc<Self> {
        Rc::new(Self {
            call: RefCell::new(Some(call)),
            // One extra count, removed when all copies have been sent.
            left: Cell::new(endpoints.saturating_add(1)),
            must,
            answer: RefCell::default(),
            failure: RefCell::default(),
        })
    }

    /// Creates the copy for one endpoint.
    pub(crate) fn part(self: &Rc<Self>, endpoint: Rc<EndpointState>) -> Part {
        Part {
            gathering: Rc::clone(self),
            endpoint,
        }
    }
}

impl Part {
    /// Records the response of the endpoint. With `excused`, a failure does not fail the request.
    pub(crate) fn answered(&self, worker: &WorkerContext, message: &Message<'_>, excused: bool) {
        let gathering = &self.gathering;
        if message.head.kind != Kind::Response {
            return self.lost(worker, Fault::BadResponse, "the response is too large");
        }
        let failed = matches!(message.head.status, Status::Failed(_));
        if failed && !excused {
            let failure = || Failure::Answer(Box::new(message.to_owned_message()));
            gathering.failure.borrow_mut().get_or_insert_with(failure);
        } else if !failed {
            let answer = || Box::new(message.to_owned_message());
            gathering.answer.borrow_mut().get_or_insert_with(answer);
        }
        gathering.end(worker);
    }

    /// Records that the endpoint will not send a response.
    pub(crate) fn lost(&self, worker: &WorkerContext, fault: Fault, text: &str) {
        let gathering = &self.gathering;
        tracing::debug!(endpoint = %self.endpoint.address, ?fault, text, "broadcast copy failed");
        if gathering.must || fault == Fault::Denied {
            let text = format!("{}: {text}", self.endpoint.address);
            let failure = || Failure::Lost(fault, text);
            gathering.failure.borrow_mut().get_or_insert_with(failure);
        }
        gathering.end(worker);
    }
}

impl Gathering {
    /// Records the end of one copy. Replies to the client after the last one.
    pub(crate) fn end(&self, worker: &WorkerContext) {
        self.left.set(self.left.get().saturating_sub(1));
        if self.left.get() > 0 {
            return;
        }
        let Some(call) = self.call.take() else { return };
        let (failure, answer) = (self.failure.take(), self.answer.take());
        match (failure, answer) {
            (Some(Failure::Answer(answer)), _) | (None, Some(answer)) => {
                Self::reply(worker, call, &answer);
            }
            (Some(Failure::Lost(fault, text)), _) => call.refuse(worker, fault, &text),
            (None, None) => {
                call.refuse(worker, Fault::NoEndpoint, "no endpoint could be reached");
            }
        }
    }

    fn reply(worker: &WorkerContext, mut call: Box<Call>, answer: &OwnedMessage) {
        let (id, cluster) = (call.id, call.cluster);
        if let Who::Caller(caller) = &mut call.who {
            let mut message = answer.message();
            let served = Rc::clone(&caller.served);
            let name = served.clusters.get(cluster);
            let name = name.map_or_else(String::new, |one| one.config.borrow().name.clone());
            caller.begin(worker, &name, &mut message);
            if let Some(id) = id {
                message.set_id(id);
            }
            let down = Rc::clone(&caller.down);
            down.last_piece(caller, &message);
        }
        call.recycle();
    }
}
