//! Probes endpoints on schedule, with a limit on concurrent probes, and reports the results. One
//! task serves all clusters, so each endpoint is probed once, whatever the number of workers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use meltemi_config::Cluster;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::schedule::{Schedule, Subject};
use super::{ProbeError, probe};
use crate::telemetry::stats::{HEALTH, MetricSet, Stats, health};

/// The most concurrent probes. It limits the sockets that endpoints without an answer can take.
const MOST: usize = 64;

/// A cluster to probe, if it has [`Cluster::health`], and its endpoints.
#[derive(Clone, Debug)]
pub struct ProbeTarget {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The resolved addresses of its endpoints.
    pub addresses: Vec<SocketAddr>,
}

type Report = dyn Fn(&str, SocketAddr, Result<Duration, ProbeError>) + Send + Sync;

/// Probes the endpoints of clusters. Costs nothing until it is configured with clusters to probe.
/// Stops when it is dropped.
pub struct Prober {
    runtime: Handle,
    stats: Stats,
    report: Arc<Report>,
    running: Mutex<Option<Running>>,
}

struct Running {
    targets: mpsc::UnboundedSender<Vec<ProbeTarget>>,
    task: AbortHandle,
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}

impl Prober {
    /// Creates a prober on this runtime, which must have I/O and time enabled. `report` gets the
    /// result of every probe: the cluster, the endpoint, and how long the answer took. It is called
    /// on the runtime, for one probe at a time, and must not block.
    pub fn new(
        runtime: Handle,
        stats: Stats,
        report: impl Fn(&str, SocketAddr, Result<Duration, ProbeError>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            runtime,
            stats,
            report: Arc::new(report),
            running: Mutex::new(None),
        }
    }

    /// Replaces the endpoints to probe. New endpoints are probed at once, the others on their
    /// schedule. Removed endpoints get no more reports, not even for a running probe.
    pub fn configure(&self, targets: Vec<ProbeTarget>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let asks = |one: &ProbeTarget| one.cluster.health.is_some() && !one.addresses.is_empty();
        if running.is_none() && !targets.iter().any(asks) {
            return;
        }
        let Running {
            targets: sender, ..
        } = running.get_or_insert_with(|| self.start());
        // The task ends only when the prober is dropped or the runtime ends.
        let _ = sender.send(targets);
    }

    fn start(&self) -> Running {
        let (targets, told) = mpsc::unbounded_channel();
        let work = Work {
            stats: self.stats.clone(),
            groups: HashMap::new(),
            report: Arc::clone(&self.report),
            schedule: Schedule::default(),
            probes: JoinSet::new(),
            asked: HashMap::new(),
        };
        let task = self.runtime.spawn(work.run(told)).abort_handle();
        Running { targets, task }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        let running = self
            .running
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.take() {
            running.task.abort();
        }
    }
}

/// The state of the task. Running probes end with it.
struct Work {
    stats: Stats,
    /// The counters by cluster. Only this task writes them.
    groups: HashMap<String, Arc<MetricSet>>,
    report: Arc<Report>,
    schedule: Schedule,
    probes: JoinSet<Result<Duration, ProbeError>>,
    /// The endpoints of the running probes.
    asked: HashMap<Id, (u64, AbortHandle)>,
}

impl Work {
    async fn run(mut self, mut told: mpsc::UnboundedReceiver<Vec<ProbeTarget>>) {
        loop {
            let now = Instant::now();
            while self.probes.len() < MOST
                && let Some(subject) = self.schedule.next(now)
            {
                self.ask(&subject);
            }
            let has_room = self.probes.len() < MOST;
            let wakes = self.schedule.wakes().filter(|_| has_room);
            tokio::select! {
                targets = told.recv() => match targets {
                    Some(targets) => self.replace(&targets),
                    None => return,
                },
                Some(ended) = self.probes.join_next_with_id() => self.ended(ended),
                () = tokio::time::sleep_until(wakes.unwrap_or(now).into()), if wakes.is_some() => {}
            }
        }
    }

    fn replace(&mut self, targets: &[ProbeTarget]) {
        let gone = self.schedule.replace(targets, Instant::now());
        for (number, probe) in self.asked.values() {
            if gone.contains(number) {
                probe.abort();
            }
        }
    }

    fn ask(&mut self, subject: &Subject) {
        let (cluster, address) = (Arc::clone(&subject.cluster), subject.address);
        let probe = self.probes.spawn(async move {
            let Some(check) = &cluster.health else {
                return Err(ProbeError::Crashed);
            };
            let protocol = cluster.protocol.as_ref();
            let session = check.session.after(&cluster.login);
            probe(protocol, address, &check.probe, &session, check.timeout).await
        });
        self.asked.insert(probe.id(), (subject.number, probe));
    }

    fn ended(&mut self, ended: Result<(Id, Result<Duration, ProbeError>), JoinError>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(ProbeError::Crashed)),
        };
        let Some((number, _)) = self.asked.remove(&id) else {
            return;
        };
        let (now, chance) = (Instant::now(), fastrand::f64());
        let Some(subject) = self.schedule.probed(number, now, chance) else {
            return;
        };
        let (name, address) = (&subject.cluster.name, subject.address);
        let group = self.groups.entry(name.clone());
        let group = group.or_insert_with(|| self.stats.group(&HEALTH, vec![name.clone()]));
        group.add(health::PROBES, 1);
        if let Err(error) = &result {
            group.add(health::FAILURES, 1);
            tracing::debug!(cluster = %name, endpoint = %address, why = error.name(), "endpoint {error}");
        }
        (self.report)(name, address, result);
    }
}
