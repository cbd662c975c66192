//! Which upstream connection a request of a client may take. Where a protocol answers in order, the requests
//! of one client that go to the same place must not overtake each other, so they travel on one connection, or
//! wait. How a connection is made, and how requests wait, is not known here.

use std::rc::Rc;

use meltemi_frame::Kind;

use super::{Downstream, State};
use crate::cluster::endpoint::EndpointState;
use crate::cluster::{ClusterState, Need};
use crate::upstream::Upstream;

/// How many further connections a client that always has something under way may be on.
const MOST: usize = 64;

/// A connection on which something of the client may be under way.
struct Visit {
    upstream: Rc<Upstream>,
    /// A request went there that is not answered: nobody knows when it is not under way any more.
    silent: bool,
}

/// The connections on which something of the client may be under way, since nothing was last.
#[derive(Default)]
pub(super) struct Affinity {
    /// The only one of most clients.
    first: Option<Visit>,
    #[expect(clippy::box_collection, reason = "one word in the common case of none")]
    more: Option<Box<Vec<Visit>>>,
}

/// What is asked of the affinity of a client.
pub(crate) struct PlacementRequest<'a> {
    pub(crate) kind: Kind,
    pub(crate) cluster: &'a Rc<ClusterState>,
    /// `None`: any endpoint of the cluster may serve the request.
    pub(crate) endpoint: Option<&'a Rc<EndpointState>>,
    pub(crate) need: &'a Need<'a>,
}

/// Which connection a request may take now.
pub(crate) enum Placement {
    /// This one: what the client has under way is there.
    Stay(Rc<Upstream>),
    /// Any. `fresh`: nothing of the client is under way anywhere.
    Any { fresh: bool },
    /// None, until what is under way has been answered.
    Wait,
}

impl Affinity {
    fn visits(&mut self) -> impl Iterator<Item = &mut Visit> {
        let more = self.more.iter_mut().flat_map(|more| more.iter_mut());
        self.first.iter_mut().chain(more)
    }

    /// Nothing is under way any more, except what is never answered.
    pub(super) fn forget(&mut self) {
        let stays = |visit: &Visit| visit.silent && !visit.upstream.is_closed();
        self.first.take_if(|first| !stays(first));
        if let Some(more) = &mut self.more {
            more.retain(stays);
        }
        self.more.take_if(|more| more.is_empty());
    }

    /// A request goes by this connection. `fresh`: nothing is under way on any other.
    fn visit(&mut self, upstream: &Rc<Upstream>, silent: bool, fresh: bool) {
        if fresh {
            // Most clients come back to where they were.
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
            // Those that ended long ago are still among them.
            if more.len() >= MOST {
                more.remove(0);
            }
            more.push(visit);
        }
    }
}

impl State {
    /// Whether nothing of the client is under way but the request that is about to be sent.
    fn is_free(&self, kind: Kind) -> bool {
        let parked = self.cold.as_ref().map_or(0, |rare| rare.held);
        // One that was parked is among those; another one counts already if it is answered.
        let own = match parked {
            0 => usize::from(kind == Kind::Request),
            parked => parked,
        };
        self.in_flight <= own
    }

    fn placement(&mut self, trip: &PlacementRequest<'_>) -> Placement {
        let in_order = self.replies.in_order();
        if in_order && self.cold.as_ref().is_some_and(|rare| rare.in_queue > 0) {
            return Placement::Wait;
        }
        let free = self.is_free(trip.kind);
        let mut count = 0;
        let Self {
            affinity,
            exclusive: own,
            ..
        } = self;
        for visit in affinity.visits() {
            count += 1;
            let upstream = &visit.upstream;
            if (free && !visit.silent) || !trip.ends_at(upstream) || upstream.is_closed() {
                continue;
            }
            let exclusive = upstream.is_exclusive();
            // What the client had on it has been answered: it serves others now.
            if exclusive && !own.iter().any(|(other, _)| Rc::ptr_eq(other, upstream)) {
                continue;
            }
            // Even if an attempt of the request has failed at that endpoint: its order comes first.
            if (exclusive || !trip.need.exclusive) && upstream.fits(trip.need) {
                visit.silent = trip.kind != Kind::Request || (visit.silent && !in_order);
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
    /// Whether the order of this request and of those on this connection matters.
    fn ends_at(&self, upstream: &Upstream) -> bool {
        match self.endpoint {
            Some(endpoint) => Rc::ptr_eq(&upstream.endpoint, endpoint),
            None => Rc::ptr_eq(&upstream.cluster, self.cluster),
        }
    }
}

impl Downstream {
    /// Which connection a request may take now.
    pub(crate) fn placement(&self, trip: &PlacementRequest<'_>) -> Placement {
        self.state.borrow_mut().placement(trip)
    }

    /// A request goes by this connection, which it was free to choose. `fresh`: nothing is under way on
    /// any other.
    pub(crate) fn record_use(&self, upstream: &Rc<Upstream>, kind: Kind, fresh: bool) {
        let mut state = self.state.borrow_mut();
        state.affinity.visit(upstream, kind != Kind::Request, fresh);
    }
}
