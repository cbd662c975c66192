//! A configuration as one worker sees it: the shared snapshot, with this worker's clusters and counters.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_config::Listener;
use meltemi_frame::{Interest, Lookup, Message, Protocol};
use meltemi_router_core::Table;

use crate::cluster::ClusterState;
use crate::snapshot::{CompiledListener, CompiledProtocol, Snapshot};
use crate::stats::{CLUSTER, Group, LISTENER, OPERATION, ROUTE, Stats};

/// Operations of one protocol on one listener that are counted by name. What a client can make up
/// must not grow metrics without bound: the rest is counted as `other`.
const OPERATIONS: usize = 512;

/// The longest name of an operation or service that is counted by name, in bytes.
const OPERATION_LENGTH: usize = 128;

/// A configuration as one worker sees it.
pub(crate) struct View {
    pub(crate) listeners: HashMap<String, Rc<ListenerView>>,
}

/// A listener as one worker sees it.
pub(crate) struct ListenerView {
    pub(crate) listener: Arc<Listener>,
    pub(crate) served: Vec<Rc<ServedView>>,
    pub(crate) candidates: Vec<Arc<dyn Protocol>>,
    pub(crate) group: Arc<Group>,
}

/// A protocol on a listener, as one worker sees it.
pub(crate) struct ServedView {
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) table: Arc<Table>,
    pub(crate) interest: Interest,
    pub(crate) in_order: bool,
    pub(crate) clusters: Rc<[Rc<ClusterState>]>,
    pub(crate) routes: Vec<Arc<Group>>,
    pub(crate) operations: Rc<Operations>,
}

/// Counters of the operations of one protocol on one listener. They outlive configurations.
pub(crate) struct Operations {
    listener: String,
    protocol: String,
    operation: Option<Lookup>,
    service: Option<Lookup>,
    known: RefCell<HashMap<Vec<u8>, Arc<Group>, foldhash::fast::RandomState>>,
    key: RefCell<Vec<u8>>,
    other: Arc<Group>,
    stats: Stats,
}

/// Counters that outlive configurations, by their labels.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) listeners: HashMap<String, Arc<Group>>,
    pub(crate) routes: HashMap<(String, String), Arc<Group>>,
    pub(crate) operations: HashMap<(String, String), Rc<Operations>>,
    pub(crate) clusters: HashMap<String, Arc<Group>>,
}

impl Kept {
    /// The counters of a cluster.
    pub(crate) fn cluster(&mut self, name: &str, stats: &Stats) -> Arc<Group> {
        let group = self
            .clusters
            .entry(name.to_owned())
            .or_insert_with_key(|name| stats.group(&CLUSTER, vec![name.clone()]));
        Arc::clone(group)
    }
}

impl View {
    pub(crate) fn new(
        snapshot: &Snapshot,
        clusters: &Rc<[Rc<ClusterState>]>,
        kept: &mut Kept,
        stats: &Stats,
    ) -> Self {
        let listeners = snapshot
            .listeners
            .iter()
            .map(|compiled| {
                let view = ListenerView::new(compiled, clusters, kept, stats);
                (compiled.listener.name.clone(), Rc::new(view))
            })
            .collect();
        Self { listeners }
    }

    /// Whether a listener serves this very protocol.
    pub(crate) fn speaks(&self, protocol: &Arc<dyn Protocol>) -> bool {
        self.listeners.values().any(|listener| {
            let mut candidates = listener.candidates.iter();
            candidates.any(|candidate| Arc::ptr_eq(candidate, protocol))
        })
    }
}

impl ListenerView {
    fn new(
        compiled: &CompiledListener,
        clusters: &Rc<[Rc<ClusterState>]>,
        kept: &mut Kept,
        stats: &Stats,
    ) -> Self {
        let name = &compiled.listener.name;
        let group = kept
            .listeners
            .entry(name.clone())
            .or_insert_with(|| stats.group(&LISTENER, vec![name.clone()]));
        let group = Arc::clone(group);
        let served = compiled.served.iter();
        Self {
            listener: Arc::clone(&compiled.listener),
            candidates: served
                .clone()
                .map(|one| Arc::clone(&one.protocol))
                .collect(),
            served: served
                .map(|one| Rc::new(ServedView::new(name, one, clusters, kept, stats)))
                .collect(),
            group,
        }
    }
}

