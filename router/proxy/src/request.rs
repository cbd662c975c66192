//! What happens to a request: route, cluster, endpoint, connection; or a local reply.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::{Bind, Fault, Head, Kind, Message, Receipt, Session, Status};
use meltemi_router_core::CompiledRoute;

use crate::access_log::Entry;
use crate::call::{Call, Caller, Track};
use crate::cluster::{Acquired, ClusterState, Need, Waiting};
use crate::downstream_task::{DownstreamTask, Streaming};
use crate::endpoint::{EndpointState, InFlight};
use crate::stats::{cluster, listener, operation, route};
use crate::upstream::Upstream;
use crate::view::ServedView;

/// Where a request goes.
struct Way<'a> {
    route: &'a CompiledRoute,
    /// The route's place in its table.
    place: usize,
    cluster: &'a Rc<ClusterState>,
    /// The cluster's place in the configuration.
    index: usize,
}

impl DownstreamTask {
    /// Takes one request. Tells whether the connection has to wait before the next.
    pub(crate) fn request(&mut self, message: &mut Message<'_>, again: bool) -> bool {
        let Some(served) = self.served.clone() else {
            return true;
        };
        if self.must_stall(&served, message) {
            self.conversation.stalled = Some(Box::new(message.to_owned_message()));
            return true;
        }
        self.count(message, again);
        self.conversation.changing |= message.head.bind == Bind::Session;
        self.conversation.closing |= message.head.close;
        if !message.head.end {
            // Until it is known where the pieces go.
            self.conversation.streaming = Streaming::Nowhere;
        }
        let (receipt, mut track) = self.remember(&served, message);
        match self.way(&served, message) {
            Err((fault, text)) => self.refuse(message.head.kind, receipt, track, fault, &text),
            Ok(way) => {
                if let Some(group) = served.routes.get(way.place) {
                    group.add(route::REQUESTS, 1);
                }
                if let Some(entry) = &mut track.entry {
                    way.route.name.to_string().clone_into(&mut entry.route);
                    entry.cluster.clone_from(&way.cluster.config.borrow().name);
                }
                if !way.route.request_changes.is_empty() {
                    let cluster = &way.cluster.config.borrow().name;
                    let facts = self
                        .down
                        .facts(&self.view.listener.name, way.route, cluster);
                    way.route.request_changes.apply(message, &facts);
                }
                self.dispatch(&served, message, &way, receipt, track);
            }
        }
        self.must_wait()
    }

    /// A request that changes what the connection is, or ties it, goes alone: those before it are
    /// answered first. So does one behind a transaction that is about to end.
    fn must_stall(&self, served: &ServedView, message: &Message<'_>) -> bool {
        if self.down.in_flight() == 0 {
            return false;
        }
        match self.down.pinned() {
            None => matches!(message.head.bind, Bind::Pin | Bind::Session),
            Some(upstream) => self.leads_elsewhere(served, message, &upstream),
        }
    }

    fn leads_elsewhere(
        &self,
        served: &ServedView,
        message: &Message<'_>,
        pinned: &Rc<Upstream>,
    ) -> bool {
        let Some(route) = served
            .table
            .find(message)
            .and_then(|at| served.table.routes().get(at))
        else {
            return false;
        };
        !route.targets().any(|(at, _)| {
            served
                .clusters
                .get(at)
                .is_some_and(|cluster| Rc::ptr_eq(cluster, &pinned.cluster))
        })
    }

    fn count(&self, message: &Message<'_>, again: bool) {
        if again {
            return;
        }
        self.view.group.add(listener::REQUESTS, 1);
        if message.head.kind == Kind::OneWay {
            self.view.group.add(listener::ONE_WAY, 1);
        }
    }

    fn remember(&self, served: &ServedView, message: &Message<'_>) -> (Receipt, Track) {
        let operation = served.operations.of(message);
        operation.add(operation::REQUESTS, 1);
        let entry = self.worker.access_log.as_ref().map(|_| {
            let (service, operation) = served.operations.names(message);
            Box::new(Entry {
                listener: self.view.listener.name.clone(),
                protocol: served.protocol.spec().name.to_string(),
                kind: message.head.kind.name(),
                downstream: Some(self.down.peer),
                id: message.head.id,
                service,
                operation,
                request_bytes: message.wire().len(),
                ..Entry::default()
            })
        });
        let receipt = if message.head.kind == Kind::Request {
            self.down
                .with_codec(|codec| codec.receipt(message))
                .unwrap_or_default()
        } else {
            Receipt::default()
        };
        (
            receipt,
            Track {
                started_us: self.worker.now_us(),
                operation,
                entry,
            },
        )
    }

