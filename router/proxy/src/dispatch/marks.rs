//! Requests that must continue at the endpoint where an earlier request began (cursors). The codec
//! defines the mark that a request carries.

use std::rc::Rc;

use meltemi_frame::{Fault, Mark, Message, Reach};

use super::Dispatch;
use crate::call::{Call, Who};
use crate::cluster::endpoint::EndpointState;

impl Dispatch<'_> {
    /// Returns `true` if requests of this route may reach several endpoints.
    fn is_plural(&self) -> bool {
        self.cluster.is_plural() || self.route.targets().nth(1).is_some()
    }

    /// Returns the mark that a request carries. `None` if any endpoint may serve the request.
    fn carried(&self, message: &Message<'_>) -> Result<Option<Mark>, (Fault, String)> {
        match message.head.reach {
            Reach::Continues(Some(mark)) if self.is_plural() => Ok(Some(mark)),
            Reach::Continues(None) if self.is_plural() => {
                let text =
                    "no server of this cluster began the operation that this request continues";
                Err((Fault::NoEndpoint, text.to_owned()))
            }
            _ => Ok(None),
        }
    }

    /// Returns the only endpoint that may serve the request. `None` if any may.
    pub(super) fn fixed(
        &self,
        message: &Message<'_>,
    ) -> Result<Option<Rc<EndpointState>>, (Fault, String)> {
        if message.head.reach.is_any() {
            return Ok(None);
        }
        let Some(mark) = self.carried(message)? else {
            return Ok(None);
        };
        let endpoint = self.cluster.endpoint_of(mark);
        let gone = || {
            (
                Fault::NoEndpoint,
                "the server that began the operation is gone".to_owned(),
            )
        };
        endpoint.map(Some).ok_or_else(gone)
    }

    /// Fails if the client is tied to another endpoint than the one that the request must continue
    /// at.
    pub(super) fn expect(
        &self,
        message: &Message<'_>,
        tied: &Rc<EndpointState>,
    ) -> Result<(), (Fault, String)> {
        if message.head.reach.is_any() {
            return Ok(());
        }
        match self.carried(message)? {
            Some(mark) if tied.mark.get() != mark => {
                let text = "another server began the operation that this request continues";
                Err((Fault::Misrouted, text.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Writes the mark of the endpoint into the request, and remembers it for the response.
    #[cold]
    pub(super) fn mark(&self, message: &mut Message<'_>, call: &mut Box<Call>, at: &EndpointState) {
        let mark = self.is_plural().then(|| at.mark.get());
        let Who::Caller(caller) = &mut call.who else {
            return;
        };
        caller.mark = mark;
        let Some(mark) = mark else { return };
        if matches!(message.head.reach, Reach::Continues(_)) {
            // A request without its mark must not go to another endpoint, so the whole request is
            // kept.
            call.keep_whole(message);
            message.set_mark(mark);
        }
    }
}
