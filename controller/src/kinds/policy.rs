//! Reads DestinationPolicy and ListenerPolicy: our own settings for clusters and listeners.

use std::time::Duration;

use meltemi_config::{
    ClusterLimits, HealthCheck, ListenerLimits, Outlier, Problem, RetryBudget, Share, Warmup,
};
use meltemi_frame::Sharing;

use super::fitness::{budget, health, outlier, warmup};
use super::gateway::qualify;
use super::limit::{self, GlobalRate, LocalRate};
use super::service::{Labels, labels};
use crate::yaml::{Cursor, Document};

#[derive(Debug)]
pub(crate) struct DestinationPolicy<'a> {
    pub(crate) document: &'a Document,
    pub(crate) at: Cursor<'a>,
    pub(crate) host: String,
    pub(crate) sharing: Option<(Sharing, Cursor<'a>)>,
    /// `true` if the endpoints hold the same data.
    pub(crate) replicas: bool,
    pub(crate) keepalive: Option<Duration>,
    /// The timeout and the place where it is written.
    pub(crate) session_idle: Option<(Duration, Cursor<'a>)>,
    pub(crate) dns_refresh: Option<Duration>,
    pub(crate) fallback: Fallback,
    /// The health check and the place where it is written.
    pub(crate) health: Option<(HealthCheck, Cursor<'a>)>,
    pub(crate) panic: Option<Share>,
    pub(crate) budget: Option<RetryBudget>,
    pub(crate) warmup: Option<Warmup>,
    outlier: Cursor<'a>,
    limits: Cursor<'a>,
}

/// The endpoints that a subset without endpoints uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// No endpoints.
    Nothing,
    /// All endpoints of the host.
    Any,
    /// The endpoints of the host with these labels.
    Labels(Labels),
}

impl<'a> DestinationPolicy<'a> {
    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let spec = document.cursor().at("spec");
        let sharing = spec.at("sharing");
        let parsed = [Sharing::Exclusive, Sharing::Pipelined, Sharing::Multiplexed]
            .into_iter()
            .find(|one| Some(one.name()) == sharing.text());
        Self {
            document,
            at: spec.at("host"),
            host: spec.at("host").text().unwrap_or("").to_ascii_lowercase(),
            sharing: parsed.map(|one| (one, sharing)),
            replicas: spec.at("replicas").flag().unwrap_or(false),
            keepalive: spec.at("keepalive").duration(),
            session_idle: duration(spec.at("sessionIdleTimeout")),
            dns_refresh: spec.at("dnsRefresh").duration(),
            fallback: match spec.at("subsetFallback") {
                at if at.text() == Some("any") => Fallback::Any,
                at if at.exists() && at.text().is_none() => Fallback::Labels(labels(&at)),
                _ => Fallback::Nothing,
            },
            health: health(&spec.at("healthCheck"), problems)
                .map(|check| (check, spec.at("healthCheck"))),
            panic: spec.at("panicThreshold").percent(),
            budget: budget(&spec.at("retryBudget")),
            warmup: warmup(&spec.at("warmup")),
            outlier: spec.at("outlier"),
            limits: spec.at("limits"),
        }
    }

    /// Overrides the outlier settings of a DestinationRule with those of this policy.
    pub(crate) fn outlier(
        &self,
        below: Option<Outlier>,
        problems: &mut Vec<Problem>,
    ) -> Option<Outlier> {
        let all = outlier(&self.outlier, below);
        if let Some(short) = all.filter(|one| one.longest < one.ejection) {
            problems.push(
                self.outlier
                    .at("maxEjectionTime")
                    .error(format!(
                        "is shorter than baseEjectionTime, which is {:?}",
                        short.ejection
                    ))
                    .remedy("the n-th ejection lasts n times baseEjectionTime, and maxEjectionTime at most"),
            );
        }
        all
    }

    /// Overrides the limits with those of this policy.
    pub(crate) fn limit(&self, limits: &mut ClusterLimits) {
        let at = &self.limits;
        put(at, "sharedConnections", &mut limits.shared_connections);
        put(at, "connections", &mut limits.connections);
        put(at, "pending", &mut limits.pending);
        put(at, "requests", &mut limits.requests);
        put(at, "retries", &mut limits.retries);
        put(at, "output", &mut limits.output);
    }
}

#[derive(Debug)]
pub(crate) struct ListenerPolicy<'a> {
    pub(crate) at: Cursor<'a>,
    /// `namespace/name`.
    pub(crate) gateway: String,
    pub(crate) port: Option<u16>,
    pub(crate) document: &'a Document,
    /// Each listener has buckets of its own, and so a name for them.
    pub(crate) local: Option<LocalRate<'a>>,
    pub(crate) global: Option<GlobalRate<'a>>,
    /// The share of traces that are recorded.
    pub(crate) sampling: Option<Share>,
    /// `true` if the proxy applies the timeouts that requests carry.
    pub(crate) caller_timeout: Option<bool>,
    limits: Cursor<'a>,
}

impl<'a> ListenerPolicy<'a> {
    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let spec = document.cursor().at("spec");
        let gateway = spec.at("gateway");
        let sampling = spec.at("tracing").at("sampling").text();
        Self {
            local: limit::local(&spec.at("localRateLimit"), &document.object, problems),
            global: limit::global(&spec.at("globalRateLimit"), &document.object, problems),
            sampling: sampling.and_then(|text| Some(Share::percent(text.parse().ok()?))),
            caller_timeout: spec.at("callerTimeout").flag(),
            document,
            gateway: qualify(gateway.text().unwrap_or(""), &document.namespace),
            port: spec.at("port").number(),
            limits: spec.at("limits"),
            at: gateway,
        }
    }

    /// Overrides the limits with those of this policy.
    pub(crate) fn limit(&self, limits: &mut ListenerLimits) {
        let at = &self.limits;
        put(at, "frame", &mut limits.codec.frame);
        limits.codec.request = at.at("frame").number().or(limits.codec.request);
        put(at, "hold", &mut limits.codec.hold);
        put(at, "depth", &mut limits.codec.depth);
        put(at, "entries", &mut limits.codec.entries);
        put(at, "connections", &mut limits.connections);
        put(at, "inFlight", &mut limits.in_flight);
        put(at, "output", &mut limits.output);
        put(at, "outputCutOff", &mut limits.output_cut_off);
        let time = |field: &str, place: &mut Duration| {
            *place = at.at(field).duration().unwrap_or(*place);
        };
        time("slowFrame", &mut limits.slow_frame);
        time("idle", &mut limits.idle);
        time("detect", &mut limits.detect);
        // The proxy never holds a message that is larger than the accepted size.
        limits.codec.hold = limits.codec.hold.min(limits.codec.frame);
        limits.output_cut_off = limits.output_cut_off.max(limits.output);
    }
}

fn duration(at: Cursor<'_>) -> Option<(Duration, Cursor<'_>)> {
    Some((at.duration()?, at))
}

fn put(at: &Cursor<'_>, field: &str, place: &mut usize) {
    *place = at.at(field).number().unwrap_or(*place);
}
