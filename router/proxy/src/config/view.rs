//! A configuration in one worker: the shared snapshot with the worker's clusters and counters.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use meltemi_config::Listener;
use meltemi_frame::{Head, Interest, Limits, Mark, Message, Protocol, Reach};
use meltemi_router_core::{CompiledRoute, Table};

use crate::call::Pool;
use crate::cluster::ClusterState;
use crate::config::snapshot::{CompiledListener, CompiledProtocol, Snapshot};
use crate::telemetry::operations::Operations;
use crate::telemetry::spans::TraceKeys;
use crate::telemetry::stats::{CLUSTER, LISTENER, MetricSet, ROUTE, Stats};
use crate::upstream::Upstream;

/// A configuration in one worker.
pub(crate) struct View {
    pub(crate) listeners: HashMap<String, Rc<ListenerView>>,
}

/// A listener in one worker.
pub(crate) struct ListenerView {
    /// The listener without its routes.
    pub(crate) listener: Arc<Listener>,
    pub(crate) served: Vec<Rc<ServedView>>,
    pub(crate) candidates: Vec<Arc<dyn Protocol>>,
    pub(crate) group: Arc<MetricSet>,
}

/// A protocol on a listener, in one worker.
pub(crate) struct ServedView {
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) table: Arc<Table>,
    pub(crate) interest: Interest,
    pub(crate) in_order: bool,
    /// `true` if its routes lead to more than one cluster.
    pub(crate) split: bool,
    pub(crate) clusters: Rc<[Rc<ClusterState>]>,
    pub(crate) routes: Vec<Arc<MetricSet>>,
    pub(crate) operations: Rc<Operations>,
    pub(crate) trace_keys: Arc<TraceKeys>,
    /// A pool of boxes for requests.
    pub(crate) calls: Pool,
}

/// Counters that survive configuration changes, by their labels.
#[derive(Default)]
pub(crate) struct MetricHandles {
    pub(crate) listeners: HashMap<String, Arc<MetricSet>>,
    pub(crate) routes: HashMap<(Arc<str>, Arc<str>), Arc<MetricSet>>,
    pub(crate) operations: HashMap<(String, String), Rc<Operations>>,
    pub(crate) clusters: HashMap<String, Arc<MetricSet>>,
}

impl MetricHandles {
    /// Drops counters that neither a view nor a request in flight uses.
    pub(crate) fn prune(&mut self) {
        // The list of all counters also holds one reference to each.
        let used = |group: &Arc<MetricSet>| Arc::strong_count(group) > 2;
        self.listeners.retain(|_, group| used(group));
        self.routes.retain(|_, group| used(group));
        self.clusters.retain(|_, group| used(group));
        self.operations
            .retain(|_, known| Rc::strong_count(known) > 1);
    }

    /// Returns the counters of a cluster.
    pub(crate) fn cluster(&mut self, name: &str, stats: &Stats) -> Arc<MetricSet> {
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
        handles: &mut MetricHandles,
        stats: &Stats,
    ) -> Self {
        let listeners = snapshot
            .listeners
            .iter()
            .map(|compiled| {
                let view = ListenerView::new(compiled, clusters, handles, stats);
                (compiled.listener.name.clone(), Rc::new(view))
            })
            .collect();
        Self { listeners }
    }

    /// Returns the limits for upstream codecs: the largest of all listeners, because one connection
    /// may serve several listeners.
    pub(crate) fn codec_limits(&self) -> Limits {
        let mut limits = Limits::default();
        for listener in self.listeners.values() {
            let codec = listener.listener.limits.codec;
            limits.frame = limits.frame.max(codec.frame);
            limits.depth = limits.depth.max(codec.depth);
            limits.entries = limits.entries.max(codec.entries);
        }
        limits
    }

    /// Frees memory that no request in flight needs.
    pub(crate) fn trim(&self) {
        for listener in self.listeners.values() {
            for served in &listener.served {
                served.calls.trim();
            }
        }
    }

