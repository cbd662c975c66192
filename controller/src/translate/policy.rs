//! Decides how a host, a port or a subset is used: which DestinationRules apply, and which block
//! overrides which.

use std::collections::BTreeMap;

use meltemi_config::{Balancing, Cluster, Problem};
use meltemi_frame::Spec;

use super::attributes::{header_name, no_such_attribute};
use super::directory::Directory;
use crate::kinds::{Balancer, DestinationRule, Policy, Subset};

/// All DestinationRules, by host.
pub(super) struct RuleIndex<'r> {
    by_host: BTreeMap<String, Vec<&'r DestinationRule<'r>>>,
    /// The rules for `*.suffix`.
    wild: Vec<(String, &'r DestinationRule<'r>)>,
}

impl<'r> RuleIndex<'r> {
    pub(super) fn new(rules: &'r [DestinationRule<'r>], directory: &Directory<'r>) -> Self {
        let mut by_host: BTreeMap<String, Vec<&'r DestinationRule<'r>>> = BTreeMap::new();
        let mut wild = Vec::new();
        for rule in rules {
            let host = directory.full(&rule.host, &rule.document.namespace);
            if host.starts_with('*') {
                wild.push((host, rule));
            } else {
                by_host.entry(host).or_default().push(rule);
            }
        }
        Self { by_host, wild }
    }
}

/// The DestinationRules of one host.
pub(super) struct Rules<'r> {
    all: Vec<&'r DestinationRule<'r>>,
}

impl<'r> Rules<'r> {
    /// Returns the rules for the most specific name of the host. If several namespaces have such
    /// rules: those of the service's namespace, or else of the first namespace by name.
    pub(super) fn of(host: &str, namespace: &str, index: &RuleIndex<'r>) -> Self {
        let exact = index.by_host.get(host).into_iter().flatten();
        let wild = index
            .wild
            .iter()
            .filter_map(|(pattern, rule)| Some((matches(pattern, host)?, *rule)));
        let mut found: Vec<(usize, bool, &'r DestinationRule<'r>)> = exact
            .map(|rule| (usize::MAX, *rule))
            .chain(wild)
            .map(|(specific, rule)| (specific, rule.document.namespace == namespace, rule))
            .collect();
        found.sort_by(|(a_long, a_own, a), (b_long, b_own, b)| {
            (b_long, b_own)
                .cmp(&(a_long, a_own))
                .then_with(|| a.document.namespace.cmp(&b.document.namespace))
                .then_with(|| a.document.name.cmp(&b.document.name))
        });
        let first = found
            .first()
            .map(|(long, _, rule)| (*long, rule.document.namespace.as_str()));
        let all = found
            .iter()
            .filter(|(long, _, rule)| first == Some((*long, rule.document.namespace.as_str())))
            .map(|(_, _, rule)| *rule)
            .collect();
        Self { all }
    }

    /// Returns the subset with this name.
    pub(super) fn subset(&self, name: &str) -> Option<&'r Subset<'r>> {
        self.all
            .iter()
            .flat_map(|rule| &rule.subsets)
            .find(|subset| subset.name == name)
    }

    /// Returns the names of the subsets.
    pub(super) fn subset_names(&self) -> Vec<&'r str> {
        self.all
            .iter()
            .flat_map(|rule| &rule.subsets)
            .map(|subset| subset.name.as_str())
            .collect()
    }

    /// Returns the policy of a port and a subset.
    pub(super) fn policy(&self, port: u16, subset: Option<&Subset<'r>>) -> Policy<'r> {
        let base = self.all.iter().find_map(|rule| rule.policy.as_ref());
        // The entry of a port replaces the policy as a whole, except for retries, which ports do
        // not have.
        let at_port = |policy: &Policy<'r>| {
            let (_, own) = policy.ports.iter().find(|(number, _)| *number == port)?;
            Some(Policy {
                budget: policy.budget,
                ..own.clone()
            })
        };
        let mut policy = base.map_or_else(Policy::default, |base| {
            at_port(base).unwrap_or_else(|| base.clone())
        });
        if let Some(over) = subset.and_then(|subset| subset.policy.as_ref()) {
            if let Some(whole) = at_port(over) {
                return Policy {
                    budget: whole.budget.or(policy.budget),
                    ..whole
                };
            }
            policy.balancing = over.balancing.clone().or(policy.balancing);
            policy.pool = over.pool.or(policy.pool);
            policy.detection = over.detection.or(policy.detection);
            policy.budget = over.budget.or(policy.budget);
            policy.tls = over.tls.clone().or(policy.tls);
        }
        policy
    }
}

