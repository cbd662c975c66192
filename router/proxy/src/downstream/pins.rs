//! The ties between a client and upstream connections: its session, its pinned connection, and the
//! connections that serve only this client. The module does not depend on buffers or on the reply
//! order.

use std::rc::Rc;

use meltemi_frame::{Bind, Fault, Head, Message, ReplyContext, Session};

use super::Downstream;
use crate::cluster::ClusterState;
use crate::upstream::Upstream;

impl Downstream {
    /// Returns the session of an upstream connection: the cluster's login, followed by the client's
    /// session.
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

    /// Aborts a transaction after one of its requests was denied, because the rest must not be
    /// executed alone. If the codec cannot prevent that, both connections are closed.
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

    /// Lets the codec answer a request that does not determine a route. The next request decides
    /// where both are sent. `None` if the codec does not answer it.
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

    /// Pins this connection to an upstream connection.
    pub(crate) fn pin(self: &Rc<Self>, upstream: &Rc<Upstream>) {
        upstream.pin(self);
        self.state.borrow_mut().pinned = Some(Rc::clone(upstream));
    }

    /// Removes the pin: the upstream connection was never established, and the request moves to
    /// another one.
    pub(crate) fn forget_pin(&self) {
        self.state.borrow_mut().pinned = None;
    }

    /// Removes the pin if the codec reports that nothing needs it any more. `clean`: the state of
    /// the upstream matches its recorded session.
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

    /// Updates the ties after a reply of `upstream` ended or its request was never sent.
    pub(crate) fn after_reply(&self, upstream: &Rc<Upstream>) {
        if upstream.is_exclusive() && upstream.in_flight() == 0 {
            let exclusive = &mut self.state.borrow_mut().exclusive;
            exclusive.retain(|(other, _)| !Rc::ptr_eq(other, upstream));
        }
        if upstream.is_pinned() && upstream.in_flight() == 0 {
            self.unpin_if_free(true);
        }
    }

    /// Records that an upstream connection serves only this client. `blocking`: the request is
    /// useful only while the client is connected.
    pub(crate) fn use_exclusively(&self, upstream: &Rc<Upstream>, blocking: bool) {
        let exclusive = &mut self.state.borrow_mut().exclusive;
        // Drops connections that closed without a reply.
        exclusive.retain(|(other, _)| !other.is_closed());
        match exclusive
            .iter_mut()
            .find(|(other, _)| Rc::ptr_eq(other, upstream))
        {
            Some((_, blocks)) => *blocks |= blocking,
            None => exclusive.push((Rc::clone(upstream), blocking)),
        }
    }

    /// Returns `true` if something is in progress that is useful only while the client is
    /// connected.
    pub(crate) fn is_tied(&self) -> bool {
        let state = self.state.borrow();
        state.pinned.is_some()
            || state.cold.as_ref().is_some_and(|cold| cold.blocking > 0)
            || state
                .exclusive
                .iter()
                .any(|(upstream, blocking)| *blocking && !upstream.is_closed())
    }

    /// Closes this connection after its pinned upstream closed, as with a direct connection.
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
