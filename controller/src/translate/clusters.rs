//! Makes clusters from destinations: endpoints, subsets, and their settings.

mod plain;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use meltemi_config::{Address, Authorization, Balancing, Cluster, Endpoint, Locality, Problem};
use meltemi_frame::{Protocol, Spec};

use super::credentials::{Credentials, Login, place};
use super::directory::{Directory, Service};
use super::localities::spread;
use super::overrides::{fall_back, has, override_with};
use super::policy::{RuleIndex, Rules, apply, matches};
use super::port::port;
use super::protocols::Protocols;
use crate::kinds::{
    Auth, Destination, DestinationPolicy, Resources, ServiceEntry, TcpPool, Workload,
};
use crate::yaml::Cursor;

pub(super) struct Clusters<'r> {
    resources: &'r Resources<'r>,
    directory: &'r Directory<'r>,
    protocols: &'r Protocols,
    /// The locality of this program.
    locality: &'r Locality,
    rules: RuleIndex<'r>,
    /// Credentials by full host; `None` if they are required but not found.
    logins: BTreeMap<String, (&'r Auth<'r>, Option<Login>)>,
    pools: BTreeMap<String, TcpPool>,
    policies: BTreeMap<String, &'r DestinationPolicy<'r>>,
    made: BTreeMap<String, Cluster>,
}

/// The target of a destination.
struct Target<'t, 'r> {
    host: String,
    service: Option<&'t Service<'r>>,
    port: u16,
    subset: &'t str,
}

