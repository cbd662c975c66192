//! Upstream connections that belong to one client as long as it is connected, and the calls that servers send
//! to the client over them (callbacks). What such a call asks for is not known here.

use std::collections::VecDeque;
use std::rc::Rc;

use meltemi_frame::{Kind, Message};

use super::{Downstream, Pressure};
use crate::cluster::Need;
use crate::cluster::endpoint::EndpointState;
use crate::downstream::replies::Piece;
use crate::upstream::Upstream;

/// How many calls of servers one client may owe answers to. The oldest is forgotten for the next.
const MOST: usize = 1024;

/// The connections that belong to one client.
#[derive(Default)]
pub(super) struct Own {
    upstreams: Vec<Rc<Upstream>>,
    /// Calls of servers that the client has not answered, in the order of their ids.
    calls: VecDeque<BackCall>,
    /// The id of the last of them: servers may use the same ids, so that the client gets others.
    last: i64,
}

/// A call of a server.
struct BackCall {
    id: i64,
    upstream: Rc<Upstream>,
    /// The id that the server wrote.
    original: i64,
}

impl Own {
    pub(super) fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// Takes out all connections, as the client is gone.
    pub(super) fn take(&mut self) -> Vec<Rc<Upstream>> {
        self.calls.clear();
        std::mem::take(&mut self.upstreams)
    }

    /// The id by which the client gets a call.
    fn remember(&mut self, upstream: &Rc<Upstream>, original: i64) -> i64 {
        if self.calls.len() >= MOST {
            self.calls.pop_front();
        }
        self.last = self.last.wrapping_add(1);
        self.calls.push_back(BackCall {
            id: self.last,
            upstream: Rc::clone(upstream),
            original,
        });
        self.last
    }

    fn answered(&mut self, id: i64) -> Option<(Rc<Upstream>, i64)> {
        let at = self.calls.iter().position(|call| call.id == id)?;
        let call = self.calls.remove(at)?;
        Some((call.upstream, call.original))
    }
}

impl Downstream {
    /// The client's own connection to an endpoint, if it has one that fits.
    pub(crate) fn own_at(
        &self,
        endpoint: &Rc<EndpointState>,
        need: &Need<'_>,
    ) -> Option<Rc<Upstream>> {
        let mut state = self.state.borrow_mut();
        let own = &mut state.cold.as_mut()?.own;
        own.upstreams.retain(|upstream| !upstream.is_closed());
        own.calls.retain(|call| !call.upstream.is_closed());
        let fits = |upstream: &&Rc<Upstream>| {
            Rc::ptr_eq(&upstream.endpoint, endpoint) && upstream.fits(need)
        };
        own.upstreams.iter().find(fits).cloned()
    }

    /// The connection belongs to this client from here on.
    pub(crate) fn own(self: &Rc<Self>, upstream: &Rc<Upstream>) {
        upstream.set_owner(self);
        let mut state = self.state.borrow_mut();
        state.cold_state().own.upstreams.push(Rc::clone(upstream));
    }

    /// A server calls the client over a connection of the client's own.
    pub(crate) fn called(&self, upstream: &Rc<Upstream>, message: &mut Message<'_>) -> Pressure {
        if message.head.kind == Kind::Request
            && let Some(original) = message.head.id
        {
            let mut state = self.state.borrow_mut();
            let id = state.cold_state().own.remember(upstream, original);
            message.set_id(id);
        }
        // It must not come between the pieces of a reply.
        let seq = self.open_slot();
        self.put(seq, &Piece::Message(message))
    }

    /// The client answers a call: over which connection the answer goes, and with which id.
    pub(crate) fn answers_call(&self, id: i64) -> Option<(Rc<Upstream>, i64)> {
        let mut state = self.state.borrow_mut();
        state.cold.as_mut()?.own.answered(id)
    }
}
