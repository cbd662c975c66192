//! A worker: one thread with one event loop, and the state that its connections share.

pub(crate) mod relief;
pub(crate) mod sweep;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use meltemi_frame::Fault;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::cluster::ClusterState;
use crate::cluster::counters::Counted;
use crate::config::snapshot::Snapshot;
use crate::config::view::{ListenerView, MetricHandles, View};
use crate::context::{Services, WorkerContext};
use crate::downstream::Downstream;
use crate::downstream::admission::Admission;
use crate::tasks::downstream::serve;
use crate::tasks::upstream::run as run_upstream;
use crate::telemetry::stats::listener;
use crate::upstream::connector::Connector;

/// A message to a worker.
pub(crate) enum Command {
    /// Serves this connection of this listener.
    Accept(StdStream, SocketAddr, Arc<str>, Admission),
    /// Applies a configuration.
    Configure(Arc<Snapshot>),
    /// Lets connections end, and replies when all have ended.
    Drain(oneshot::Sender<()>),
    /// Reports the state of the clusters.
    Clusters(oneshot::Sender<Vec<ClusterReport>>),
    /// Stops at once.
    Stop,
}

/// The state of a cluster in one worker, for the admin page.
#[derive(Clone, Debug)]
pub struct ClusterReport {
    /// The cluster's name.
    pub name: String,
    /// For every endpoint: address, requests in flight, shared connections, idle connections.
    pub endpoints: Vec<(SocketAddr, u32, usize, usize)>,
    /// The current counts against the cluster's limits, over all workers.
    pub counted: Counted,
}

/// A worker: the state that its connections share, and the lists of connections.
pub(crate) struct Worker {
    pub(crate) context: Rc<WorkerContext>,
    view: RefCell<Rc<View>>,
    kept: RefCell<MetricHandles>,
    clusters: RefCell<HashMap<String, Rc<ClusterState>>>,
    pub(crate) connector: Rc<Connector>,
    pub(crate) downstreams: RefCell<Vec<Weak<Downstream>>>,
    next_number: Cell<u64>,
    /// The number of connections of this worker. The acceptor reads it.
    load: Arc<AtomicUsize>,
    /// The process is shutting down: new connections are dropped.
    leaving: Cell<bool>,
    /// The channel to notify when the last connection has ended.
    draining: RefCell<Option<oneshot::Sender<()>>>,
    /// Removed clusters with requests that still wait for their connections.
    retired: RefCell<Vec<Rc<ClusterState>>>,
}

/// The arguments to start a worker.
pub(crate) struct Start {
    pub(crate) services: Services,
    /// The worker's number.
    pub(crate) number: usize,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) load: Arc<AtomicUsize>,
}

/// Runs a worker on this thread until it receives [`Command::Stop`].
pub(crate) fn run(start: Start, commands: mpsc::UnboundedReceiver<Command>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Less frequent polling for I/O makes larger batches.
        .event_interval(127)
        .build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, Worker::main(start, commands));
    drop(local);
    // A running name lookup must not delay the end of the process.
    runtime.shutdown_background();
    Ok(())
}

impl Worker {
    async fn main(start: Start, mut commands: mpsc::UnboundedReceiver<Command>) {
        let worker = Rc::new(Self {
            context: Rc::new(WorkerContext::new(start.services, start.number)),
            view: RefCell::new(Rc::new(View {
                listeners: HashMap::new(),
            })),
            kept: RefCell::default(),
            clusters: RefCell::default(),
            connector: Rc::new(Connector::new(run_upstream)),
            downstreams: RefCell::default(),
            next_number: Cell::new(0),
            load: start.load,
            leaving: Cell::new(false),
            draining: RefCell::default(),
            retired: RefCell::default(),
        });
        worker.configure(&start.snapshot);
        let sweep = tokio::task::spawn_local(sweep::run(Rc::clone(&worker)));
        while let Some(command) = commands.recv().await {
            match command {
                Command::Accept(stream, peer, listener, admission) => {
                    worker.accept(stream, peer, &listener, admission);
                }
                Command::Configure(snapshot) => worker.configure(&snapshot),
                Command::Drain(done) => worker.drain(done),
                Command::Clusters(reply) => drop(reply.send(worker.report())),
                Command::Stop => {
                    worker.end();
                    break;
                }
            }
        }
        sweep.abort();
    }

