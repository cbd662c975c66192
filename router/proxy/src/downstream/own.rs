//! Upstream connections that belong to one client while it is connected, and the requests that
//! servers send to the client over them (callbacks). The module does not interpret the callbacks.

use std::collections::VecDeque;
use std::rc::Rc;

use meltemi_frame::{Kind, Message};

use super::{Downstream, Pressure};
use crate::cluster::Need;
use crate::cluster::endpoint::EndpointState;
use crate::downstream::replies::Piece;
use crate::upstream::Upstream;

/// The largest number of unanswered callbacks of one client. When it is reached, the oldest is
/// forgotten.
const MOST: usize = 1024;

/// The connections that belong to one client.
#[derive(Default)]
pub(super) struct Own {
    upstreams: Vec<Rc<Upstream>>,
    /// Callbacks that the client has not answered, in the order of their ids.
    calls: VecDeque<BackCall>,
    /// The last id that was assigned. Different servers may use the same ids, so the client sees
    /// new ones.
    last: i64,
}

/// A callback from a server.
struct BackCall {
    id: i64,
    upstream: Rc<Upstream>,
    /// The id in the server's request.
    original: i64,
}

impl Own {
    pub(super) fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// Removes all connections because the client disconnected.
    pub(super) fn take(&mut self) -> Vec<Rc<Upstream>> {
        self.calls.clear();
        std::mem::take(&mut self.upstreams)
    }

    /// Records a callback. Returns the id that the client will see.
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
    /// Returns the client's own connection to an endpoint, if one fits.
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

    /// Makes this client the owner of the connection.
    pub(crate) fn own(self: &Rc<Self>, upstream: &Rc<Upstream>) {
        upstream.set_owner(self);
        let mut state = self.state.borrow_mut();
        state.cold_state().own.upstreams.push(Rc::clone(upstream));
    }

    /// Forwards a callback from a server to the client.
    pub(crate) fn called(&self, upstream: &Rc<Upstream>, message: &mut Message<'_>) -> Pressure {
        if message.head.kind == Kind::Request
            && let Some(original) = message.head.id
        {
            let mut state = self.state.borrow_mut();
            let id = state.cold_state().own.remember(upstream, original);
            message.set_id(id);
        }
        // Takes a slot, so that it does not split a reply that is sent in pieces.
        let seq = self.open_slot();
        self.put(seq, &Piece::Message(message))
    }

    /// Matches the client's answer to a callback. Returns the connection for the answer and the
    /// server's id.
    pub(crate) fn answers_call(&self, id: i64) -> Option<(Rc<Upstream>, i64)> {
        let mut state = self.state.borrow_mut();
        state.cold.as_mut()?.own.answered(id)
    }
}
