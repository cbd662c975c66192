//! A worker: one thread, one event loop, and everything its connections share.

pub(crate) mod sweep;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meltemi_frame::{Fault, Limits};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::call::Pool;
use crate::cluster::ClusterState;
use crate::cluster::counters::Counted;
use crate::config::snapshot::Snapshot;
use crate::config::view::{Kept, ListenerView, View};
use crate::context::beat::Beat;
use crate::context::clock::Clock;
use crate::downstream::Downstream;
use crate::proxy::acceptor::Admission;
use crate::ratelimit::RateLimits;
use crate::tasks::downstream::serve;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::spans::Tracer;
use crate::telemetry::stats::{FAULTS, Group, Stats, faults, listener};
use crate::transport::io::ReadBuffer;
use crate::upstream::Upstream;

/// What a worker is told.
pub(crate) enum Command {
    /// Serve this connection of this listener.
    Accept(StdStream, SocketAddr, Arc<str>, Admission),
    /// Take over a configuration.
    Configure(Arc<Snapshot>),
    /// Let connections end; answers when there are none.
    Drain(oneshot::Sender<()>),
    /// Tell of the clusters.
    Clusters(oneshot::Sender<Vec<ClusterReport>>),
    /// End now.
    Stop,
}

/// A cluster as one worker sees it, for the admin page.
#[derive(Clone, Debug)]
pub struct ClusterReport {
    /// The cluster's name.
    pub name: String,
    /// Address, requests in flight, shared connections, idle connections of every endpoint.
    pub endpoints: Vec<(SocketAddr, u32, usize, usize)>,
    /// What counts against its limits now, of all workers.
    pub counted: Counted,
}

pub(crate) struct Worker {
    pub(crate) buffer: ReadBuffer,
    pub(crate) stats: Stats,
    pub(crate) access_log: Option<AccessLog>,
    /// Traces requests, if traces are exported.
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) rate_limits: Arc<RateLimits>,
    /// Boxes for requests.
    pub(crate) calls: Pool,
    clock: Clock,
    now_us: Cell<u64>,
    version: Cell<u64>,
    view: RefCell<Rc<View>>,
    kept: RefCell<Kept>,
    clusters: RefCell<HashMap<String, Rc<ClusterState>>>,
    faults: RefCell<HashMap<(String, Fault), Arc<Group>>>,
    random: RefCell<fastrand::Rng>,
    pub(crate) upstreams: RefCell<Vec<Weak<Upstream>>>,
    pub(crate) downstreams: RefCell<Vec<Weak<Downstream>>>,
    next_number: Cell<u64>,
    pub(crate) beat: Arc<Beat>,
    /// Connections of this worker, seen by the acceptor.
    load: Arc<AtomicUsize>,
    /// The process ends: nobody is let in any more.
    leaving: Cell<bool>,
    /// Who wants to know when the last connection has ended.
    draining: RefCell<Option<oneshot::Sender<()>>>,
    /// Clusters that are gone, for whose connections somebody still waits.
    retired: RefCell<Vec<Rc<ClusterState>>>,
}

/// How a worker is started.
pub(crate) struct Start {
    pub(crate) stats: Stats,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) beat: Arc<Beat>,
    pub(crate) clock: Clock,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) load: Arc<AtomicUsize>,
}

/// Runs a worker on this thread until it is told to stop.
pub(crate) fn run(start: Start, commands: mpsc::UnboundedReceiver<Command>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Polling for I/O less often than after every few tasks makes larger batches.
        .event_interval(127)
        .build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, Worker::main(start, commands));
    drop(local);
    // A name that is being resolved must not hold up the end of the process.
    runtime.shutdown_background();
    Ok(())
}

