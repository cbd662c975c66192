//! What happens to a request: route, cluster, endpoint, connection; or a local reply.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::{Bind, Fault, Interest, Kind, Message, Receipt, Session};
use meltemi_router_core::CompiledRoute;

use crate::access_log::Entry;
use crate::call::{Call, Caller, Track};
use crate::cluster::{Acquired, ClusterState, EndpointState, InFlight, Need, Waiting};
use crate::downstream_task::{DownstreamTask, Streaming};
use crate::stats::{cluster, listener, operation, route};
use crate::upstream::Upstream;
use crate::view::ServedView;

/// Where a request goes.
struct Way<'a> {
    route: &'a CompiledRoute,
    cluster: &'a Rc<ClusterState>,
}

impl DownstreamTask {
    /// Takes one request. Tells whether the connection has to wait before the next.
    pub(crate) fn request(&mut self, mut message: Message<'_>, again: bool) -> bool {
        let Some(served) = self.served.clone() else {
            return true;
        };
        if self.must_stall(&served, &message) {
            self.conversation.stalled = Some(message.to_owned_message());
            return true;
        }
        self.count(&message, again);
        self.conversation.changing |= message.head.bind == Bind::Session;
        self.conversation.closing |= message.head.close;
        if !message.head.end {
            // Until it is known where the pieces go.
            self.conversation.streaming = Streaming::Nowhere;
        }
        let (receipt, mut track) = self.remember(&served, &message);
        match self.way(&served, &message) {
            Err((fault, text)) => self.refuse(message.head.kind, receipt, track, fault, &text),
            Ok((way, index)) => {
                if let Some(group) = served.routes.get(index) {
                    group.add(route::REQUESTS, 1);
                }
                if let Some(entry) = &mut track.entry {
                    way.route.name.to_string().clone_into(&mut entry.route);
                    entry.cluster.clone_from(&way.cluster.config.borrow().name);
                }
                for edit in way.route.request_edits.iter() {
                    message.edit(edit.clone());
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
    ) -> Result<(Way<'a>, usize), (Fault, String)> {
        let found = served.table.find(message);
        let found = found.and_then(|at| served.table.routes().get(at).map(|route| (route, at)));
        let Some((route, at)) = found else {
            return Err((Fault::NoRoute, self.describe_no_route(served, message)));
        };
        let index = route.choose(self.worker.random());
        let Some(cluster) = served.clusters.get(index) else {
            return Err((
                Fault::NoEndpoint,
                format!("route {} leads nowhere", route.name),
            ));
        };
        Ok((Way { route, cluster }, at))
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
        mut message: Message<'_>,
        way: &Way<'_>,
        receipt: Receipt,
        mut track: Track,
    ) {
        let kind = message.head.kind;
        let head = message.head;
        let (upstream, endpoint) = match self.down.pinned() {
            Some(upstream) => {
                if self.leads_elsewhere(served, &message, &upstream) {
                    let text = format!(
                        "the connection is tied to {} and this request routes to {}",
                        upstream.cluster.config.borrow().name,
                        way.cluster.config.borrow().name
                    );
                    return self.refuse(kind, receipt, track, Fault::Misrouted, &text);
                }
                let endpoint = Rc::clone(&upstream.endpoint);
                (Some(upstream), endpoint)
            }
            None => {
                let name = &way.cluster.config.borrow().name;
                let cluster_at = served
                    .clusters
                    .iter()
                    .position(|c| Rc::ptr_eq(c, way.cluster));
                let hash =
                    cluster_at.and_then(|at| way.route.hash(at, &message, self.down.peer.ip()));
                let Some(endpoint) = way.cluster.pick(&self.worker, hash) else {
                    let text = format!("cluster {name} has no endpoint");
                    return self.refuse(kind, receipt, track, Fault::NoEndpoint, &text);
                };
                (None, endpoint)
            }
        };
        if let Some(entry) = &mut track.entry {
            entry.endpoint = Some(endpoint.address);
        }
        let deadline_ms = self.deadline(way.route.timeout, head.timeout, head.bind);
        let call = (kind == Kind::Request).then(|| Call {
            id: head.id,
            _in_flight: Some(InFlight::new(&endpoint, &way.cluster.counters)),
            caller: None,
        });
        let (session, interest) = (
            self.upstream_session(way.cluster),
            response_interest(served),
        );
        let acquired = match upstream {
            Some(upstream) => Acquired::Upstream(upstream),
            None => way.cluster.acquire(
                &self.worker,
                &endpoint,
                &Need {
                    protocol: &served.protocol,
                    session: &session,
                    exclusive: head.bind != Bind::Free || !head.end,
                    interest,
                    affinity: self.down.number,
                },
            ),
        };
        way.cluster.group.add(cluster::REQUESTS, 1);
        let upstream = match acquired {
            Acquired::Upstream(upstream) => upstream,
            Acquired::Refused(fault) => {
                let text = format!(
                    "cluster {} is at its limit",
                    way.cluster.config.borrow().name
                );
                return self.refuse(kind, receipt, track, fault, &text);
            }
            Acquired::Busy => {
                let call = call.map(|call| self.owned_by(call, way, receipt, track, head.bind));
                return self.wait_for_connection(
                    served,
                    &message,
                    way,
                    endpoint,
                    call,
                    (session, interest, deadline_ms),
                );
            }
        };
        if head.bind == Bind::Pin && self.down.pinned().is_none() {
            self.down.pin(&upstream);
        }
        let alone = upstream.is_exclusive() && !upstream.is_pinned();
        match call {
            Some(call) => {
                if alone {
                    self.down.uses_alone(&upstream, head.bind == Bind::Once);
                }
                let call = self.owned_by(call, way, receipt, track, head.bind);
                self.send(&upstream, &mut message, Some(call), deadline_ms);
            }
            None => {
                self.send(&upstream, &mut message, None, u64::MAX);
                track.end(&self.worker, 0, "ok", None, "");
            }
        }
        if !head.end {
            upstream.set_sending(true);
            self.conversation.streaming = Streaming::To(upstream);
        } else if kind == Kind::OneWay {
            upstream.done(&self.worker);
        }
    }

    /// The call, with its place in the order of replies.
    fn owned_by(
        &self,
        mut call: Call,
        way: &Way<'_>,
        receipt: Receipt,
        track: Track,
        bind: Bind,
    ) -> Call {
        let edits = &way.route.response_edits;
        call.caller = Some(Caller {
            down: Rc::clone(&self.down),
            seq: self.down.open_slot(),
            receipt,
            edits: (!edits.is_empty()).then(|| Arc::clone(edits)),
            session: bind == Bind::Session,
            track,
        });
        call
    }

    fn send(
        &mut self,
        upstream: &Rc<Upstream>,
        message: &mut Message<'_>,
        call: Option<Call>,
        deadline_ms: u64,
    ) {
        match upstream.send(&self.worker, message, call, deadline_ms) {
            Ok(false) => {}
            Ok(true) => self.conversation.blocked_on = Some(Rc::clone(upstream)),
            Err(unsent) => {
                let fault = unsent.fault;
                if !unsent.answer() {
                    self.worker.count_fault(&self.view.listener.name, fault);
                }
                upstream.done(&self.worker);
            }
        }
    }

    fn wait_for_connection(
        &mut self,
        served: &ServedView,
        message: &Message<'_>,
        way: &Way<'_>,
        endpoint: Rc<EndpointState>,
        call: Option<Call>,
        (session, interest, deadline_ms): (Session, Interest, u64),
    ) {
        let text = format!(
            "cluster {} has no connection to spare",
            way.cluster.config.borrow().name
        );
        let may_wait = message.head.end && matches!(message.head.bind, Bind::Free | Bind::Once);
        let refused = if may_wait {
            let waiting = Waiting {
                message: message.to_owned_message(),
                call,
                protocol: Arc::clone(&served.protocol),
                session,
                interest,
                deadline_ms,
                endpoint,
            };
            self.worker.something_pending();
            way.cluster.wait(waiting).err().map(|waiting| waiting.call)
        } else {
            Some(call)
        };
        match refused {
            None => {}
            Some(Some(call)) => call.fail(Fault::Overload, &text),
            Some(None) => self
                .worker
                .count_fault(&self.view.listener.name, Fault::Overload),
        }
    }

    /// A further piece of a large request.
    pub(crate) fn further_piece(&mut self, message: &Message<'_>) -> bool {
        let end = message.head.end;
        let streaming = if end {
            std::mem::take(&mut self.conversation.streaming)
        } else {
            match &self.conversation.streaming {
                Streaming::To(upstream) => Streaming::To(Rc::clone(upstream)),
                other => other.clone_state(),
            }
        };
        if let Streaming::To(upstream) = streaming {
            let mut piece = message.clone();
            self.send(&upstream, &mut piece, None, u64::MAX);
            if end {
                upstream.set_sending(false);
                upstream.done(&self.worker);
            }
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

    fn must_wait(&self) -> bool {
        let talk = &self.conversation;
        talk.changing
            || talk.closing
            || talk.stalled.is_some()
            || talk.blocked_on.is_some()
            || self.down.in_flight() >= self.view.listener.limits.in_flight
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
        let session = crate::worker::compose(&login, &client);
        self.conversation.composed = Some((key.0, key.1, session.clone()));
        session
    }
}

fn response_interest(served: &ServedView) -> Interest {
    served.table.response_interest()
}

impl Streaming {
    /// The states that hold nothing.
    const fn clone_state(&self) -> Self {
        match self {
            Self::Nowhere => Self::Nowhere,
            Self::None | Self::To(_) => Self::None,
        }
    }
}
