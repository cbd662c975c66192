//! Starts, reconfigures and ends a proxy: its threads, and what they are told.

pub(crate) mod acceptor;
pub(crate) mod probing;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use meltemi_config::Config;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::config::snapshot::{ProcessState, Snapshot};
use crate::context::Services;
use crate::context::clock::Clock;
use crate::context::memory::{Memory, default_bound};
use crate::context::ticker::Ticker;
use crate::proxy::acceptor::{Acceptor, Wanted, WorkerHandle};
use crate::proxy::probing::Probing;
use crate::ratelimit::{self, RateLimits};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::spans::{Tracer, Tracing};
use crate::telemetry::stats::Stats;
use crate::transport::stream::Stream;
use crate::worker::{ClusterReport, Command, Start};

/// How a proxy runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Worker threads; 0: one per core.
    pub workers: usize,
    /// The access log, if there is one.
    pub access_log: Option<AccessLog>,
    /// Where traces go, if they go anywhere.
    pub tracing: Option<Tracing>,
    /// How much memory bytes that wait may take, in bytes; `None`: see [`default_bound`].
    pub memory: Option<u64>,
}

/// How long the last spans may take to reach the collector when the proxy has drained.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How long the last lines of the access log may take when the proxy has drained.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Why a proxy cannot start, or cannot take over a configuration. What ran before still runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is another program using it?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A thread or event loop cannot be made.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Traces cannot be exported.
    #[error("cannot export traces to `{endpoint}`: {why}")]
    Tracing {
        /// The collector.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The proxy has been stopped.
    #[error("the proxy has been stopped")]
    Stopped,
}

/// A running proxy. Dropping it stops it at once; [`Proxy::drain`] lets requests end first.
pub struct Proxy {
    lanes: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
    acceptor: Mutex<Acceptor>,
    background: Background,
    rate_limits: Arc<RateLimits>,
    tracer: Option<Arc<Tracer>>,
    access_log: Option<AccessLog>,
    probing: Probing,
    lasting: Arc<ProcessState>,
    stats: Stats,
}

/// The runtime of everything that is no worker's: accepting, and asking and telling others.
struct Background(Option<tokio::runtime::Runtime>);

