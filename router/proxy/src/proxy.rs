//! Starts, reloads and stops a proxy: its threads and the commands to them.

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

/// The settings of a proxy that are not part of its configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The number of worker threads. 0 means one per core.
    pub workers: usize,
    /// The access log. `None` if disabled.
    pub access_log: Option<AccessLog>,
    /// The export of traces. `None` if disabled.
    pub tracing: Option<Tracing>,
    /// The memory limit for buffered bytes, in bytes. `None` for the default of [`default_bound`].
    pub memory: Option<u64>,
}

/// The longest wait for the last spans to reach the collector after the drain.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// The longest wait for the last lines of the access log after the drain.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The reason why a proxy cannot start or apply a configuration. The previous configuration stays
/// active.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The proxy cannot listen on an address.
    #[error("cannot listen on {address}: {source}; is another program using it?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A thread or event loop cannot be created.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Traces cannot be exported.
    #[error("cannot export traces to `{endpoint}`: {why}")]
    Tracing {
        /// The collector.
        endpoint: String,
        /// The problem.
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

/// The runtime for everything outside the workers: accepting connections, rate limits, probes,
/// traces.
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
        // Dropping the runtime would block, which is not allowed in an async context.
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
    /// Starts a proxy. When this function returns, its listeners accept connections.
    ///
    /// # Errors
    /// Fails if the proxy cannot listen on an address or start a thread.
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

    /// Applies a configuration. Requests in flight finish with the old one. Connections of
    /// listeners that stay are kept.
    ///
    /// # Errors
    /// Fails if the proxy cannot listen on a new address. Nothing has changed then.
    pub fn reload(&self, config: &Config) -> Result<(), StartError> {
        let snapshot = Snapshot::compile(config, &self.lasting, self.tracer.is_some());
        let mut acceptor = self.acceptor();
        // Everything that can fail comes first. The steps after it cannot fail.
        let listeners = acceptor.prepare(&wanted(config)).map_err(bind_failed)?;
        if self.lanes.iter().all(|lane| lane.commands.is_closed()) {
            return Err(StartError::Stopped);
        }
        self.lasting.shared.commit(&snapshot.clusters);
        // The services must exist before a worker sends requests to a new one.
        self.rate_limits.configure(&ratelimit::services(config));
        let snapshot = Arc::new(snapshot);
        for lane in &self.lanes {
            // A worker that has stopped serves no requests.
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

    /// Returns the address of each listener, by name. The port is the real one if the system chose
    /// it.
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        self.acceptor().addresses()
    }

    /// Returns the metrics.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns the clusters, with the counts of all workers added up by name and endpoint.
    pub async fn clusters(&self) -> Vec<ClusterReport> {
        gather_clusters(&self.lanes).await
    }

    pub(crate) fn lanes(&self) -> Vec<WorkerHandle> {
        self.lanes.clone()
    }

    /// Stops accepting, asks clients to go elsewhere, and waits until every connection has ended,
    /// but no longer than `patience`. Returns `true` if all connections ended in time.
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
                // A worker that has stopped has no connections.
                let _ = wait.await;
            }
        };
        let ended = tokio::time::timeout(patience, all).await.is_ok();
        if let Some(tracer) = &self.tracer {
            // An unreachable collector must not delay the end of the process.
            let _ = tokio::time::timeout(LAST_SPANS, tracer.flush()).await;
        }
        if let Some(log) = self.access_log.clone() {
            let _ = tokio::task::spawn_blocking(move || log.flush(LAST_LINES)).await;
        }
        ended
    }

    /// Returns the number of open downstream connections.
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
            // A worker that has already stopped needs no command.
            let _ = lane.commands.send(Command::Stop);
        }
        self.background.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // Requests that ended after the drain must be in the log too.
        if let Some(log) = &self.access_log
            && !log.flush(LAST_LINES)
        {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
    }
}

/// Returns the listeners of a configuration in the form that the acceptor needs.
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