    fn way<'a>(
        &self,
        served: &'a ServedView,
        message: &Message<'_>,
    ) -> Result<Way<'a>, (Fault, String)> {
        let found = served.table.find(message);
        let found = found.and_then(|at| served.table.routes().get(at).map(|route| (route, at)));
        let Some((route, place)) = found else {
            return Err((Fault::NoRoute, self.describe_no_route(served, message)));
        };
        let index = route.choose(self.worker.random());
        let Some(cluster) = served.clusters.get(index) else {
            return Err((
                Fault::NoEndpoint,
                format!("route {} leads nowhere", route.name),
            ));
        };
        Ok(Way {
            route,
            place,
            cluster,
            index,
        })
    }

    fn describe_no_route(&self, served: &ServedView, message: &Message<'_>) -> String {
        let (service, operation) = served.operations.names(message);
        let separator = if service.is_empty() { "" } else { "." };
        format!(
            "no route on {} for {service}{separator}{operation}",
            self.view.listener.name
        )
    }

    fn dispatch(
        &mut self,
        served: &Rc<ServedView>,
        message: &mut Message<'_>,
        way: &Way<'_>,
        receipt: Receipt,
        mut track: Track,
    ) {
        let head = message.head;
        let pinned = self.down.pinned();
        let (endpoint, hashed) = match self.endpoint(served, message, way, pinned.as_ref()) {
            Ok(found) => found,
            Err((fault, text)) => return self.refuse(head.kind, receipt, track, fault, &text),
        };
        if let Some(entry) = &mut track.entry {
            entry.endpoint = Some(endpoint.address);
        }
        let deadline_ms = self.deadline(way.route.timeout, head.timeout, head.bind);
        let session = self.upstream_session(way.cluster);
        let interest = served.table.response_interest();
        let need = Need {
            protocol: &served.protocol,
            session: &session,
            exclusive: head.bind != Bind::Free || !head.end,
            interest,
            affinity: self.down.number,
        };
        let acquired = match pinned {
            Some(upstream) => Acquired::Upstream(upstream),
            None => way.cluster.acquire(&self.worker, &endpoint, &need),
        };
        way.cluster.group.add(cluster::REQUESTS, 1);
        let expects_reply = head.kind == Kind::Request;
        let upstream = match acquired {
            Acquired::Upstream(upstream) => upstream,
            Acquired::Refused(fault) => {
                let text = format!(
                    "cluster {} is at its limit",
                    way.cluster.config.borrow().name
                );
                return self.refuse(head.kind, receipt, track, fault, &text);
            }
            Acquired::Busy => {
                let call = expects_reply
                    .then(|| self.call(served, message, &endpoint, way, receipt, track));
                let waiting = Waiting {
                    message: message.to_owned_message(),
                    call,
                    protocol: Arc::clone(&served.protocol),
                    session,
                    interest,
                    deadline_ms,
                    give_up_ms: self.give_up(way.cluster, deadline_ms),
                    endpoint,
                    hashed,
                };
                return self.wait_for_connection(way.cluster, waiting, head);
            }
        };
        if head.bind == Bind::Pin && self.down.pinned().is_none() {
            self.down.pin(&upstream);
        }
        let sent = if expects_reply {
            if upstream.is_exclusive() && !upstream.is_pinned() {
                self.down.uses_alone(&upstream, head.bind == Bind::Once);
            }
            let call = self.call(served, message, &endpoint, way, receipt, track);
            self.send(&upstream, message, Some(call), deadline_ms)
        } else {
            let sent = self.send(&upstream, message, None, u64::MAX);
            let (status, fault) =
                sent.map_or_else(|fault| ("local", Some(fault)), |()| ("ok", None));
            track.end(&self.worker, 0, status, fault, "");
            sent
        };
        if sent.is_err() {
            self.down.after_reply(&upstream);
        } else if !head.end {
            upstream.set_sending(true);
            self.conversation.streaming = Streaming::To(Rc::clone(&upstream));
        }
        // Where no reply tells when the connection is free again.
        if sent.is_err() || !expects_reply {
            upstream.done(&self.worker);
        }
    }

    /// The endpoint that a request goes to, and whether no other one will do.
    fn endpoint(
        &self,
        served: &ServedView,
        message: &Message<'_>,
        way: &Way<'_>,
        pinned: Option<&Rc<Upstream>>,
    ) -> Result<(Rc<EndpointState>, bool), (Fault, String)> {
        if let Some(upstream) = pinned {
            if self.leads_elsewhere(served, message, upstream) {
                let text = format!(
                    "the connection is tied to {} and this request routes to {}",
                    upstream.cluster.config.borrow().name,
                    way.cluster.config.borrow().name
                );
                return Err((Fault::Misrouted, text));
            }
            return Ok((Rc::clone(&upstream.endpoint), true));
        }
        let hash = way.route.hash(way.index, message, self.down.peer.ip());
        let endpoint = way.cluster.pick(&self.worker, hash).ok_or_else(|| {
            let name = &way.cluster.config.borrow().name;
            (Fault::NoEndpoint, format!("cluster {name} has no endpoint"))
        })?;
        Ok((endpoint, hash.is_some()))
    }

    /// The call, with its place in the order of replies.
    fn call(
        &self,
        served: &Rc<ServedView>,
        message: &Message<'_>,
        endpoint: &Rc<EndpointState>,
        way: &Way<'_>,
        receipt: Receipt,
        track: Track,
    ) -> Call {
        Call {
            id: message.head.id,
            _in_flight: Some(InFlight::new(endpoint, &way.cluster.counters)),
            caller: Some(Caller {
                down: Rc::clone(&self.down),
                seq: self.down.open_slot(),
                receipt,
                served: Rc::clone(served),
                place: way.place,
                status: Status::Ok,
                session: message.head.bind == Bind::Session,
                track,
            }),
        }
    }

    /// Sends a request, or a piece of one. If it cannot be sent, whoever waits has been told.
    fn send(
        &mut self,
        upstream: &Rc<Upstream>,
        message: &mut Message<'_>,
        call: Option<Call>,
        deadline_ms: u64,
    ) -> Result<(), Fault> {
        match upstream.send(&self.worker, message, call, deadline_ms) {
            Ok(full) => {
                if full {
                    self.conversation.blocked_on = Some(Rc::clone(upstream));
                }
                Ok(())
            }
            Err(unsent) => {
                let fault = unsent.fault;
                if !unsent.answer() {
                    self.worker.count_fault(&self.view.listener.name, fault);
                }
                Err(fault)
            }
        }
    }

    fn wait_for_connection(&self, cluster: &ClusterState, waiting: Waiting, head: Head) {
        let may_wait = head.end && matches!(head.bind, Bind::Free | Bind::Once);
        let refused = if may_wait {
            self.worker.something_pending();
            let blocks = head.bind == Bind::Once;
            let refused = cluster.wait(waiting).err();
            if blocks && refused.is_none() {
                self.down.set_queued(true);
            }
            refused.map(|waiting| waiting.call)
        } else {
            Some(waiting.call)
        };
        match refused {
            None => {}
            Some(Some(call)) => {
                let name = &cluster.config.borrow().name;
                let text = format!("cluster {name} has no connection to spare");
                call.fail(Fault::Overload, &text);
            }
            Some(None) => self
                .worker
                .count_fault(&self.view.listener.name, Fault::Overload),
        }
    }

    /// Until when a request may wait for a connection, in milliseconds of the worker's clock: no
    /// longer than one may take to be made, however patient the request itself is.
    fn give_up(&self, cluster: &ClusterState, deadline_ms: u64) -> u64 {
        let patience = cluster.config.borrow().connect_timeout.as_millis();
        let patience = u64::try_from(patience).unwrap_or(u64::MAX);
        deadline_ms.min(self.worker.now_ms().saturating_add(patience))
    }

    /// A further piece of a large request.
    pub(crate) fn further_piece(&mut self, message: &Message<'_>) -> bool {
        let end = message.head.end;
        if let Streaming::To(upstream) = &self.conversation.streaming {
            let upstream = Rc::clone(upstream);
            let mut piece = message.clone();
            let sent = self.send(&upstream, &mut piece, None, u64::MAX);
            if sent.is_err() {
                // Without this piece the others make no sense.
                upstream.close(Fault::Reset);
                self.conversation.streaming = Streaming::Nowhere;
            } else if end {
                upstream.set_sending(false);
                upstream.done(&self.worker);
            }
        }
        if end {
            self.conversation.streaming = Streaming::None;
        }
        self.must_wait()
    }

    /// Answers a request with a fault; a one-way request is never answered.
    fn refuse(&self, kind: Kind, receipt: Receipt, track: Track, fault: Fault, text: &str) {
        if kind == Kind::Request {
            let seq = self.down.open_slot();
            self.down.fail(seq, receipt, track, fault, text);
        } else {
            self.worker.count_fault(&self.view.listener.name, fault);
            track.end(&self.worker, 0, "local", Some(fault), text);
        }
    }

    /// Whether the connection has to wait before its next message.
    pub(crate) fn must_wait(&self) -> bool {
        let talk = &self.conversation;
        // The rest of a request that counts already must come, or it is never answered.
        let more = matches!(talk.streaming, Streaming::None);
        talk.changing
            || talk.closing
            || talk.stalled.is_some()
            || talk.blocked_on.is_some()
            || more && self.down.in_flight() >= self.view.listener.limits.in_flight
            || self.down.is_over_cap()
    }

    /// When the request's time is out, in milliseconds of the worker's clock.
    fn deadline(&self, route: Option<Duration>, own: Option<Duration>, bind: Bind) -> u64 {
        // A blocking command waits as long as it says: that is what it is for.
        let timeout = match (route, own) {
            _ if bind == Bind::Once => None,
            (Some(route), Some(own)) => Some(route.min(own)),
            (route, own) => route.or(own),
        };
        timeout.map_or(u64::MAX, |timeout| {
            let after = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            self.worker.now_ms().saturating_add(after.max(1))
        })
    }

    /// The session of an upstream connection: what the cluster asks for, then what the client is.
    fn upstream_session(&mut self, cluster: &ClusterState) -> Session {
        let login = cluster.config.borrow().login.clone();
        let client = self.down.session();
        if client.is_plain() {
            return login;
        }
        if login.is_plain() {
            return client;
        }
        let key = (login.key(), client.key());
        if let Some((a, b, session)) = &self.conversation.composed
            && (*a, *b) == key
        {
            return session.clone();
        }
        let session = client.behind(&login);
        self.conversation.composed = Some((key.0, key.1, session.clone()));
        session
    }
}