impl<'r> Clusters<'r> {
    pub(super) fn new(
        resources: &'r Resources<'r>,
        directory: &'r Directory<'r>,
        protocols: &'r Protocols,
        locality: &'r Locality,
        credentials: &Credentials<'_>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut all = Self {
            resources,
            directory,
            protocols,
            locality,
            rules: RuleIndex::new(&resources.rules, directory),
            logins: BTreeMap::new(),
            pools: BTreeMap::new(),
            policies: BTreeMap::new(),
            made: BTreeMap::new(),
        };
        for destination in &resources.redis_destinations {
            let namespace = &destination.document.namespace;
            let host = directory.full(&destination.host, namespace);
            if let Some(auth) = &destination.auth {
                let login = credentials.find(auth, namespace, problems);
                all.logins.insert(host.clone(), (auth, login));
            }
            all.known(&host, &destination.at, problems);
            all.pools.insert(host, destination.tcp);
        }
        for policy in &resources.destination_policies {
            let host = directory.full(&policy.host, &policy.document.namespace);
            all.known(&host, &policy.at, problems);
            all.policies.insert(host, policy);
        }
        for rule in &resources.rules {
            let host = directory.full(&rule.host, &rule.document.namespace);
            all.known(&host, &rule.at, problems);
        }
        all
    }

    /// Warns of a setting for a host that is not loaded.
    fn known(&self, host: &str, at: &Cursor<'_>, problems: &mut Vec<Problem>) {
        let mut services = self.directory.services();
        let found = if host.starts_with('*') {
            services.any(|service| matches(host, service.host).is_some())
        } else {
            self.directory.find(host, "").is_some()
        };
        if !found {
            problems.push(
                at.warning(format!("no service that is loaded has the host {host}"))
                    .remedy("this has no effect until there is a ServiceEntry for it"),
            );
        }
    }

    /// Returns the name of the cluster of a destination. Makes the cluster if it does not exist.
    pub(super) fn of(
        &mut self,
        destination: &Destination<'_>,
        namespace: &str,
        protocol: &dyn Protocol,
        listener_port: u16,
        problems: &mut Vec<Problem>,
    ) -> String {
        let service = self.directory.find(&destination.host, namespace);
        let port = port(destination, service, protocol, listener_port, problems);
        let target = Target {
            host: self.directory.full(&destination.host, namespace),
            service,
            port,
            subset: &destination.subset,
        };
        if service.is_none() {
            let at = destination.at.at("host");
            problems.push(
                at.warning(format!(
                    "no service that is loaded has the host {}",
                    target.host
                ))
                .remedy("requests fail until there is a ServiceEntry for it"),
            );
        }
        self.make(
            &target,
            Some(destination),
            protocol,
            &destination.at,
            problems,
        )
    }

    /// Returns the name of the cluster of a whole service.
    pub(super) fn whole(
        &mut self,
        service: &Service<'r>,
        port: u16,
        protocol: &dyn Protocol,
        at: &Cursor<'_>,
        problems: &mut Vec<Problem>,
    ) -> String {
        let target = Target {
            host: service.host.to_owned(),
            service: Some(service),
            port,
            subset: "",
        };
        self.make(&target, None, protocol, at, problems)
    }

    /// Adds policies to a cluster, for requests of a protocol.
    pub(super) fn protect(
        &mut self,
        name: &str,
        protocol: &str,
        policies: impl FnOnce(&str) -> Option<Arc<Authorization>>,
    ) {
        let Some(cluster) = self.made.get_mut(name) else {
            return;
        };
        let host = name.rsplit('|').next().unwrap_or(name);
        if !cluster.authorization.contains_key(protocol)
            && let Some(policies) = policies(host)
        {
            cluster.authorization.insert(protocol.to_owned(), policies);
        }
    }

    fn make(
        &mut self,
        target: &Target<'_, 'r>,
        destination: Option<&Destination<'_>>,
        protocol: &dyn Protocol,
        at: &Cursor<'_>,
        problems: &mut Vec<Problem>,
    ) -> String {
        let Target {
            host, port, subset, ..
        } = target;
        let name = format!("outbound|{port}|{subset}|{host}");
        let namespace = target.service.map_or("", Service::namespace);
        let rules = Rules::of(host, namespace, &self.rules);
        let chosen = rules.subset(subset);
        if let Some(destination) = destination
            && !subset.is_empty()
            && chosen.is_none()
            && target.service.is_some()
        {
            problems.push(no_subset(destination, host, &rules));
        }
        if self.made.contains_key(&name) {
            return name;
        }
        let mut endpoints = target
            .service
            .map_or_else(Vec::new, |service| self.endpoints(service, *port));
        if target.service.is_some() && endpoints.is_empty() {
            problems.push(
                at.warning(format!(
                    "{name} has no endpoints, so every request to it fails"
                ))
                .remedy("give the ServiceEntry endpoints, or add WorkloadEntries that it selects"),
            );
        }
        if !subset.is_empty() {
            let all = endpoints.clone();
            endpoints.retain(|endpoint| chosen.is_some_and(|subset| has(endpoint, &subset.labels)));
            if !all.is_empty() && endpoints.is_empty() && chosen.is_some() {
                let policy = self.policies.get(host).copied();
                endpoints = fall_back(all, policy, host, &at.at("subset"), problems);
            }
        }
        let mut cluster = Cluster::new(name.clone(), endpoints);
        cluster.origin = at.origin();
        cluster.protocol = self
            .protocols
            .all()
            .iter()
            .find(|one| one.name() == protocol.name())
            .cloned();
        if let Some(pool) = self.pools.get(host) {
            let limits = &mut cluster.limits;
            limits.connections = pool.connections.unwrap_or(limits.connections);
            cluster.connect_timeout = pool.connect_timeout.unwrap_or(cluster.connect_timeout);
            cluster.idle_timeout = pool.idle_timeout.unwrap_or(cluster.idle_timeout);
        }
        let spec = protocol.spec();
        let policy = rules.policy(*port, chosen);
        apply(&policy, spec, &mut cluster, problems);
        if let Some(policy) = self.policies.get(host) {
            override_with(policy, protocol, &mut cluster, problems);
        }
        problems.extend(ambiguous(
            &cluster,
            spec,
            self.policies.get(host).copied(),
            at,
        ));
        // After the health settings of both kinds: localities replace each other only if health is
        // checked.
        let setting = policy
            .balancing
            .as_ref()
            .and_then(|one| one.localities.as_ref());
        spread(&mut cluster, setting, self.locality, problems);
        if let Some((auth, Some((username, password)))) = self.logins.get(host) {
            match protocol.login(username.as_deref(), password) {
                Ok(session) => cluster.login = session,
                Err(what) => problems.push(place(auth).error(what)),
            }
        }
        self.made.insert(name.clone(), cluster);
        name
    }

    /// Returns the endpoints of a port of a service.
    fn endpoints(&self, service: &Service<'r>, number: u16) -> Vec<Endpoint> {
        let mut all: Vec<Endpoint> = Vec::new();
        for entry in &service.entries {
            let Some(port) = entry.ports.iter().find(|port| port.number == number) else {
                continue;
            };
            let workloads: Vec<&Workload<'_>> = match &entry.selector {
                None => entry.endpoints.iter().collect(),
                Some(labels) => self
                    .resources
                    .workloads
                    .iter()
                    .filter(|one| one.document.namespace == entry.document.namespace)
                    .map(|one| &one.workload)
                    .filter(|one| !one.address.is_empty())
                    .filter(|one| {
                        labels
                            .iter()
                            .all(|(key, value)| one.labels.get(key) == Some(value))
                    })
                    .collect(),
            };
            all.extend(workloads.into_iter().map(|workload| {
                Endpoint {
                    weight: workload.weight,
                    labels: workload.labels.clone(),
                    locality: workload.locality.clone(),
                    ..Endpoint::new(address(
                        &workload.address,
                        workload
                            .ports
                            .get(&port.name)
                            .copied()
                            .unwrap_or(port.target),
                    ))
                }
            }));
            if names_itself(entry) && !service.host.contains('*') {
                all.push(Endpoint {
                    labels: entry.labels.clone(),
                    ..Endpoint::new(address(service.host, port.target))
                });
            }
        }
        let mut seen = BTreeSet::new();
        all.retain(|endpoint| seen.insert(endpoint.address.clone()));
        all
    }
}

