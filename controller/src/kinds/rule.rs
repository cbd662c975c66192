//! Reads DestinationRule: the settings of a host, and its subsets.

use std::time::Duration;

use meltemi_config::{Problem, RetryBudget, Warmup};

use super::fitness::{Detection, budget, linear, warmup};
use super::locality::Localities;
use super::service::{Labels, labels};
use crate::yaml::{Cursor, Document};

#[derive(Debug)]
pub(crate) struct DestinationRule<'a> {
    pub(crate) document: &'a Document,
    pub(crate) at: Cursor<'a>,
    pub(crate) host: String,
    pub(crate) policy: Option<Policy<'a>>,
    pub(crate) subsets: Vec<Subset<'a>>,
}

#[derive(Debug)]
pub(crate) struct Subset<'a> {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) policy: Option<Policy<'a>>,
}

/// The blocks of a traffic policy. A more specific policy overrides a general one block by block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy<'a> {
    pub(crate) balancing: Option<Balancing<'a>>,
    pub(crate) pool: Option<Pool>,
    pub(crate) tls: Option<Cursor<'a>>,
    pub(crate) detection: Option<Detection>,
    pub(crate) budget: Option<RetryBudget>,
    /// Policies of single ports; each replaces this one as a whole.
    pub(crate) ports: Vec<(u16, Self)>,
}

/// The `loadBalancer` block.
#[derive(Clone, Debug)]
pub(crate) struct Balancing<'a> {
    pub(crate) balancer: Balancer<'a>,
    pub(crate) localities: Option<Localities<'a>>,
    pub(crate) warmup: Option<Warmup>,
}

#[derive(Clone, Debug)]
pub(crate) enum Balancer<'a> {
    RoundRobin,
    LeastRequest,
    Random,
    Hash {
        at: Cursor<'a>,
        /// The attribute, where it is written, and `true` if it may be the bare name of a header.
        attribute: Option<(String, Cursor<'a>, bool)>,
        source: bool,
        ring_size: usize,
        maglev: Option<(usize, Cursor<'a>)>,
    },
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pool {
    pub(crate) tcp: TcpPool,
    pub(crate) pending: Option<usize>,
    pub(crate) requests: Option<usize>,
    pub(crate) retries: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TcpPool {
    pub(crate) connections: Option<usize>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
}

impl<'a> DestinationRule<'a> {
    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let spec = document.cursor().at("spec");
        let mut subsets: Vec<Subset<'a>> = Vec::new();
        for subset in spec.at("subsets").items() {
            let name = subset.at("name").text().unwrap_or("").to_owned();
            if subsets.iter().any(|other| other.name == name) {
                problems.push(subset.at("name").error("two subsets have this name"));
                continue;
            }
            subsets.push(Subset {
                name,
                labels: labels(&subset.at("labels")),
                policy: policy(&subset.at("trafficPolicy"), problems),
            });
        }
        Self {
            document,
            at: spec.at("host"),
            host: spec.at("host").text().unwrap_or("").to_ascii_lowercase(),
            policy: policy(&spec.at("trafficPolicy"), problems),
            subsets,
        }
    }
}

fn policy<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Option<Policy<'a>> {
    if !here.exists() {
        return None;
    }
    let ports = here.at("portLevelSettings").items();
    let ports = ports.iter().filter_map(|entry| {
        let port = entry.at("port").at("number").number()?;
        Some((port, settings(entry, problems)))
    });
    let ports = ports.collect();
    Some(Policy {
        budget: budget(&here.at("retryBudget")),
        ports,
        ..settings(here, problems)
    })
}

/// Reads the settings of a policy that a port may have, too.
fn settings<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Policy<'a> {
    let tls = here.at("tls");
    Policy {
        balancing: balancing(&here.at("loadBalancer"), problems),
        detection: Detection::read(&here.at("outlierDetection"), problems),
        budget: None,
        pool: pool(&here.at("connectionPool")),
        tls: tls.exists().then_some(tls),
        ports: Vec::new(),
    }
}

fn balancing<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Option<Balancing<'a>> {
    let (warm, seconds) = (here.at("warmup"), here.at("warmupDurationSecs"));
    if warm.exists() && seconds.exists() {
        problems.push(
            seconds
                .error("warmup is given, too")
                .remedy("give only warmup"),
        );
    }
    let zones = here.at("zoneAwareLbSetting");
    let places = here.at("localityLbSetting");
    if zones.exists() && places.exists() {
        problems.push(
            zones
                .error("localityLbSetting is given, too")
                .remedy("give one of them"),
        );
    }
    Some(Balancing {
        balancer: balancer(here, problems)?,
        localities: Localities::read(&places, problems),
        warmup: warmup(&warm).or_else(|| seconds.duration().map(linear)),
    })
}

fn balancer<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Option<Balancer<'a>> {
    let hash = here.at("consistentHash");
    let simple = here.at("simple");
    if !hash.exists() {
        return match simple.text() {
            None if !here.exists() => None,
            Some("ROUND_ROBIN") => Some(Balancer::RoundRobin),
            Some("RANDOM") => Some(Balancer::Random),
            Some("PASSTHROUGH") => {
                problems.push(simple.warning("is not supported; LEAST_REQUEST is used instead"));
                Some(Balancer::LeastRequest)
            }
            _ => Some(Balancer::LeastRequest),
        };
    }
    if simple.exists() {
        problems.push(
            simple
                .error("consistentHash is given, too")
                .remedy("give one of them"),
        );
    }
    let attribute = hash.at("attribute");
    let header = hash.at("httpHeaderName");
    let source = hash.at("useSourceIp").flag() == Some(true);
    if attribute.exists() && header.exists() {
        problems.push(
            header
                .error("attribute is given, too")
                .remedy("give one of them"),
        );
    }
    let written = |at: &Cursor<'a>, bare| Some((at.text()?.to_owned(), at.clone(), bare));
    let table = hash.at("maglev").at("tableSize");
    let ring = hash.at("ringHash").at("minimumRingSize");
    if hash.at("maglev").exists() && hash.at("ringHash").exists() {
        problems.push(
            hash.at("maglev")
                .error("ringHash is given, too")
                .remedy("give one of them"),
        );
    }
    Some(Balancer::Hash {
        attribute: written(&attribute, false).or_else(|| written(&header, true)),
        source,
        ring_size: ring
            .number()
            .or_else(|| hash.at("minimumRingSize").number())
            .unwrap_or(1024),
        maglev: hash
            .at("maglev")
            .exists()
            .then(|| (table.number().unwrap_or(65_537), table)),
        at: hash,
    })
}

fn pool(here: &Cursor<'_>) -> Option<Pool> {
    if !here.exists() {
        return None;
    }
    let http = here.at("http");
    let mut tcp = TcpPool::read(&here.at("tcp"));
    tcp.idle_timeout = http.at("idleTimeout").duration().or(tcp.idle_timeout);
    Some(Pool {
        tcp,
        pending: positive(&http.at("http1MaxPendingRequests")),
        requests: positive(&http.at("http2MaxRequests")),
        retries: positive(&http.at("maxRetries")),
    })
}

impl TcpPool {
    pub(crate) fn read(here: &Cursor<'_>) -> Self {
        Self {
            connections: positive(&here.at("maxConnections")),
            connect_timeout: here.at("connectTimeout").duration(),
            idle_timeout: here.at("idleTimeout").duration(),
        }
    }
}

/// Zero means the default in Istio.
fn positive(here: &Cursor<'_>) -> Option<usize> {
    here.number().filter(|number| *number > 0)
}