impl Background {
    fn start() -> std::io::Result<(Self, Handle)> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("background")
            .enable_io()
            .enable_time()
            .build()?;
        let handle = runtime.handle().clone();
        Ok((Self(Some(runtime)), handle))
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Dropped as it is, it would wait, which is not allowed where others are waited for.
        self.stop();
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("workers", &self.lanes.len())
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts a proxy: when this returns, its listeners accept.
    ///
    /// # Errors
    /// An address cannot be listened on, or a thread cannot be started.
    pub fn start(config: &Config, options: &Options) -> Result<Self, StartError> {
        let stats = Stats::default();
        if let Some(log) = &options.access_log {
            log.count_in(&stats);
        }
        let clock = Clock::start();
        let lasting = Arc::new(ProcessState::new(fastrand::u64(..)));
        let traced = options.tracing.is_some();
        let snapshot = Arc::new(Snapshot::compile(config, &lasting, traced));
        lasting.shared.commit(&snapshot.clusters);
        let (background, runtime) = Background::start()?;
        let rate_limits = RateLimits::new(runtime.clone(), stats.clone());
        rate_limits.configure(&ratelimit::services(config));
        let tracer = options
            .tracing
            .as_ref()
            .map(|tracing| {
                Tracer::start(tracing, &runtime, &stats).map_err(|why| StartError::Tracing {
                    endpoint: tracing.endpoint.clone(),
                    why,
                })
            })
            .transpose()?;
        let count = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            count => count,
        };
        let bound = options.memory.unwrap_or_else(|| default_bound().bytes);
        let memory = Memory::new(usize::try_from(bound).unwrap_or(usize::MAX), count);
        let mut lanes = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let (commands, receiver) = mpsc::unbounded_channel();
            let load = Arc::new(AtomicUsize::new(0));
            let start = Start {
                services: Services {
                    stats: stats.clone(),
                    access_log: options.access_log.clone(),
                    rate_limits: Arc::clone(&rate_limits),
                    tracer: tracer.clone(),
                    memory: Arc::clone(&memory),
                    ticker: Ticker::start(&runtime),
                    clock,
                    wrap: Stream::from,
                },
                number,
                snapshot: Arc::clone(&snapshot),
                load: Arc::clone(&load),
            };
            let run = move || {
                if let Err(error) = crate::worker::run(start, receiver) {
                    tracing::error!(%error, "worker cannot run");
                }
            };
            threads.push(
                std::thread::Builder::new()
                    .name(format!("worker-{number}"))
                    .spawn(run)?,
            );
            lanes.push(WorkerHandle { commands, load });
        }
        let probing = Probing::new(runtime.clone(), Arc::clone(&lasting), clock, stats.clone());
        probing.configure();
        let acceptor = Acceptor::new(runtime, lanes.clone(), stats.clone());
        let acceptor = Mutex::new(acceptor);
        let proxy = Self {
            lanes,
            threads,
            acceptor,
            background,
            rate_limits,
            tracer,
            access_log: options.access_log.clone(),
            probing,
            lasting,
            stats,
        };
        let mut acceptor = proxy.acceptor();
        let listeners = acceptor.prepare(&wanted(config)).map_err(bind_failed)?;
        acceptor.switch(listeners);
        drop(acceptor);
        Ok(proxy)
    }

    /// Takes over a configuration. Requests in flight finish as they began; connections of listeners
    /// that stay are kept.
    ///
    /// # Errors
    /// A new address cannot be listened on: then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), StartError> {
        let snapshot = Snapshot::compile(config, &self.lasting, self.tracer.is_some());
        let mut acceptor = self.acceptor();
        // All that can fail comes first; what follows cannot.
        let listeners = acceptor.prepare(&wanted(config)).map_err(bind_failed)?;
        if self.lanes.iter().all(|lane| lane.commands.is_closed()) {
            return Err(StartError::Stopped);
        }
        self.lasting.shared.commit(&snapshot.clusters);
        // Before a worker asks one that is new.
        self.rate_limits.configure(&ratelimit::services(config));
        let snapshot = Arc::new(snapshot);
        for lane in &self.lanes {
            // A worker that is gone serves nobody.
            let _ = lane
                .commands
                .send(Command::Configure(Arc::clone(&snapshot)));
        }
        acceptor.switch(listeners);
        drop(acceptor);
        self.probing.configure();
        Ok(())
    }

    fn acceptor(&self) -> MutexGuard<'_, Acceptor> {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where each listener listens, by name (which tells the port, where the system chose it).
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        self.acceptor().addresses()
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The clusters as every worker sees them, added up by name and endpoint.
    pub async fn clusters(&self) -> Vec<ClusterReport> {
        gather_clusters(&self.lanes).await
    }

    pub(crate) fn lanes(&self) -> Vec<WorkerHandle> {
        self.lanes.clone()
    }

    /// Accepts no more, tells clients to go elsewhere, and waits until every connection has ended,
    /// but no longer than `patience`. Tells whether all ended in time.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.acceptor().close();
        let mut waits = Vec::new();
        for lane in &self.lanes {
            let (done, wait) = oneshot::channel();
            if lane.commands.send(Command::Drain(done)).is_ok() {
                waits.push(wait);
            }
        }
        let all = async {
            for wait in waits {
                // A worker that is gone has no connections.
                let _ = wait.await;
            }
        };
        let ended = tokio::time::timeout(patience, all).await.is_ok();
        if let Some(tracer) = &self.tracer {
            // A collector that is gone must not hold up the end of the process.
            let _ = tokio::time::timeout(LAST_SPANS, tracer.flush()).await;
        }
        if let Some(log) = self.access_log.clone() {
            let _ = tokio::task::spawn_blocking(move || log.flush(LAST_LINES)).await;
        }
        ended
    }

    /// Downstream connections open now.
    pub fn connections(&self) -> usize {
        self.lanes
            .iter()
            .map(|lane| lane.load.load(Ordering::Relaxed))
            .sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for lane in &self.lanes {
            // A worker that is gone needs no telling.
            let _ = lane.commands.send(Command::Stop);
        }
        self.background.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // Requests that ended after the drain have lines, too.
        if let Some(log) = &self.access_log
            && !log.flush(LAST_LINES)
        {
            tracing::warn!("access log: the last lines could not be written in time");
        }
    }
}

/// The listeners of a configuration, as the acceptor needs them.
fn wanted(config: &Config) -> Vec<Wanted> {
    let listeners = config.listeners().iter();
    let wanted = listeners.map(|one| Wanted {
        address: one.address,
        name: one.name.as_str().into(),
        connections: one.limits.connections,
    });
    wanted.collect()
}

fn bind_failed((address, source): (SocketAddr, std::io::Error)) -> StartError {
    StartError::Bind { address, source }
}

pub(crate) async fn gather_clusters(lanes: &[WorkerHandle]) -> Vec<ClusterReport> {
    let mut all: Vec<ClusterReport> = Vec::new();
    for lane in lanes {
        let (reply, report) = oneshot::channel();
        if lane.commands.send(Command::Clusters(reply)).is_err() {
            continue;
        }
        for cluster in report.await.unwrap_or_default() {
            match all.iter_mut().find(|known| known.name == cluster.name) {
                None => all.push(cluster),
                Some(known) => add_up(known, cluster),
            }
        }
    }
    all
}

fn add_up(known: &mut ClusterReport, more: ClusterReport) {
    for (address, in_flight, shared, idle) in more.endpoints {
        match known
            .endpoints
            .iter_mut()
            .find(|endpoint| endpoint.0 == address)
        {
            None => known.endpoints.push((address, in_flight, shared, idle)),
            Some(endpoint) => {
                endpoint.1 += in_flight;
                endpoint.2 += shared;
                endpoint.3 += idle;
            }
        }
    }
}

#[cfg(test)]
mod tests;
