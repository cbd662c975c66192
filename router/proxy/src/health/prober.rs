//! Probes endpoints in their turn, some at a time, and tells how each probe went. One task asks
//! for all clusters, so that each endpoint is asked once, whatever the number of workers.

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

/// Probes in flight. A bound, so that a fleet that does not answer costs no more sockets than this.
const MOST: usize = 64;

/// A cluster whose endpoints are to be probed, if it has [`Cluster::health`], and where they are.
#[derive(Clone, Debug)]
pub struct ProbeTarget {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// Its endpoints, their names resolved.
    pub addresses: Vec<SocketAddr>,
}

type Report = dyn Fn(&str, SocketAddr, Result<Duration, ProbeError>) + Send + Sync;

/// Probes the endpoints of clusters. It costs nothing until it is configured with some to probe, and
/// stops when it is dropped.
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
    /// A prober that asks on this runtime, which must have its I/O and time enabled, and tells how
    /// every probe went: cluster, endpoint, and how long the answer took. `report` is called
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

    /// Probes these endpoints from now on, and no others: new ones at once, those that stay in
    /// their turn. Of endpoints that are left out nothing is told any more, not even of a probe that is
    /// under way.
    pub fn configure(&self, targets: Vec<ProbeTarget>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let asks = |one: &ProbeTarget| one.cluster.health.is_some() && !one.addresses.is_empty();
        if running.is_none() && !targets.iter().any(asks) {
            return;
        }
        let Running {
            targets: sender, ..
        } = running.get_or_insert_with(|| self.start());
        // The task ends only when this does, or with the runtime.
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

/// What the task holds. The probes that are under way end with it.
struct Work {
    stats: Stats,
    /// The counters by cluster, which nobody else writes.
    groups: HashMap<String, Arc<MetricSet>>,
    report: Arc<Report>,
    schedule: Schedule,
    probes: JoinSet<Result<Duration, ProbeError>>,
    /// Whose the probes under way are.
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
