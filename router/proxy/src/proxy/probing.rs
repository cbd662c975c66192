//! Connects the prober to the clusters: passes it the current endpoints, and applies the results to
//! the endpoints' health.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::config::snapshot::ProcessState;
use crate::context::clock::Clock;
use crate::health::Prober;
use crate::telemetry::stats::Stats;

/// How often the list of endpoints is checked for changes. Workers resolve their names.
const LOOK: Duration = Duration::from_millis(100);

/// The health checks of a proxy. Costs nothing if no cluster has any.
pub(crate) struct Probing {
    runtime: Handle,
    lasting: Arc<ProcessState>,
    prober: Arc<Prober>,
    looking: Mutex<Option<AbortHandle>>,
}

impl Probing {
    pub(crate) fn new(
        runtime: Handle,
        lasting: Arc<ProcessState>,
        clock: Clock,
        stats: Stats,
    ) -> Self {
        let known = Arc::clone(&lasting);
        let prober = Prober::new(runtime.clone(), stats, move |cluster, address, result| {
            let Some(fleet) = known.shared.fleet(cluster) else {
                return;
            };
            let Some(vitals) = fleet.find(address) else {
                return;
            };
            let changed = fleet.probed(&vitals, result.is_ok(), clock.now_us());
            match (changed, result) {
                (Some(true), _) => {
                    tracing::info!(cluster, endpoint = %address, "endpoint is healthy");
                }
                (Some(false), Err(error)) => {
                    tracing::warn!(cluster, endpoint = %address, %error, "endpoint is unhealthy");
                }
                _ => {}
            }
        });
        Self {
            runtime,
            lasting,
            prober: Arc::new(prober),
            looking: Mutex::default(),
        }
    }

    /// Applies a new configuration.
    pub(crate) fn configure(&self) {
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        if looking.is_some() || !self.lasting.shared.probes() {
            return;
        }
        let (lasting, prober) = (Arc::clone(&self.lasting), Arc::clone(&self.prober));
        let task = self.runtime.spawn(async move {
            let mut known: Vec<(String, Vec<SocketAddr>)> = Vec::new();
            let mut version = 0;
            loop {
                let (now, targets) = lasting.shared.probed();
                let there: Vec<_> = targets
                    .iter()
                    .map(|target| (target.cluster.name.clone(), target.addresses.clone()))
                    .collect();
                if there != known || now != version {
                    (known, version) = (there, now);
                    prober.configure(targets);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        *looking = Some(task.abort_handle());
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        let looking = self.looking.get_mut();
        if let Some(task) = looking.unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}
