//! DestinationPolicy and ListenerPolicy: our own settings of clusters and listeners.

use std::time::Duration;

use meltemi_config::{ClusterLimits, ListenerLimits, Problem, Share};
use meltemi_frame::Sharing;

use super::limit::{self, GlobalRate, LocalRate};
use super::router::qualify;
use crate::yaml::{Cursor, Document};

#[derive(Debug)]
pub(crate) struct DestinationPolicy<'a> {
    pub(crate) document: &'a Document,
    pub(crate) at: Cursor<'a>,
    pub(crate) host: String,
    pub(crate) sharing: Option<(Sharing, Cursor<'a>)>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) dns_refresh: Option<Duration>,
    limits: Cursor<'a>,
}

impl<'a> DestinationPolicy<'a> {
    pub(crate) fn read(document: &'a Document) -> Self {
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
            keepalive: spec.at("keepalive").duration(),
            dns_refresh: spec.at("dnsRefresh").duration(),
            limits: spec.at("limits"),
        }
    }

    /// Puts the limits that are written in the place of others.
    pub(crate) fn limit(&self, limits: &mut ClusterLimits) {
        let at = &self.limits;
        put(at, "sharedConnections", &mut limits.shared_connections);
        put(at, "connections", &mut limits.connections);
        put(at, "pending", &mut limits.pending);
        put(at, "requests", &mut limits.requests);
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
    /// How many traces are recorded.
    pub(crate) sampling: Option<Share>,
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
            document,
            gateway: qualify(gateway.text().unwrap_or(""), &document.namespace),
            port: spec.at("port").number(),
            limits: spec.at("limits"),
            at: gateway,
        }
    }

    /// Puts the limits that are written in the place of others.
    pub(crate) fn limit(&self, limits: &mut ListenerLimits) {
        let at = &self.limits;
        put(at, "frame", &mut limits.codec.frame);
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
        // Nothing is held that is larger than what is accepted.
        limits.codec.hold = limits.codec.hold.min(limits.codec.frame);
        limits.output_cut_off = limits.output_cut_off.max(limits.output);
    }
}

fn put(at: &Cursor<'_>, field: &str, place: &mut usize) {
    *place = at.at(field).number().unwrap_or(*place);
}
