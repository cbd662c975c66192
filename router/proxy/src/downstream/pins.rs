//! What ties a client to upstream connections: its session, the connection that it is pinned to, and those
//! that work for it alone. It knows nothing of bytes, nor of the order of replies.

use std::rc::Rc;

use meltemi_frame::{Bind, Fault, Head, Message, ReplyContext, Session};

use super::Downstream;
use crate::cluster::ClusterState;
use crate::upstream::Upstream;

impl Downstream {
    /// The session of an upstream connection: what the cluster asks for, then what the client is.
    pub(crate) fn upstream_session(&self, cluster: &ClusterState) -> Session {
        let client = self.session();
        let config = cluster.config.borrow();
        let login = &config.login;
        if client.is_plain() {
            return login.clone();
        }
        if login.is_plain() {
            return client;
        }
        let key = (login.key(), client.key());
        let mut state = self.state.borrow_mut();
        let composed = &mut state.cold_state().composed;
        if let Some((a, b, session)) = composed
            && (*a, *b) == key
        {
            return session.clone();
        }
        let session = client.after(login);
        *composed = Some((key.0, key.1, session.clone()));
        session
    }

    /// A request that was refused is part of what ties the connection: what was sent of that must not be
    /// carried out without it, as a transaction would be. Where the codec cannot prevent it, both
    /// connections end.
    pub(crate) fn abort_transaction(&self, head: &Head) {
        if head.bind != Bind::Pin || self.codec().is_none_or(|mut codec| codec.spoiled()) {
            return;
        }
        match self.pinned() {
            Some(upstream) => upstream.close(Fault::Reset),
            None if self.codec().is_some_and(|codec| codec.pinned()) => self.kill(),
            None => {}
        }
    }

    /// Lets the codec answer a request that decides nothing, until the next one tells where it belongs.
    pub(crate) fn defer(&self, request: &Message<'_>) -> Option<ReplyContext> {
        let ties = request.head.bind == Bind::Pin && request.head.follows;
        if !ties || self.pinned().is_some() {
            return None;
        }
        self.codec()?.defer(request)
    }

    pub(crate) fn session(&self) -> Session {
        let state = self.state.borrow();
        let codec = state.codec.as_ref();
        codec.map_or_else(|| state.last.clone(), |codec| codec.session())
    }

    pub(crate) fn pinned(&self) -> Option<Rc<Upstream>> {
        self.state.borrow().pinned.clone()
    }

    /// Ties the connection to an upstream.
    pub(crate) fn pin(self: &Rc<Self>, upstream: &Rc<Upstream>) {
        upstream.pin(self);
        self.state.borrow_mut().pinned = Some(Rc::clone(upstream));
    }

    /// Its upstream never came to be, and the request that tied it there is on its way to another.
    pub(crate) fn forget_pin(&self) {
        self.state.borrow_mut().pinned = None;
    }

    /// Unties it if the codec says that nothing ties it any more. `clean`: the upstream is in the
    /// state that its session tells.
    pub(crate) fn unpin_if_free(&self, clean: bool) {
        let free = {
            let mut state = self.state.borrow_mut();
            let still = state.codec.as_ref().is_some_and(|codec| codec.pinned());
            if still { None } else { state.pinned.take() }
        };
        if let Some(upstream) = free {
            let clean = clean && upstream.in_flight() == 0;
            upstream.unpin(&self.worker, clean);
        }
    }

    /// A reply of `upstream` has ended, or the request was never sent.
    pub(crate) fn after_reply(&self, upstream: &Rc<Upstream>) {
        if upstream.is_exclusive() && upstream.in_flight() == 0 {
            let exclusive = &mut self.state.borrow_mut().exclusive;
            exclusive.retain(|(other, _)| !Rc::ptr_eq(other, upstream));
        }
        if upstream.is_pinned() && upstream.in_flight() == 0 {
            self.unpin_if_free(true);
        }
    }

    /// Remembers that an upstream works for this client alone.
    /// `blocking`: the request makes sense only while the client is there.
    pub(crate) fn use_exclusively(&self, upstream: &Rc<Upstream>, blocking: bool) {
        let exclusive = &mut self.state.borrow_mut().exclusive;
        // Those that ended without a reply.
        exclusive.retain(|(other, _)| !other.is_closed());
        match exclusive
            .iter_mut()
            .find(|(other, _)| Rc::ptr_eq(other, upstream))
        {
            Some((_, blocks)) => *blocks |= blocking,
            None => exclusive.push((Rc::clone(upstream), blocking)),
        }
    }

    /// Whether something goes on that makes sense only while the client is there.
    pub(crate) fn is_tied(&self) -> bool {
        let state = self.state.borrow();
        state.pinned.is_some()
            || state.cold.as_ref().is_some_and(|rare| rare.blocking > 0)
            || state
                .exclusive
                .iter()
                .any(|(upstream, blocking)| *blocking && !upstream.is_closed())
    }

    /// The pinned upstream has ended: so does this connection, as a direct one would.
    pub(crate) fn pinned_upstream_lost(&self, upstream: &Rc<Upstream>) {
        let mut state = self.state.borrow_mut();
        if state
            .pinned
            .as_ref()
            .is_some_and(|pinned| Rc::ptr_eq(pinned, upstream))
        {
            state.pinned = None;
            state.ending = true;
            state.wake();
        }
    }
}
