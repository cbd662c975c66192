//! What ties a client to upstream connections: its session, the connection that it is pinned to, and those
//! that work for it alone. It knows nothing of bytes, nor of the order of replies.

use std::rc::Rc;

use meltemi_frame::{Bind, Fault, Head, Kind, Message, Receipt, Session};

use super::Downstream;
use crate::cluster::{ClusterState, Way};
use crate::upstream::Upstream;

/// How many connections a client that always has something under way is known to be on.
const MOST_KEPT: usize = 64;

/// The upstream connection that a client chose.
#[derive(Clone, Copy, Default)]
pub(super) struct Choice {
    /// Its number; 0: none yet. Others that it has to keep to are among what is rare.
    number: u32,
    /// The client has sent what is not answered: nobody knows when that is not under way any more.
    pub(super) settled: bool,
}

impl Downstream {
    /// Which shared connection a request, or a copy of one, takes.
    pub(crate) fn way(&self, kind: Kind, copy: bool) -> Way<'_> {
        let mut choice = self.choice.get();
        if kind != Kind::Request && !copy {
            choice.settled = true;
            self.choice.set(choice);
        }
        Way {
            client: Some(self),
            // The request itself counts already.
            free: !copy && !choice.settled && self.in_flight() <= 1,
        }
    }

    /// Something of it may be under way on this connection.
    pub(crate) fn is_on(&self, upstream: &Upstream) -> bool {
        let number = upstream.number;
        let also = || {
            let state = self.state.borrow();
            let rare = state.rare.as_ref();
            rare.is_some_and(|rare| rare.also_on.contains(&number))
        };
        self.choice.get().number == number || also()
    }

    /// A request goes by this connection. `free`: nothing is under way on any other.
    pub(crate) fn goes_by(&self, upstream: &Upstream, free: bool) {
        let Choice { number, settled } = self.choice.get();
        if free || number == 0 {
            let number = upstream.number;
            self.choice.set(Choice { number, settled });
            if let Some(rare) = &mut self.state.borrow_mut().rare {
                rare.also_on.clear();
            }
        } else if !self.is_on(upstream) {
            let mut state = self.state.borrow_mut();
            let also_on = &mut state.rare().also_on;
            // Those that ended long ago are still among them.
            if also_on.len() >= MOST_KEPT {
                also_on.remove(0);
            }
            also_on.push(upstream.number);
        }
    }

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
        let composed = &mut state.rare().composed;
        if let Some((a, b, session)) = composed
            && (*a, *b) == key
        {
            return session.clone();
        }
        let session = client.behind(login);
        *composed = Some((key.0, key.1, session.clone()));
        session
    }

    /// A request that was refused is part of what ties the connection: what was sent of that must not be
    /// carried out without it, as a transaction would be. Where the codec cannot prevent it, both
    /// connections end.
    pub(crate) fn spoil(&self, head: &Head) {
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
    pub(crate) fn defer(&self, request: &Message<'_>) -> Option<Receipt> {
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
        self.state
            .borrow_mut()
            .exclusive
            .retain(|(other, _)| !Rc::ptr_eq(other, upstream));
        if upstream.is_pinned() && upstream.in_flight() == 0 {
            self.unpin_if_free(true);
        }
    }

    /// Remembers that an upstream works for this client alone.
    /// `blocking`: the request makes sense only while the client is there.
    pub(crate) fn uses_alone(&self, upstream: &Rc<Upstream>, blocking: bool) {
        let exclusive = &mut self.state.borrow_mut().exclusive;
        // Those that ended without a reply.
        exclusive.retain(|(other, _)| !other.is_closed());
        exclusive.push((Rc::clone(upstream), blocking));
    }

    /// A blocking request waits for a connection, or does not any more.
    pub(crate) fn set_queued(&self, waits: bool) {
        let mut state = self.state.borrow_mut();
        let queued = &mut state.rare().queued;
        *queued = if waits {
            *queued + 1
        } else {
            queued.saturating_sub(1)
        };
    }

    /// Whether something goes on that makes sense only while the client is there.
    pub(crate) fn is_tied(&self) -> bool {
        let state = self.state.borrow();
        state.pinned.is_some()
            || state.rare.as_ref().is_some_and(|rare| rare.queued > 0)
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
