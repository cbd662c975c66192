//! A cluster: equivalent endpoints and the settings for using them.

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

/// Endpoints that serve the same service, and the settings for using them.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name, in Istio's form: `outbound|<port>|<subset>|<host>`.
    pub name: String,
    /// Its endpoints. If empty, every request fails with the protocol's own error.
    pub endpoints: Vec<Endpoint>,
    /// The protocol of its endpoints, for probes. `None` if it is not configured.
    pub protocol: Option<Arc<dyn Protocol>>,
    /// The balancing method.
    pub balancing: Balancing,
    /// How requests share connections. `None` if the protocol's default applies.
    pub sharing: Option<Sharing>,
    /// The session that every upstream connection enters first (credentials).
    pub login: Session,
    /// The timeout for a new connection. Default 10 s, as in Istio.
    pub connect_timeout: Duration,
    /// The maximum time that an upstream connection stays open without a request. Zero means no
    /// limit. Default 1 h.
    pub idle_timeout: Duration,
    /// The same for a connection in a client session (user, database, name), counted from when the
    /// last client of the session has disconnected. Zero means that `idle_timeout` applies. Default
    /// 1 min.
    pub session_idle_timeout: Duration,
    /// The interval of heartbeats on a silent upstream connection, if the protocol has them. Zero
    /// means none. Default 60 s, Dubbo's own. The timeout of the response is three times as long,
    /// and at most 10 s. The kernel probes silent connections after this time, too.
    pub keepalive: Duration,
    /// The interval of name resolution. Default 5 s.
    pub dns_refresh: Duration,
    /// Its limits.
    pub limits: ClusterLimits,
    /// The retry budget, besides the limit on retries.
    pub budget: RetryBudget,
    /// The health checks. `None` if endpoints are not probed.
    pub health: Option<HealthCheck>,
    /// The outlier detection. `None` if endpoints are not ejected.
    pub outlier: Option<Outlier>,
    /// The panic threshold: if a smaller share of a priority's endpoints is fit, all of them count
    /// as fit. Default none, as in Istio.
    pub panic: Share,
    /// The warm-up of new endpoints. `None` if there is none.
    pub warmup: Option<Warmup>,
    /// The shares of localities.
    pub localities: LocalityShares,
    /// The policies of the cluster, by the name of the request's protocol. They apply to every
    /// request to the cluster, by any route.
    pub authorization: BTreeMap<String, Arc<Authorization>>,
    /// Its position in the configuration source.
    pub origin: Origin,
}

impl Cluster {
    /// Creates a cluster of these endpoints, with every default.
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
                    .says("has no attribute to hash"),
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

    /// Reports invalid numbers of health checks, outlier detection, warm-up and localities.
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

/// The balancing method of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// Round robin, by weight.
    RoundRobin,
    /// The endpoint with fewer requests in flight, of two drawn at random (Istio's default).
    LeastRequest,
    /// Random, by weight.
    Random,
    /// A hash of attributes, on a ring.
    RingHash {
        /// The attributes. `source.ip` is the client's address.
        keys: Vec<String>,
        /// The minimum number of points on the ring. Default 1024, as in Istio.
        minimum_ring_size: usize,
    },
    /// A hash of attributes, in a Maglev table.
    Maglev {
        /// The attributes. `source.ip` is the client's address.
        keys: Vec<String>,
        /// The number of slots, a prime below 5000011. Default 65537.
        table_size: usize,
    },
}

impl Balancing {
    /// Returns `true` if a Maglev table can have this size: a prime below 5000011.
    pub fn is_table_size(number: usize) -> bool {
        number > 1
            && number < 5_000_011
            && (2..)
                .take_while(|factor| factor * factor <= number)
                .all(|factor| !number.is_multiple_of(factor))
    }
}

/// The limits of a cluster, for all workers together unless stated otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterLimits {
    /// The maximum number of connections per worker and endpoint that requests share, if the
    /// protocol allows sharing. The next one is opened when the others are busy. Default 2: a
    /// single one is slow with servers that process one connection at a time, and more gain
    /// nothing.
    pub shared_connections: usize,
    /// The maximum number of connections to the cluster. Default 1024 (what a typical server still
    /// accepts).
    pub connections: usize,
    /// The maximum number of requests that wait for a connection. Default 1024.
    pub pending: usize,
    /// The maximum number of requests in flight. Default 65536.
    pub requests: usize,
    /// The maximum number of requests in retry. Default 1024.
    pub retries: usize,
    /// The maximum number of bytes that wait to be written to one upstream. Above it the proxy
    /// stops reading from the downstreams that fill it. Default 1 MiB.
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
    /// Its address.
    pub address: Address,
    /// Its weight, relative to the other endpoints. With 0 it gets no requests.
    pub weight: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its locality.
    pub locality: Locality,
    /// Its priority. Endpoints of priority 0 are used first; those of 1 if too few of priority 0
    /// are fit, and so on.
    pub priority: u32,
}

impl Endpoint {
    /// Creates an endpoint of weight 1 without labels.
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

/// Region, zone and sub-zone. A part is empty if unknown.
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
    /// Parses `region/zone/subzone`. The last parts may be left out.
    pub fn parse(text: &str) -> Self {
        let mut places = text.splitn(3, '/');
        let mut place = || places.next().unwrap_or("").to_owned();
        Self {
            region: place(),
            zone: place(),
            subzone: place(),
        }
    }

    /// Returns `true` if no part is known.
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

/// The address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// This address.
    Socket(SocketAddr),
    /// Every address that this name resolves to.
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