    fn accept(
        self: &Rc<Self>,
        stream: StdStream,
        peer: SocketAddr,
        listener: &str,
        admission: Admission,
    ) {
        // The connection was accepted just before the listener closed.
        if self.leaving.get() {
            return;
        }
        let Some(view) = self.listener(listener) else {
            return;
        };
        let Ok(stream) = TcpStream::from_std(stream) else {
            return;
        };
        // Batches come from turns of the event loop, not from waiting for acknowledgements.
        let _ = stream.set_nodelay(true);
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        view.group.add(listener::CONNECTIONS, 1);
        view.group.add(listener::ACTIVE, 1);
        let port = stream.local_addr().map_or(0, |address| address.port());
        let down = Downstream::new(&self.context, peer, port, number, &view);
        down.activity.active_us.set(self.context.now_us());
        self.downstreams.borrow_mut().push(Rc::downgrade(&down));
        let context = Rc::clone(&self.context);
        let stream = (context.services.wrap)(stream);
        tokio::task::spawn_local(serve(context, down, view, stream, admission));
    }

    fn configure(self: &Rc<Self>, snapshot: &Arc<Snapshot>) {
        let stats = &self.context.services.stats;
        let mut known = self.clusters.borrow_mut();
        let mut next = HashMap::new();
        let mut in_order = Vec::with_capacity(snapshot.clusters.len());
        for compiled in &snapshot.clusters {
            let name = &compiled.config.name;
            let state = match known.remove(name) {
                Some(state) => {
                    state.update(compiled);
                    state
                }
                None => {
                    let group = self.kept.borrow_mut().cluster(name, stats);
                    ClusterState::new(&self.context, &self.connector, compiled, group)
                }
            };
            next.insert(name.clone(), Rc::clone(&state));
            in_order.push(state);
        }
        for (_, gone) in known.drain() {
            gone.retire();
            if gone.has_waiting() {
                self.retired.borrow_mut().push(gone);
            }
        }
        *known = next;
        drop(known);
        let view = View::new(
            snapshot,
            &in_order.into(),
            &mut self.kept.borrow_mut(),
            stats,
        );
        self.context.set_codec_limits(view.codec_limits());
        *self.view.borrow_mut() = Rc::new(view);
        self.kept.borrow_mut().prune();
        let view = Rc::clone(&self.view.borrow());
        self.context
            .prune_faults(|listener| view.listeners.contains_key(listener));
        stats.sweep();
        for upstream in self.connector.all() {
            if !view.speaks(&upstream.protocol) {
                upstream.endpoint.forget(&upstream);
                upstream.drain();
            }
        }
        for down in self.downstreams.borrow().iter().filter_map(Weak::upgrade) {
            match view.listeners.get(&down.view().listener.name) {
                Some(next) => down.set_view(next),
                // A connection of a removed listener ends when it has no work.
                None if down.activity.drain(self.context.now_us()) => down.go_away(),
                None => {}
            }
            // The other connections release the old view.
            down.wake();
        }
    }

    fn drain(&self, done: oneshot::Sender<()>) {
        self.leaving.set(true);
        self.context.tick();
        for down in self.downstreams.borrow().iter().filter_map(Weak::upgrade) {
            if down.activity.drain(self.context.now_us()) {
                down.go_away();
            }
        }
        *self.draining.borrow_mut() = Some(done);
        self.finish_drain();
        self.context.something_pending();
    }

    /// Notifies the caller of the drain when the last connection has ended.
    pub(crate) fn finish_drain(&self) {
        if self.load.load(Ordering::Relaxed) == 0
            && let Some(done) = self.draining.borrow_mut().take()
        {
            // The caller may have timed out.
            let _ = done.send(());
        }
    }

    /// Ends the requests that are under way, so that they are counted and logged.
    fn end(&self) {
        self.context.tick();
        let text = "the proxy ended before the answer came";
        let under_way = self.connector.all().into_iter();
        let sent = under_way.flat_map(|upstream| upstream.drain_calls());
        for (call, _) in sent {
            call.refuse(&self.context, Fault::Reset, text);
        }
        for cluster in self.clusters() {
            for call in cluster.expired(u64::MAX) {
                call.refuse(&self.context, Fault::Reset, text);
            }
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.borrow().is_some()
    }

    fn report(&self) -> Vec<ClusterReport> {
        let clusters = self.clusters.borrow();
        let mut report: Vec<_> = clusters
            .iter()
            .map(|(name, state)| ClusterReport {
                name: name.clone(),
                endpoints: state.endpoint_lines(),
                counted: state.counters.counted(),
            })
            .collect();
        report.sort_by(|a, b| a.name.cmp(&b.name));
        report
    }

    /// Returns every cluster for whose connections a request may wait.
    pub(crate) fn clusters(&self) -> Vec<Rc<ClusterState>> {
        let mut retired = self.retired.borrow_mut();
        retired.retain(|cluster| cluster.has_waiting());
        let mut all: Vec<_> = self.clusters.borrow().values().cloned().collect();
        all.extend_from_slice(&retired);
        all
    }

    fn listener(&self, name: &str) -> Option<Rc<ListenerView>> {
        self.view.borrow().listeners.get(name).cloned()
    }

    /// Releases memory that no request in flight needs.
    pub(crate) fn trim(&self) {
        self.view.borrow().trim();
    }
}

#[cfg(test)]
mod tests;
