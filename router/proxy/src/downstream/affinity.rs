//! Decides which upstream connection a request may use. Where a protocol answers in order, requests
//! of one client to the same destination must not overtake each other. They use one connection, or
//! wait. The module does not open connections and does not queue requests.

use std::rc::Rc;

use meltemi_frame::Kind;

use super::{Downstream, State};
use crate::cluster::endpoint::EndpointState;
use crate::cluster::{ClusterState, Need};
use crate::upstream::Upstream;

/// The largest number of further connections that are tracked for a client that is never idle.
const MOST: usize = 64;

/// A connection that may carry requests of the client.
struct Visit {
    upstream: Rc<Upstream>,
    /// A one-way request was sent here. It has no response, so the proxy cannot detect when it is
    /// done.
    silent: bool,
}

/// The connections that may carry requests of the client, since the client was last idle.
#[derive(Default)]
pub(super) struct Affinity {
    /// Most clients use only this one.
    first: Option<Visit>,
    #[expect(clippy::box_collection, reason = "one word in the common case of none")]
    more: Option<Box<Vec<Visit>>>,
}

/// The request to place.
pub(crate) struct PlacementRequest<'a> {
    pub(crate) kind: Kind,
    pub(crate) cluster: &'a Rc<ClusterState>,
    /// The endpoint that must serve the request. `None` if any endpoint of the cluster may serve
    /// it.
    pub(crate) endpoint: Option<&'a Rc<EndpointState>>,
    pub(crate) need: &'a Need<'a>,
}

/// Which connection a request may use now.
pub(crate) enum Placement {
    /// This connection, because earlier requests of the client are still on it.
    Stay(Rc<Upstream>),
    /// Any connection. `fresh`: the client has no other request in flight.
    Any { fresh: bool },
    /// No connection until earlier requests have been answered.
    Wait,
}

impl Affinity {
    fn visits(&mut self) -> impl Iterator<Item = &mut Visit> {
        let more = self.more.iter_mut().flat_map(|more| more.iter_mut());
        self.first.iter_mut().chain(more)
    }

    /// Forgets all connections except the ones that carry one-way requests.
    pub(super) fn forget(&mut self) {
        let stays = |visit: &Visit| visit.silent && !visit.upstream.is_closed();
        self.first.take_if(|first| !stays(first));
        if let Some(more) = &mut self.more {
            more.retain(stays);
        }
        self.more.take_if(|more| more.is_empty());
    }

    /// Records that a request uses this connection. `fresh`: the client has no other request in
    /// flight.
    fn visit(&mut self, upstream: &Rc<Upstream>, silent: bool, fresh: bool) {
        if fresh {
            // Most clients return to the same connection.
            if let (Some(first), None) = (&mut self.first, &self.more)
                && Rc::ptr_eq(&first.upstream, upstream)
            {
                first.silent |= silent;
                return;
            }
            self.forget();
        }
        if let Some(visit) = self
            .visits()
            .find(|visit| Rc::ptr_eq(&visit.upstream, upstream))
        {
            visit.silent |= silent;
            return;
        }
        let visit = Visit {
            upstream: Rc::clone(upstream),
            silent,
        };
        if self.first.is_none() {
            self.first = Some(visit);
        } else {
            let more = self.more.get_or_insert_default();
            // Connections that closed long ago are still in the list.
            if more.len() >= MOST {
                more.remove(0);
            }
            more.push(visit);
        }
    }
}

impl State {
    /// Returns `true` if the client has no request in flight except the one that is about to be
    /// sent.
    fn is_free(&self, kind: Kind) -> bool {
        let delayed = self.cold.as_ref().map_or(0, |cold| cold.held);
        // A delayed request is included in this number. Otherwise the request is already counted as
        // in flight if it expects a response.
        let own = match delayed {
            0 => usize::from(kind == Kind::Request),
            delayed => delayed,
        };
        self.in_flight <= own
    }

    fn placement(&mut self, request: &PlacementRequest<'_>) -> Placement {
        let in_order = self.replies.in_order();
        if in_order && self.cold.as_ref().is_some_and(|cold| cold.in_queue > 0) {
            return Placement::Wait;
        }
        let free = self.is_free(request.kind);
        let mut count = 0;
        let Self {
            affinity,
            exclusive: own,
            ..
        } = self;
        for visit in affinity.visits() {
            count += 1;
            let upstream = &visit.upstream;
            if (free && !visit.silent) || !request.ends_at(upstream) || upstream.is_closed() {
                continue;
            }
            let exclusive = upstream.is_exclusive();
            // The client's requests on it have been answered, and it serves others now.
            if exclusive && !own.iter().any(|(other, _)| Rc::ptr_eq(other, upstream)) {
                continue;
            }
            // Stay, even if an attempt of the request has failed at that endpoint: the order is
            // more important.
            if (exclusive || !request.need.exclusive) && upstream.fits(request.need) {
                visit.silent = request.kind != Kind::Request || (visit.silent && !in_order);
                return Placement::Stay(Rc::clone(upstream));
            }
            if in_order && !free {
                return Placement::Wait;
            }
        }
        if in_order && !free && count > MOST {
            return Placement::Wait;
        }
        Placement::Any { fresh: free }
    }
}

impl PlacementRequest<'_> {
    /// Returns `true` if this request must stay in order with the requests on this connection.
    fn ends_at(&self, upstream: &Upstream) -> bool {
        match self.endpoint {
            Some(endpoint) => Rc::ptr_eq(&upstream.endpoint, endpoint),
            None => Rc::ptr_eq(&upstream.cluster, self.cluster),
        }
    }
}

impl Downstream {
    /// Decides which connection a request may use now.
    pub(crate) fn placement(&self, request: &PlacementRequest<'_>) -> Placement {
        self.state.borrow_mut().placement(request)
    }

    /// Records that a request uses a connection that was chosen freely. `fresh`: the client has no
    /// other request in flight.
    pub(crate) fn record_use(&self, upstream: &Rc<Upstream>, kind: Kind, fresh: bool) {
        let mut state = self.state.borrow_mut();
        state.affinity.visit(upstream, kind != Kind::Request, fresh);
    }
}
