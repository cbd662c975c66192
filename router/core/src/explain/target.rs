//! The possible destinations of a request: clusters with their settings, and endpoints with their
//! shares, for people.

use std::fmt;

use meltemi_config::{Balancing, Cluster, Endpoint, HealthCheck, Locality, Outlier, Probe, Share};

use super::AccessGiven;
use super::plan::percent;

/// A cluster that a request may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TargetShare {
    /// The cluster.
    pub cluster: String,
    /// Its weight, relative to the route's other clusters.
    pub weight: u32,
    /// The decision of the cluster's policies on the request. `None` if it has none, or the same
    /// ones as the route.
    pub access: Option<AccessGiven>,
    /// The balancing method.
    pub balancing: &'static str,
    /// The hash of this message. `None` if the cluster does not hash or the message has no key.
    pub hash: Option<u64>,
    /// The settings that decide which endpoints are fit, besides weights and priorities.
    pub fitness: Vec<String>,
    /// The endpoints.
    pub endpoints: Vec<EndpointShare>,
}

/// An endpoint that a request may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EndpointShare {
    /// The endpoint's address.
    pub address: String,
    /// Its weight, relative to the cluster's other endpoints.
    pub weight: u32,
    /// Its priority. The lowest number is used first.
    pub priority: u32,
    /// `region/zone/sub-zone`, as far as known.
    pub locality: String,
}

impl TargetShare {
    pub(super) fn new(
        cluster: &Cluster,
        weight: u32,
        hash: Option<u64>,
        access: Option<AccessGiven>,
    ) -> Self {
        let endpoint = |endpoint: &Endpoint| EndpointShare {
            address: endpoint.address.to_string(),
            weight: endpoint.weight,
            priority: endpoint.priority,
            locality: place(&endpoint.locality),
        };
        Self {
            cluster: cluster.name.clone(),
            weight,
            access,
            balancing: balancing_name(&cluster.balancing),
            hash,
            fitness: fitness(cluster),
            endpoints: cluster.endpoints.iter().map(endpoint).collect(),
        }
    }
}

fn place(locality: &Locality) -> String {
    let parts = [&locality.region, &locality.zone, &locality.subzone];
    let known = parts.map(String::as_str).join("/");
    known.trim_end_matches('/').to_owned()
}

fn fitness(cluster: &Cluster) -> Vec<String> {
    let mut told = Vec::new();
    told.extend(cluster.health.as_ref().map(health_check));
    told.extend(cluster.outlier.as_ref().map(outliers));
    if cluster.panic != Share::NONE {
        let panic = percent(cluster.panic);
        told.push(format!("all count as fit if less than {panic}% are"));
    }
    if let Some(warmup) = &cluster.warmup {
        let minimum = percent(warmup.minimum);
        told.push(format!(
            "a new endpoint starts with {minimum}% and warms up in {:?}",
            warmup.duration
        ));
    }
    let shares = cluster.localities.shares.iter();
    told.extend(
        shares.map(|(locality, share)| format!("locality {} share {share}", place(locality))),
    );
    told
}

fn health_check(check: &HealthCheck) -> String {
    let probe = match &check.probe {
        Probe::Tcp => "a connection".to_owned(),
        Probe::Heartbeat => "a heartbeat".to_owned(),
        Probe::Call(operation) => format!("a call of {operation}"),
    };
    format!(
        "health check by {probe} every {:?}, answered in {:?}; unfit after {} failures, fit after {} \
         successes",
        check.interval, check.timeout, check.unhealthy, check.healthy
    )
}

fn outliers(outlier: &Outlier) -> String {
    let mut when = Vec::new();
    if outlier.consecutive > 0 {
        when.push(format!("{} failures in a row", outlier.consecutive));
    }
    if outlier.consecutive_gateway > 0 {
        let count = outlier.consecutive_gateway;
        when.push(format!("{count} in a row without an answer"));
    }
    if outlier.success_rate.is_some() {
        when.push("a success rate far below the others'".to_owned());
    }
    format!(
        "left alone after {} for {:?} up to {:?}, at most {}% of the endpoints",
        when.join(" or "),
        outlier.ejection,
        outlier.longest,
        percent(outlier.most)
    )
}

const fn balancing_name(balancing: &Balancing) -> &'static str {
    match balancing {
        Balancing::RoundRobin => "round robin",
        Balancing::LeastRequest => "least request",
        Balancing::Random => "random",
        Balancing::RingHash { .. } => "ring hash",
        Balancing::Maglev { .. } => "maglev",
    }
}

impl fmt::Display for EndpointShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} weight {}", self.address, self.weight)?;
        if self.priority > 0 {
            write!(f, ", priority {}", self.priority)?;
        }
        if !self.locality.is_empty() {
            write!(f, ", in {}", self.locality)?;
        }
        Ok(())
    }
}

impl fmt::Display for TargetShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cluster, weight, balancing) = (&self.cluster, self.weight, self.balancing);
        write!(f, "cluster {cluster} weight {weight}, {balancing}")?;
        if let Some(hash) = self.hash {
            write!(f, ", hash {hash:016x}")?;
        }
        writeln!(f)?;
        if let Some(access) = &self.access {
            writeln!(f, "  {access}")?;
        }
        for told in &self.fitness {
            writeln!(f, "  {told}")?;
        }
        for endpoint in &self.endpoints {
            writeln!(f, "  {endpoint}")?;
        }
        Ok(())
    }
}
