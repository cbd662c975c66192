//! A cluster: endpoints that serve the same thing, and how to use them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::{Protocol, Session, Sharing};

use crate::{
    Authorization, HealthCheck, LocalityShares, Origin, Outlier, Problem, RetryBudget, Share,
    Warmup,
};

/// Endpoints that serve the same thing, and how to use them.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name, in Istio's form: `outbound|<port>|<subset>|<host>`.
    pub name: String,
    /// Where its endpoints are. None: every request to it fails with the protocol's own error.
    pub endpoints: Vec<Endpoint>,
    /// What they speak, for probes; `None`: nobody has said.
    pub protocol: Option<Arc<dyn Protocol>>,
    /// How one is chosen.
    pub balancing: Balancing,
    /// How requests share connections; `None`: as the protocol declares.
    pub sharing: Option<Sharing>,
    /// What every upstream connection says first (credentials).
    pub login: Session,
    /// How long a connection may take to be made. Default 10 s, as in Istio.
    pub connect_timeout: Duration,
    /// How long an upstream connection may stay without a request; zero: for ever. Default 1 h.
    pub idle_timeout: Duration,
    /// How long an upstream connection that is in a session of clients (user, database, name) may stay
    /// without a request once no such client is connected; zero: as long as any other. Default 1 min.
    pub session_idle_timeout: Duration,
    /// How often a silent upstream connection is asked whether it is still there, where the
    /// protocol can ask; zero: never. Default 60 s, Dubbo's own. The answer may take three times as
    /// long, and at most 10 s. The kernel probes silent connections after this time, too.
    pub keepalive: Duration,
    /// How often names are resolved again. Default 5 s.
    pub dns_refresh: Duration,
    /// Its limits.
    pub limits: ClusterLimits,
    /// How many requests may be under retry, besides the limit.
    pub budget: RetryBudget,
    /// Endpoints are probed.
    pub health: Option<HealthCheck>,
    /// Endpoints that fail are left alone for a while.
    pub outlier: Option<Outlier>,
    /// If less than this part of the endpoints of a priority is fit, all of them count as fit.
    /// Default none, as in Istio.
    pub panic: Share,
    /// How new endpoints get their share.
    pub warmup: Option<Warmup>,
    /// How localities share requests.
    pub localities: LocalityShares,
    /// Who may ask it for what, by the name of the protocol of the request. It is asked where a request goes,
    /// whichever route brought it there.
    pub authorization: BTreeMap<String, Arc<Authorization>>,
    /// Where it was written.
    pub origin: Origin,
}

impl Cluster {
    /// A cluster of these endpoints, with every default.
    pub fn new(name: impl Into<String>, endpoints: Vec<Endpoint>) -> Self {
        Self {
            name: name.into(),
            endpoints,
            protocol: None,
            balancing: Balancing::LeastRequest,
            sharing: None,
            login: Session::default(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3600),
            session_idle_timeout: Duration::from_secs(60),
            keepalive: Duration::from_secs(60),
            dns_refresh: Duration::from_secs(5),
            limits: ClusterLimits::default(),
            budget: RetryBudget::default(),
            health: None,
            outlier: None,
            panic: Share::NONE,
            warmup: None,
            localities: LocalityShares::default(),
            authorization: BTreeMap::new(),
            origin: Origin::default(),
        }
    }

    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        if let Balancing::RingHash { keys, .. } | Balancing::Maglev { keys, .. } = &self.balancing
            && keys.is_empty()
        {
            problems.push(
                Problem::error(&self.origin, "loadBalancer.consistentHash", &self.name)
                    .says("hashes on no attribute"),
            );
        }
        if let Balancing::Maglev { table_size, .. } = self.balancing
            && !Balancing::is_table_size(table_size)
        {
            problems.push(
                Problem::error(&self.origin, "maglev.tableSize", &table_size.to_string())
                    .says("is not a prime number below 5000011")
                    .remedy("use a prime such as 65537"),
            );
        }
        self.check_fitness(problems);
    }

    /// Numbers of health, outliers, warm-up and localities with which nothing could be done.
    fn check_fitness(&self, problems: &mut Vec<Problem>) {
        let mut positive = |field: &str, is: bool| {
            if !is {
                problems.push(
                    Problem::error(&self.origin, field, "0")
                        .says(format!("of {} must be more than zero", self.name)),
                );
            }
        };
        if let Some(health) = &self.health {
            positive("healthCheck.interval", !health.interval.is_zero());
            positive("healthCheck.timeout", !health.timeout.is_zero());
            positive("healthCheck.unhealthyThreshold", health.unhealthy > 0);
            positive("healthCheck.healthyThreshold", health.healthy > 0);
        }
        if let Some(outlier) = &self.outlier {
            positive("outlier.interval", !outlier.interval.is_zero());
            positive("outlier.baseEjectionTime", !outlier.ejection.is_zero());
            if let Some(rate) = &outlier.success_rate {
                positive("outlier.successRate.minimumHosts", rate.hosts > 0);
                positive("outlier.successRate.requestVolume", rate.requests > 0);
                positive("outlier.successRate.stdevFactor", rate.deviation > 0);
            }
        }
        if let Some(warmup) = &self.warmup {
            positive("warmup.duration", !warmup.duration.is_zero());
            positive("warmup.aggression", warmup.aggression > 0);
        }
        if let Some(outlier) = self.outlier.filter(|one| one.longest < one.ejection) {
            problems.push(
                Problem::error(
                    &self.origin,
                    "outlier.maxEjectionTime",
                    &format!("{:?}", outlier.longest),
                )
                .says(format!("of {} is shorter than baseEjectionTime", self.name)),
            );
        }
        let shares = &self.localities.shares;
        if !shares.is_empty() && shares.iter().all(|(_, share)| *share == 0) {
            problems.push(
                Problem::error(&self.origin, "localities", &self.name)
                    .says("the shares of its localities sum to zero, so no request can go anywhere")
                    .remedy("give at least one locality a positive share"),
            );
        }
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// In turn, by weight.
    RoundRobin,
    /// The one with fewer requests in flight of two taken at random (Istio's default).
    LeastRequest,
    /// At random, by weight.
    Random,
    /// By the hash of attributes, on a ring.
    RingHash {
        /// The attributes; source address if the name is `source.ip`.
        keys: Vec<String>,
        /// The least number of points on the ring. Default 1024, as in Istio.
        minimum_ring_size: usize,
    },
    /// By the hash of attributes, in a Maglev table.
    Maglev {
        /// The attributes; source address if the name is `source.ip`.
        keys: Vec<String>,
        /// The size of the table, a prime. Default 65537.
        table_size: usize,
    },
}

