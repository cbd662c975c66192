//! The endpoint of a request, and whether it is bound to a connection. The connection is opened elsewhere.

use std::rc::Rc;

use meltemi_frame::{Fault, Message};
use meltemi_router_core::Admission;

use super::Dispatch;
use crate::call::{Call, Who};
use crate::cluster::Need;
use crate::cluster::endpoint::EndpointState;
use crate::config::view::belongs_somewhere;
use crate::downstream::{Placement, PlacementRequest};
use crate::upstream::Upstream;

/// The endpoint of a request, and the connection if it is already fixed.
pub(super) struct Goal {
    pub(super) endpoint: Rc<EndpointState>,
    pub(super) admission: Admission,
    pub(super) tie: Tie,
}

/// How a request is bound to a connection.
pub(super) enum Tie {
    /// The client is pinned to this connection.
    Pinned(Rc<Upstream>),
    /// The client has requests in flight on this connection.
    Stays(Rc<Upstream>),
    /// Not bound. `fresh`: the client has no request in flight anywhere.
    None { fresh: bool },
}

impl Dispatch<'_> {
    /// Returns the endpoint for the request. `None` if earlier requests must be answered first.
    pub(super) fn goal(
        &self,
        message: &Message<'_>,
        call: &Call,
        pinned: Option<&Rc<Upstream>>,
        need: &Need<'_>,
    ) -> Result<Option<Goal>, (Fault, String)> {
        if call.is_copy() {
            let (endpoint, admission) = match &call.who {
                Who::Part(part) => (Rc::clone(&part.endpoint), Admission::Plain),
                _ => self.pick(call)?,
            };
            return Ok(Some(Goal {
                endpoint,
                admission,
                tie: Tie::None { fresh: false },
            }));
        }
        if let Some(upstream) = pinned {
            let (endpoint, admission) = self.pinned(message, upstream)?;
            self.expect(message, &endpoint)?;
            return Ok(Some(Goal {
                endpoint,
                admission,
                tie: Tie::Pinned(Rc::clone(upstream)),
            }));
        }
        let mut request = PlacementRequest {
            kind: message.head.kind,
            cluster: self.cluster,
            endpoint: None,
            need,
        };
        // For a client with in-order replies, equal endpoints count as one server.
        let fixed = self.fixed(message)?;
        let together = self.served.in_order && call.hash.is_none() && fixed.is_none();
        let mut place = together.then(|| self.down.placement(&request));
        if let Some(Placement::Wait) = place {
            return Ok(None);
        }
        let (endpoint, admission) = match (&place, fixed) {
            (_, Some(endpoint)) => (endpoint, Admission::Plain),
            (Some(Placement::Stay(upstream)), None) => {
                (Rc::clone(&upstream.endpoint), Admission::Plain)
            }
            _ => self.pick(call)?,
        };
        if place.is_none() {
            request.endpoint = Some(&endpoint);
            place = Some(self.down.placement(&request));
        }
        let tie = match place {
            Some(Placement::Stay(upstream)) => Tie::Stays(upstream),
            Some(Placement::Any { fresh }) => Tie::None { fresh },
            Some(Placement::Wait) | None => {
                endpoint.turn_down(self.cluster, admission);
                return Ok(None);
            }
        };
        Ok(Some(Goal {
            endpoint,
            admission,
            tie,
        }))
    }

    /// Returns the endpoint of the connection that the client is tied to.
    fn pinned(
        &self,
        message: &Message<'_>,
        upstream: &Rc<Upstream>,
    ) -> Result<(Rc<EndpointState>, Admission), (Fault, String)> {
        let elsewhere = !self.served.leads_to(self.route, upstream);
        if belongs_somewhere(&message.head) && elsewhere {
            tracing::debug!(
                tied = upstream.cluster.config.borrow().name,
                route = self.cluster.config.borrow().name,
                "the route leads to another cluster than the client's connection"
            );
            let text = "it belongs to another server than the one that this connection is tied to";
            return Err((Fault::Misrouted, text.to_owned()));
        }
        Ok((Rc::clone(&upstream.endpoint), Admission::Plain))
    }

    fn pick(&self, call: &Call) -> Result<(Rc<EndpointState>, Admission), (Fault, String)> {
        self.cluster
            .pick(self.worker, call.hash, call.tried())
            .ok_or_else(|| {
                let what = if self.cluster.is_empty() {
                    "has no endpoint"
                } else {
                    "has no healthy endpoint"
                };
                (Fault::NoEndpoint, self.cluster.says(what))
            })
    }
}
