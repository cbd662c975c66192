//! Asks a service whether requests may pass, without ever holding up a worker: questions are asked on
//! the background runtime, and the worker gets something to wait for.
//! It must not know which requests a limit is for, nor what is done when there is no answer.

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

/// The rate limit services of a process. Without any, it is a few empty maps.
pub(crate) struct RateLimits {
    runtime: Handle,
    stats: Stats,
    /// By the cluster's name.
    services: Mutex<HashMap<String, Arc<Service>>>,
    /// By the limit's name. Their one writer is whoever holds the lock.
    counts: Mutex<HashMap<Arc<str>, Arc<MetricSet>>>,
}

/// What a service is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The limit's name, for its counters.
    pub(crate) limit: Arc<str>,
    /// The cluster of the service.
    pub(crate) cluster: Arc<str>,
    /// The domain that the service knows.
    pub(crate) domain: String,
    /// Keys and values that count together, as many times as there are descriptors.
    pub(crate) descriptors: Vec<Vec<(String, String)>>,
    /// How many requests it is about.
    pub(crate) hits: u32,
    /// How long the answer may take.
    pub(crate) timeout: Duration,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The request may pass.
    Pass,
    /// The limit is reached.
    Over,
    /// Nobody has said, and why.
    Failed(String),
}

impl RateLimits {
    /// No services yet. Questions will be asked on `runtime`.
    pub(crate) fn new(runtime: Handle, stats: Stats) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            stats,
            services: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    /// These are the services from now on. Connections to endpoints that stay are kept.
    pub(crate) fn configure(&self, clusters: &[Arc<Cluster>]) {
        // Channels are made within a runtime, though they connect only when they are used.
        let _inside = self.runtime.enter();
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let next = clusters.iter().map(|cluster| {
            let known = services.get(&cluster.name).map(|service| &**service);
            (cluster.name.clone(), Arc::new(Service::new(cluster, known)))
        });
        *services = next.collect();
    }

    /// Asks. What is received is an error only if the process ends; one that is dropped takes its
    /// question back.
    pub(crate) fn ask(self: &Arc<Self>, question: Question) -> oneshot::Receiver<Answer> {
        let (mut tell, told) = oneshot::channel();
        self.count(&question.limit, global_limit::ASKED);
        let service = self.service(&question.cluster);
        let admitted = service.and_then(|service| Ok((service.admit()?, service)));
        let (place, service) = match admitted {
            Ok(admitted) => admitted,
            Err(why) => {
                self.count(&question.limit, global_limit::FAILED);
                // Whoever asked is still here: it is the caller.
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
            // The request may have gone away in this very moment.
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

/// The clusters that the configuration's global limits ask, each once.
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