impl Balancing {
    /// Whether a Maglev table can have this size: a prime below 5000011.
    pub fn is_table_size(number: usize) -> bool {
        number > 1
            && number < 5_000_011
            && (2..)
                .take_while(|factor| factor * factor <= number)
                .all(|factor| !number.is_multiple_of(factor))
    }
}

/// Limits of a cluster: of all workers together, if not said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterLimits {
    /// Connections of one worker to one endpoint that requests may share, where they can be shared.
    /// The next is used when those before it are busy. Default 2: a single one starves where servers
    /// answer per connection, more buy nothing.
    pub shared_connections: usize,
    /// Connections to the whole cluster. Default 1024 (what a typical server still accepts).
    pub connections: usize,
    /// Requests that wait for a connection. Default 1024.
    pub pending: usize,
    /// Requests in flight. Default 65536.
    pub requests: usize,
    /// Requests under retry. Default 1024.
    pub retries: usize,
    /// Bytes that wait to be written to one upstream; past it the downstreams that fill it are
    /// not read. Default 1 MiB.
    pub output: usize,
}

impl Default for ClusterLimits {
    fn default() -> Self {
        Self {
            shared_connections: 2,
            connections: 1024,
            pending: 1024,
            requests: 65_536,
            retries: 1024,
            output: 1 << 20,
        }
    }
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// Its share, relative to the other endpoints. Zero: none.
    pub weight: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub locality: Locality,
    /// Endpoints of priority 0 are used first; those of 1 as far as too few of them are fit, and so
    /// on.
    pub priority: u32,
}

impl Endpoint {
    /// An endpoint of weight 1 without labels.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            weight: 1,
            labels: BTreeMap::new(),
            locality: Locality::default(),
            priority: 0,
        }
    }
}

/// Region, zone and sub-zone; empty if unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// The region.
    pub region: String,
    /// The zone in the region.
    pub zone: String,
    /// The sub-zone in the zone.
    pub subzone: String,
}

impl Locality {
    /// Reads `region/zone/subzone`, of which the last may be left out.
    pub fn parse(text: &str) -> Self {
        let mut places = text.splitn(3, '/');
        let mut place = || places.next().unwrap_or("").to_owned();
        Self {
            region: place(),
            zone: place(),
            subzone: place(),
        }
    }

    /// Whether nothing is known.
    pub const fn is_unknown(&self) -> bool {
        self.region.is_empty()
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        for place in [&self.zone, &self.subzone] {
            if !place.is_empty() {
                write!(f, "/{place}")?;
            }
        }
        Ok(())
    }
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// At this address.
    Socket(SocketAddr),
    /// At every address that this name resolves to.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests;