impl ServedView {
    fn new(
        listener: &str,
        compiled: &CompiledProtocol,
        clusters: &Rc<[Rc<ClusterState>]>,
        kept: &mut Kept,
        stats: &Stats,
    ) -> Self {
        let routes = compiled.table.routes().iter().map(|route| {
            let key = (listener.to_owned(), route.name.to_string());
            let group = kept
                .routes
                .entry(key)
                .or_insert_with_key(|(listener, route)| {
                    stats.group(&ROUTE, vec![listener.clone(), route.clone()])
                });
            Arc::clone(group)
        });
        let routes = routes.collect();
        let protocol = compiled.protocol.spec().name.to_string();
        kept.operations
            .retain(|_, known| known.suits(listener, &protocol, compiled));
        let operations = kept
            .operations
            .entry((listener.to_owned(), protocol.clone()))
            .or_insert_with(|| {
                let labels = vec![
                    listener.to_owned(),
                    protocol.clone(),
                    String::new(),
                    "other".to_owned(),
                ];
                Rc::new(Operations {
                    listener: listener.to_owned(),
                    protocol,
                    operation: compiled.operation.clone(),
                    service: compiled.service.clone(),
                    known: RefCell::default(),
                    key: RefCell::default(),
                    other: stats.group(&OPERATION, labels),
                    stats: stats.clone(),
                })
            });
        Self {
            protocol: Arc::clone(&compiled.protocol),
            table: Arc::clone(&compiled.table),
            interest: compiled.interest,
            in_order: compiled.protocol.spec().correlation.in_order(),
            clusters: Rc::clone(clusters),
            routes,
            operations: Rc::clone(operations),
        }
    }
}

impl Operations {
    /// Whether these count another protocol, or look for names where this one has them: what is
    /// declared may have changed.
    fn suits(&self, listener: &str, protocol: &str, compiled: &CompiledProtocol) -> bool {
        let other = self.listener != listener || self.protocol != protocol;
        other || self.operation == compiled.operation && self.service == compiled.service
    }

    /// The service and operation that a request names.
    pub(crate) fn names(&self, message: &Message<'_>) -> (String, String) {
        let text = |lookup: &Option<Lookup>| {
            let value = lookup.as_ref().and_then(|lookup| message.attribute(lookup));
            value
                .map(|value| String::from_utf8_lossy(&value).into_owned())
                .unwrap_or_default()
        };
        (text(&self.service), text(&self.operation))
    }

    /// The counters of the operation that a request names.
    pub(crate) fn of(&self, message: &Message<'_>) -> Arc<Group> {
        let mut key = self.key.borrow_mut();
        key.clear();
        let slot = |lookup: &Option<Lookup>| match lookup {
            Some(Lookup::Slot(id)) => message.attributes.slot(*id, message.wire()),
            _ => None,
        };
        key.extend_from_slice(slot(&self.service).unwrap_or_default());
        // No protocol has this byte in a name that is text; where one has, two names share a count.
        key.push(0xff);
        key.extend_from_slice(slot(&self.operation).unwrap_or_default());
        if let Some(group) = self.known.borrow().get(key.as_slice()) {
            return Arc::clone(group);
        }
        let mut known = self.known.borrow_mut();
        if known.len() >= OPERATIONS || key.len() > OPERATION_LENGTH {
            return Arc::clone(&self.other);
        }
        let (service, operation) = self.names(message);
        let labels = vec![
            self.listener.clone(),
            self.protocol.clone(),
            service,
            operation,
        ];
        let group = self.stats.group(&OPERATION, labels);
        known.insert(key.clone(), Arc::clone(&group));
        group
    }
}
