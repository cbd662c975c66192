//! Sends requests to rate limit services without blocking a worker. They are sent on the background
//! runtime, and the worker gets a receiver for the answer. Must not depend on which requests a
//! limit covers, or on the handling of a missing answer.

mod service;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meltemi_config::{Cluster, Config};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::telemetry::stats::{GLOBAL_LIMIT, MetricSet, Stats, global_limit};
use service::Service;

/// The rate limit services of the process. Without services, it is only a few empty maps.
pub(crate) struct RateLimits {
    runtime: Handle,
    stats: Stats,
    /// The services by the name of their cluster.
    services: Mutex<HashMap<String, Arc<Service>>>,
    /// The counters by the name of the limit. Only the holder of the lock writes them.
    counts: Mutex<HashMap<Arc<str>, Arc<MetricSet>>>,
}

/// A request to a service.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The limit's name, for its counters.
    pub(crate) limit: Arc<str>,
    /// The cluster of the service.
    pub(crate) cluster: Arc<str>,
    /// The domain in the service's configuration.
    pub(crate) domain: String,
    /// The descriptors. Each is a list of keys and values that count together.
    pub(crate) descriptors: Vec<Vec<(String, String)>>,
    /// The timeout.
    pub(crate) timeout: Duration,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The request may pass.
    Pass,
    /// The limit is reached.
    Over,
    /// There is no valid answer, for this reason.
    Failed(String),
}

impl RateLimits {
    /// Creates an empty set of services. Requests to them will run on `runtime`.
    pub(crate) fn new(runtime: Handle, stats: Stats) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            stats,
            services: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    /// Replaces the services. Connections to endpoints that stay are kept.
    pub(crate) fn configure(&self, clusters: &[Arc<Cluster>]) {
        // Creating a channel requires a runtime, although it connects only on first use.
        let _inside = self.runtime.enter();
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let next = clusters.iter().map(|cluster| {
            let known = services.get(&cluster.name).map(|service| &**service);
            (cluster.name.clone(), Arc::new(Service::new(cluster, known)))
        });
        *services = next.collect();
    }

    /// Sends a request to a service. The receiver fails only if the process ends. Dropping it
    /// cancels the request.
    pub(crate) fn ask(self: &Arc<Self>, question: Question) -> oneshot::Receiver<Answer> {
        let (mut tell, told) = oneshot::channel();
        self.count(&question.limit, global_limit::ASKED);
        let service = self.service(&question.cluster);
        let admitted = service.and_then(|service| Ok((service.admit()?, service)));
        let (place, service) = match admitted {
            Ok(admitted) => admitted,
            Err(why) => {
                self.count(&question.limit, global_limit::FAILED);
                // The caller is still here, so this cannot fail.
                let _ = tell.send(Answer::Failed(why));
                return told;
            }
        };
        let this = Arc::clone(self);
        self.runtime.spawn(async move {
            let answer = tokio::select! {
                biased;
                () = tell.closed() => return,
                answer = tokio::time::timeout(question.timeout, service.ask(&question)) => answer,
            };
            drop(place);
            let answer = match answer {
                Ok(Ok(true)) => Answer::Pass,
                Ok(Ok(false)) => Answer::Over,
                Ok(Err(why)) => Answer::Failed(why),
                Err(_) => Answer::Failed(format!(
                    "{} has not answered within {} ms",
                    question.cluster,
                    question.timeout.as_millis()
                )),
            };
            match answer {
                Answer::Pass => {}
                Answer::Over => this.count(&question.limit, global_limit::OVER),
                Answer::Failed(_) => this.count(&question.limit, global_limit::FAILED),
            }
            // The receiver may have been dropped at this moment.
            let _ = tell.send(answer);
        });
        told
    }

    fn service(&self, cluster: &str) -> Result<Arc<Service>, String> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let service = services.get(cluster).cloned();
        service.ok_or_else(|| format!("{cluster} is not known as a rate limit service"))
    }

    fn count(&self, limit: &Arc<str>, what: usize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let group = counts
            .entry(Arc::clone(limit))
            .or_insert_with(|| self.stats.group(&GLOBAL_LIMIT, vec![limit.to_string()]));
        group.add(what, 1);
    }
}

/// Returns the clusters that the configuration's global limits use, each once.
pub(crate) fn services(config: &Config) -> Vec<Arc<Cluster>> {
    let served = config
        .listeners()
        .iter()
        .flat_map(|listener| &listener.served);
    let limits = served.flat_map(|served| {
        let routes = served.routes.iter().flat_map(|route| &route.global_limits);
        served.global_limits.iter().chain(routes)
    });
    let mut places: Vec<usize> = limits
        .filter_map(|limit| config.cluster_index(&limit.cluster))
        .collect();
    places.sort_unstable();
    places.dedup();
    let clusters = places
        .into_iter()
        .filter_map(|at| config.clusters().get(at));
    clusters.cloned().collect()
}

#[cfg(test)]
mod tests;