/// Returns how specific the host of a rule is. `None` if the rule does not apply to this host.
pub(super) fn matches(pattern: &str, host: &str) -> Option<usize> {
    match pattern.strip_prefix('*') {
        None => (pattern == host).then_some(usize::MAX),
        Some(suffix) => host.ends_with(suffix).then_some(suffix.len()),
    }
}

/// Returns the problem for TLS towards endpoints. Checked here and not by the reader: the same
/// files contain rules for hosts of other protocols.
pub(super) fn no_tls(policy: &Policy<'_>) -> Option<Problem> {
    let mode = policy.tls.as_ref()?.at("mode");
    mode.text().filter(|mode| *mode != "DISABLE")?;
    let what =
        "TLS towards endpoints is not there yet, and connecting in clear instead would be wrong";
    Some(
        mode.error(what)
            .remedy("leave out the tls block, or set mode: DISABLE"),
    )
}

/// Applies a policy to a cluster.
pub(super) fn apply(
    policy: &Policy<'_>,
    spec: &Spec,
    cluster: &mut Cluster,
    problems: &mut Vec<Problem>,
) {
    problems.extend(no_tls(policy));
    if let Some(pool) = &policy.pool {
        let limits = &mut cluster.limits;
        limits.connections = pool.tcp.connections.unwrap_or(limits.connections);
        limits.pending = pool.pending.unwrap_or(limits.pending);
        limits.requests = pool.requests.unwrap_or(limits.requests);
        limits.retries = pool.retries.unwrap_or(limits.retries);
        cluster.connect_timeout = pool.tcp.connect_timeout.unwrap_or(cluster.connect_timeout);
        cluster.idle_timeout = pool.tcp.idle_timeout.unwrap_or(cluster.idle_timeout);
    }
    if let Some(detection) = &policy.detection {
        cluster.outlier = Some(detection.outlier);
        cluster.panic = detection.panic;
    }
    cluster.budget = policy.budget.unwrap_or(cluster.budget);
    cluster.warmup = policy.balancing.as_ref().and_then(|one| one.warmup);
    match policy.balancing.as_ref().map(|one| &one.balancer) {
        None | Some(Balancer::LeastRequest) => {}
        Some(Balancer::RoundRobin) => cluster.balancing = Balancing::RoundRobin,
        Some(Balancer::Random) => cluster.balancing = Balancing::Random,
        Some(Balancer::Hash {
            at,
            attribute,
            source,
            ring_size,
            maglev,
        }) => {
            if attribute.is_some() == *source {
                problems.push(
                    at.error("must hash one thing")
                        .remedy("give one of attribute, httpHeaderName and useSourceIp: true"),
                );
            }
            let mut keys = Vec::new();
            if let Some((name, place, bare)) = attribute {
                let known = match bare {
                    true => header_name(name, spec),
                    // `key{}` selects the rule of Redis hash tags.
                    false => Some(name.clone()).filter(|name| {
                        spec.lookup(name.strip_suffix("{}").unwrap_or(name))
                            .is_some()
                    }),
                };
                match known {
                    Some(name) => keys.push(name),
                    None => problems.push(no_such_attribute(place, name, spec)),
                }
            }
            if *source {
                keys.push("source.ip".to_owned());
            }
            if keys.is_empty() {
                return;
            }
            cluster.balancing = match maglev {
                None => Balancing::RingHash {
                    keys,
                    minimum_ring_size: *ring_size,
                },
                Some((table_size, place)) => {
                    if !Balancing::is_table_size(*table_size) {
                        problems.push(
                            place
                                .error("is not a prime number below 5000011")
                                .remedy("use a prime such as 65537"),
                        );
                        return;
                    }
                    Balancing::Maglev {
                        keys,
                        table_size: *table_size,
                    }
                }
            };
        }
    }
}
