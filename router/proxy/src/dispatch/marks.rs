//! Requests that continue at the endpoint where they began. What they carry is the codec's affair.

use std::rc::Rc;

use meltemi_frame::{Fault, Mark, Message, Reach};

use super::Dispatch;
use crate::call::{Call, Who};
use crate::cluster::endpoint::EndpointState;

impl Dispatch<'_> {
    /// Returns `true` if a request of this route may find several endpoints.
    fn is_plural(&self) -> bool {
        self.cluster.is_plural() || self.route.targets().nth(1).is_some()
    }

    /// The mark that a request carries; `None`: any endpoint may serve it.
    fn carried(&self, message: &Message<'_>) -> Result<Option<Mark>, (Fault, String)> {
        match message.head.reach {
            Reach::Continues(Some(mark)) if self.is_plural() => Ok(Some(mark)),
            Reach::Continues(None) if self.is_plural() => {
                let text = "no server of this cluster began what this continues";
                Err((Fault::NoEndpoint, text.to_owned()))
            }
            _ => Ok(None),
        }
    }

    /// The only endpoint that may serve a request; `None`: any.
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
                "the server that began what this continues is gone".to_owned(),
            )
        };
        endpoint.map(Some).ok_or_else(gone)
    }

    /// The endpoint to which the client is tied must be the one that the request continues at.
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
                let text = "another server than that of this connection began what this continues";
                Err((Fault::Misrouted, text.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Notes the endpoint on the request that continues there, and for the answer.
    #[cold]
    pub(super) fn mark(&self, message: &mut Message<'_>, call: &mut Box<Call>, at: &EndpointState) {
        let mark = self.is_plural().then(|| at.mark.get());
        let Who::Caller(caller) = &mut call.who else {
            return;
        };
        caller.mark = mark;
        let Some(mark) = mark else { return };
        if matches!(message.head.reach, Reach::Continues(_)) {
            // Without its mark the request must not go anywhere else.
            call.keep_whole(message);
            message.set_mark(mark);
        }
    }
}