impl Worker {
    async fn main(start: Start, mut commands: mpsc::UnboundedReceiver<Command>) {
        let worker = Rc::new(Self {
            buffer: ReadBuffer::new(),
            stats: start.stats,
            access_log: start.access_log,
            tracer: start.tracer,
            rate_limits: start.rate_limits,
            calls: Pool::default(),
            clock: start.clock,
            now_us: Cell::new(1),
            version: Cell::new(0),
            view: RefCell::new(Rc::new(View {
                listeners: HashMap::new(),
            })),
            kept: RefCell::default(),
            clusters: RefCell::default(),
            faults: RefCell::default(),
            random: RefCell::new(fastrand::Rng::new()),
            upstreams: RefCell::default(),
            downstreams: RefCell::default(),
            next_number: Cell::new(0),
            beat: start.beat,
            load: start.load,
            leaving: Cell::new(false),
            draining: RefCell::default(),
            retired: RefCell::default(),
        });
        worker.configure(&start.snapshot);
        let sweep = tokio::task::spawn_local(crate::worker::sweep::run(Rc::clone(&worker)));
        while let Some(command) = commands.recv().await {
            match command {
                Command::Accept(stream, peer, listener, admission) => {
                    worker.accept(stream, peer, &listener, admission);
                }
                Command::Configure(snapshot) => worker.configure(&snapshot),
                Command::Drain(done) => worker.drain(done),
                Command::Clusters(reply) => drop(reply.send(worker.report())),
                Command::Stop => break,
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
        // It was accepted just before the listener was closed.
        if self.leaving.get() {
            return;
        }
        let Some(view) = self.listener(listener) else {
            return;
        };
        let Ok(stream) = TcpStream::from_std(stream) else {
            return;
        };
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        view.group.add(listener::CONNECTIONS, 1);
        view.group.add(listener::ACTIVE, 1);
        let port = stream.local_addr().map_or(0, |address| address.port());
        let down = Downstream::new(self, peer, port, number, &view);
        let worker = Rc::clone(self);
        tokio::task::spawn_local(serve(worker, down, view, stream, admission));
    }

    fn configure(self: &Rc<Self>, snapshot: &Arc<Snapshot>) {
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
                    let group = self.kept.borrow_mut().cluster(name, &self.stats);
                    ClusterState::new(self, compiled, group)
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
            &self.stats,
        );
        *self.view.borrow_mut() = Rc::new(view);
        self.kept.borrow_mut().prune();
        let view = Rc::clone(&self.view.borrow());
        let served = |listener: &String| view.listeners.contains_key(listener);
        self.faults
            .borrow_mut()
            .retain(|(listener, _), _| served(listener));
        self.stats.sweep();
        self.version.set(self.version.get() + 1);
        let view = Rc::clone(&self.view.borrow());
        for upstream in self.upstreams.borrow().iter().filter_map(Weak::upgrade) {
            if !view.speaks(&upstream.protocol) {
                upstream.endpoint.forget(&upstream);
                upstream.drain();
            }
        }
        for down in self.downstreams.borrow().iter().filter_map(Weak::upgrade) {
            // Connections of listeners that are gone end when they have nothing to do.
            let gone = !view.listeners.contains_key(&down.view().listener.name);
            if gone && down.watch.drain(self.now_us()) {
                down.go_away();
            }
            // The others let go of what was.
            down.wake();
        }
    }

    fn drain(&self, done: oneshot::Sender<()>) {
        self.leaving.set(true);
        self.tick();
        for down in self.downstreams.borrow().iter().filter_map(Weak::upgrade) {
            if down.watch.drain(self.now_us()) {
                down.go_away();
            }
        }
        *self.draining.borrow_mut() = Some(done);
        self.finish_drain();
        self.something_pending();
    }

    /// Tells whoever asked for it when the last connection has ended.
    pub(crate) fn finish_drain(&self) {
        if self.load.load(Ordering::Relaxed) == 0
            && let Some(done) = self.draining.borrow_mut().take()
        {
            // Whoever asked may have lost patience.
            let _ = done.send(());
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

    /// Every cluster for whose connections somebody may wait.
    pub(crate) fn clusters(&self) -> Vec<Rc<ClusterState>> {
        let mut retired = self.retired.borrow_mut();
        retired.retain(|cluster| cluster.has_waiting());
        let mut all: Vec<_> = self.clusters.borrow().values().cloned().collect();
        all.extend_from_slice(&retired);
        all
    }

    pub(crate) fn listener(&self, name: &str) -> Option<Rc<ListenerView>> {
        self.view.borrow().listeners.get(name).cloned()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.get()
    }

    /// What upstream codecs may hold. Responses are not limited by the listeners, as one connection
    /// may serve several.
    pub(crate) fn codec_limits(&self) -> Limits {
        let view = self.view.borrow();
        let mut limits = Limits::default();
        for listener in view.listeners.values() {
            let codec = listener.listener.limits.codec;
            limits.frame = limits.frame.max(codec.frame);
            limits.depth = limits.depth.max(codec.depth);
            limits.entries = limits.entries.max(codec.entries);
        }
        limits
    }

    /// Reads the clock, once per turn of a task.
    pub(crate) fn tick(&self) {
        self.now_us.set(self.clock.now_us());
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    /// When this time will be over, in milliseconds, and at least one from now.
    pub(crate) fn after(&self, time: Duration) -> u64 {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.now_ms().saturating_add(time.max(1))
    }

    /// Microseconds since the proxy started, as of the last tick.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Milliseconds since the proxy started, as of the last tick.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_us.get() / 1000
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// The sweep must run soon: somebody waits for something that has a deadline.
    pub(crate) fn something_pending(&self) {
        self.beat.set_pending();
    }

    pub(crate) fn watch_upstream(&self, upstream: &Rc<Upstream>) {
        self.upstreams.borrow_mut().push(Rc::downgrade(upstream));
    }

    pub(crate) fn watch_downstream(&self, down: &Rc<Downstream>) {
        down.watch.active_us.set(self.now_us());
        self.downstreams.borrow_mut().push(Rc::downgrade(down));
    }

    pub(crate) fn count_fault(&self, listener: &str, fault: Fault) {
        let mut groups = self.faults.borrow_mut();
        let group = groups
            .entry((listener.to_owned(), fault))
            .or_insert_with(|| {
                self.stats
                    .group(&FAULTS, vec![listener.to_owned(), fault.name().to_owned()])
            });
        group.add(faults::REPLIES, 1);
    }
}

#[cfg(test)]
mod tests;