impl IntoIterator for Clusters<'_> {
    type Item = Cluster;
    type IntoIter = std::collections::btree_map::IntoValues<String, Cluster>;

    fn into_iter(self) -> Self::IntoIter {
        self.made.into_values()
    }
}

/// Reports several servers that hold data if no document defines how they relate to each other.
fn ambiguous(
    cluster: &Cluster,
    spec: &Spec,
    policy: Option<&DestinationPolicy<'_>>,
    at: &Cursor<'_>,
) -> Option<Problem> {
    let used = cluster.endpoints.iter().filter(|one| one.weight > 0);
    let count = used.count();
    let shards = matches!(
        cluster.balancing,
        Balancing::RingHash { .. } | Balancing::Maglev { .. }
    );
    let replicas = policy.is_some_and(|policy| policy.replicas);
    (spec.stateful_endpoints && count > 1 && !shards && !replicas).then(|| {
        at.warning(format!(
            "{} servers hold data, and {} has {count} of them: any may get any request",
            spec.name, cluster.name
        ))
        .remedy(
            "shards need consistentHash in a DestinationRule, or subsets and routes; if all hold the same \
             data, write replicas: true in a DestinationPolicy",
        )
    })
}

/// Returns `true` if the host of the service is its own endpoint.
fn names_itself(entry: &ServiceEntry<'_>) -> bool {
    entry.is_dns() && entry.endpoints.is_empty() && entry.selector.is_none()
}

fn address(host: &str, port: u16) -> Address {
    match host.parse::<IpAddr>() {
        Ok(ip) => Address::Socket(SocketAddr::new(ip, port)),
        Err(_) => Address::Name {
            host: host.to_owned(),
            port,
        },
    }
}

fn no_subset(destination: &Destination<'_>, host: &str, rules: &Rules<'_>) -> Problem {
    let names = rules.subset_names();
    let remedy = if names.is_empty() {
        "no DestinationRule of the host has subsets".to_owned()
    } else {
        format!("it has {}", names.join(", "))
    };
    destination
        .at
        .at("subset")
        .error(format!("{host} has no such subset"))
        .remedy(remedy)
}