    /// Returns `true` if a listener serves this protocol object.
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
        handles: &mut MetricHandles,
        stats: &Stats,
    ) -> Self {
        let name = &compiled.listener.name;
        let group = handles
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
                .map(|one| Rc::new(ServedView::new(name, one, clusters, handles, stats)))
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
        handles: &mut MetricHandles,
        stats: &Stats,
    ) -> Self {
        let name: Arc<str> = listener.into();
        let routes = compiled.table.routes().iter().map(|route| {
            let labels = (Arc::clone(&name), Arc::clone(&route.name));
            let group = handles.routes.entry(labels).or_insert_with_key(|labels| {
                let (listener, route) = labels.clone();
                stats.group(&ROUTE, [listener, route])
            });
            Arc::clone(group)
        });
        let routes = routes.collect();
        let mut targets = compiled.table.routes().iter().flat_map(|route| {
            let targets = route.targets();
            targets.map(|(cluster, _)| cluster)
        });
        let first = targets.next();
        let split = targets.any(|cluster| Some(cluster) != first);
        let protocol = compiled.protocol.spec().name.to_string();
        handles
            .operations
            .retain(|_, known| known.suits(listener, &compiled.names));
        let operations = handles
            .operations
            .entry((listener.to_owned(), protocol))
            .or_insert_with(|| Rc::new(Operations::new(listener, &compiled.names, stats)));
        Self {
            protocol: Arc::clone(&compiled.protocol),
            table: Arc::clone(&compiled.table),
            interest: compiled.interest,
            in_order: compiled.protocol.spec().correlation.in_order(),
            split,
            clusters: Rc::clone(clusters),
            routes,
            operations: Rc::clone(operations),
            trace_keys: Arc::clone(&compiled.trace_keys),
            calls: Pool::default(),
        }
    }

    /// Returns the index of the cluster for a request. If the request continues at one endpoint,
    /// that endpoint's cluster. Otherwise the cluster is selected by weight.
    #[inline]
    pub(crate) fn choose(&self, route: &CompiledRoute, head: &Head, random: u64) -> usize {
        if let Reach::Continues(Some(mark)) = head.reach
            && let Some(cluster) = self.with_endpoint(route, mark)
        {
            return cluster;
        }
        route.choose(random)
    }

    /// Returns the index of the route's cluster that contains the endpoint with this mark.
    #[cold]
    fn with_endpoint(&self, route: &CompiledRoute, mark: Mark) -> Option<usize> {
        let mut clusters = route.targets().map(|(cluster, _)| cluster);
        clusters.find(|at| {
            let cluster = self.clusters.get(*at);
            cluster.is_some_and(|cluster| cluster.endpoint_of(mark).is_some())
        })
    }

    /// Returns `true` if the request's route does not lead to the cluster of the client's pinned
    /// connection. A request that every cluster needs belongs to this one too.
    pub(crate) fn leads_elsewhere(&self, message: &Message<'_>, pinned: &Rc<Upstream>) -> bool {
        if !belongs_somewhere(&message.head) {
            return false;
        }
        let found = self.table.find(message);
        let Some(route) = found.and_then(|at| self.table.routes().get(at)) else {
            return false;
        };
        !self.leads_to(route, pinned)
    }

    /// Returns `true` if the route leads to the cluster of the connection.
    pub(crate) fn leads_to(&self, route: &CompiledRoute, pinned: &Rc<Upstream>) -> bool {
        let pinned_to = |at: usize| {
            let cluster = self.clusters.get(at);
            cluster.is_some_and(|cluster| Rc::ptr_eq(cluster, &pinned.cluster))
        };
        route.targets().any(|(at, _)| pinned_to(at))
    }
}

/// Returns `true` if the request belongs to the clusters of its route. The others fit every connection.
pub(crate) fn belongs_somewhere(head: &Head) -> bool {
    !head.follows && !matches!(head.reach, Reach::Every { .. })
}
