//! Makes clusters of services that the router itself calls, whatever their ports speak, and looks
//! up whether hosts are known.

use meltemi_config::Cluster;

use super::super::policy::no_tls;
use super::{Clusters, Cursor, Problem, Rules, Service};

impl<'r> Clusters<'r> {
    /// Returns `true` if a service with that host is loaded.
    pub(in crate::translate) fn knows(&self, host: &str, namespace: &str) -> bool {
        self.directory.find(host, namespace).is_some()
    }

    /// Returns the cluster of a service that is written as a cluster name
    /// (`outbound|<port>||<host>`) or as host and port. `None`, with a problem, if there is no such
    /// service.
    pub(in crate::translate) fn plain(
        &mut self,
        at: &Cursor<'_>,
        namespace: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<String> {
        let (host, number, host_at, port_at) = match at.text() {
            None => {
                let port = at.at("port").at("number");
                let host = at.at("host").text()?.to_ascii_lowercase();
                (host, port.number(), at.at("host"), port)
            }
            Some(text) => {
                let Some((host, port)) = cluster_name(text) else {
                    problems.push(not_a_cluster(at));
                    return None;
                };
                (host, Some(port), at.clone(), at.clone())
            }
        };
        let Some(service) = self.directory.find(&host, namespace) else {
            problems.push(
                host_at
                    .error(format!(
                        "no service that is loaded has the host {}",
                        self.directory.full(&host, namespace)
                    ))
                    .remedy("add a ServiceEntry for it, with its port and endpoints"),
            );
            return None;
        };
        let number = port(service, number, &port_at, problems)?;
        let name = format!("outbound|{number}||{}", service.host);
        if self.made.contains_key(&name) {
            return Some(name);
        }
        let rules = Rules::of(service.host, service.namespace(), &self.rules);
        let policy = rules.policy(number, None);
        problems.extend(no_tls(&policy));
        let mut cluster = Cluster::new(name.clone(), self.endpoints(service, number));
        cluster.origin = at.origin();
        if let Some(time) = policy.pool.and_then(|pool| pool.tcp.connect_timeout) {
            cluster.connect_timeout = time;
        }
        if cluster.endpoints.is_empty() {
            problems.push(
                at.warning(format!(
                    "{name} has no endpoints, so it never answers and denyOnFail decides"
                ))
                .remedy("give the ServiceEntry endpoints, or add WorkloadEntries that it selects"),
            );
        }
        self.made.insert(name.clone(), cluster);
        Some(name)
    }
}

/// Parses `outbound|<port>||<host>` into host and port.
fn cluster_name(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split('|');
    let (direction, port) = (parts.next()?, parts.next()?.parse::<u16>().ok()?);
    let (subset, host) = (parts.next()?, parts.next()?);
    let fits = direction == "outbound"
        && port > 0
        && subset.is_empty()
        && !host.is_empty()
        && parts.next().is_none();
    fits.then(|| (host.to_ascii_lowercase(), port))
}

fn not_a_cluster(at: &Cursor<'_>) -> Problem {
    at.error("is not the name of a service's cluster").remedy(
        "write outbound|<port>||<host>; a meltemi.io/v1alpha1 MetaRouter takes {host: …, port: {number: …}}, too",
    )
}

/// Returns the port of the service.
fn port(
    service: &Service<'_>,
    number: Option<u16>,
    at: &Cursor<'_>,
    problems: &mut Vec<Problem>,
) -> Option<u16> {
    let numbers: Vec<u16> = service.ports.iter().map(|port| port.number).collect();
    let all = || {
        let texts: Vec<String> = numbers.iter().map(u16::to_string).collect();
        texts.join(", ")
    };
    match (number, numbers.as_slice()) {
        (Some(number), _) if numbers.contains(&number) => Some(number),
        (Some(number), _) => {
            problems.push(
                at.error(format!("{} has no port {number}", service.host))
                    .remedy(format!("it has {}", all())),
            );
            None
        }
        (None, [one]) => Some(*one),
        (None, _) => {
            problems.push(
                at.error(format!(
                    "{} has several ports, and none is named",
                    service.host
                ))
                .remedy(format!("add port: {{number: …}}; it has {}", all())),
            );
            None
        }
    }
}
