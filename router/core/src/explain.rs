//! Why a message is routed as it is, for people: printable, and serialisable with the feature `serde`.
//! Nothing here is on the path of a request.

use std::fmt;
use std::net::IpAddr;

use meltemi_config::{AttributeMatch, Balancing, Config};
use meltemi_frame::{Lookup, Message};

use crate::Table;

/// What a route said to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Verdict {
    /// The route's position, from 0.
    pub position: usize,
    /// The route's name.
    pub route: String,
    /// The first test that the message failed; `None`: the route matched.
    pub failed: Option<FailedTest>,
}

/// A test that a message failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FailedTest {
    /// The attribute.
    pub attribute: String,
    /// What was demanded of it.
    pub demand: String,
    /// The values that the message has (the first eight, each up to 128 bytes). None: it is absent.
    pub seen: Vec<String>,
}

const VALUES_SHOWN: usize = 8;
const BYTES_SHOWN: usize = 128;

impl FailedTest {
    pub(crate) fn new(rule: &AttributeMatch, lookup: &Lookup, message: &Message<'_>) -> Self {
        let mut seen = Vec::new();
        message
            .attributes
            .any(lookup, message.wire(), &mut |value| {
                let shown = value.get(..BYTES_SHOWN).unwrap_or(value);
                seen.push(String::from_utf8_lossy(shown).into_owned());
                seen.len() == VALUES_SHOWN
            });
        let not = if rule.negate { "not: " } else { "" };
        Self {
            attribute: rule.name.clone(),
            demand: format!("{not}{}", rule.matcher),
            seen,
        }
    }
}

/// Why a message is routed as it is, and where it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Decision {
    /// The protocol.
    pub protocol: String,
    /// What each route said, up to and including the one that matched.
    pub verdicts: Vec<Verdict>,
    /// The route that matched, by name.
    pub route: Option<String>,
    /// Where the route sends requests.
    pub clusters: Vec<TargetShare>,
}

/// A cluster that a request may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TargetShare {
    /// The cluster.
    pub cluster: String,
    /// Its share, relative to the route's other clusters.
    pub weight: u32,
    /// How an endpoint is chosen.
    pub balancing: &'static str,
    /// The hash of this message, if the cluster hashes and the message has a key.
    pub hash: Option<u64>,
    /// The endpoints.
    pub endpoints: Vec<EndpointShare>,
}

/// An endpoint that a request may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EndpointShare {
    /// Where it is.
    pub address: String,
    /// Its share, relative to the cluster's other endpoints.
    pub weight: u32,
}

impl Decision {
    /// How `table`, which was compiled for `protocol` from `config`, routes a message that came from
    /// `source`.
    pub fn new(
        protocol: &str,
        table: &Table,
        config: &Config,
        message: &Message<'_>,
        source: IpAddr,
    ) -> Self {
        let verdicts = table.explain(message);
        let won = verdicts.last().filter(|verdict| verdict.failed.is_none());
        let route = won.and_then(|verdict| table.routes().get(verdict.position));
        let target = |(cluster, weight): (usize, u32)| {
            let found = config.clusters().get(cluster)?;
            let endpoints = found.endpoints.iter().map(|endpoint| EndpointShare {
                address: endpoint.address.to_string(),
                weight: endpoint.weight,
            });
            Some(TargetShare {
                cluster: found.name.clone(),
                weight,
                balancing: balancing_name(&found.balancing),
                hash: route.and_then(|route| route.hash(cluster, message, source)),
                endpoints: endpoints.collect(),
            })
        };
        Self {
            protocol: protocol.to_owned(),
            route: route.map(|route| route.name.to_string()),
            clusters: route
                .map(|route| route.targets().filter_map(target).collect())
                .unwrap_or_default(),
            verdicts,
        }
    }
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

impl fmt::Display for FailedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` should be: {}; it ", self.attribute, self.demand)?;
        match self.seen.as_slice() {
            [] => f.write_str("is absent"),
            [one] => write!(f, "is `{one}`"),
            many => write!(f, "is `{}`", many.join("`, `")),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {} `{}`: ", self.position, self.route)?;
        match &self.failed {
            Some(failed) => write!(f, "no: {failed}"),
            None => f.write_str("yes"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "protocol {}", self.protocol)?;
        for verdict in &self.verdicts {
            writeln!(f, "{verdict}")?;
        }
        if self.route.is_none() {
            return writeln!(f, "no route matches");
        }
        for cluster in &self.clusters {
            write!(
                f,
                "cluster {} weight {}, {}",
                cluster.cluster, cluster.weight, cluster.balancing
            )?;
            if let Some(hash) = cluster.hash {
                write!(f, ", hash {hash:016x}")?;
            }
            writeln!(f)?;
            for endpoint in &cluster.endpoints {
                writeln!(f, "  {} weight {}", endpoint.address, endpoint.weight)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LimitStore, fixture};

    fn decide(attributes: &[(&str, &str)]) -> Decision {
        let mut split = fixture::route("users", vec![fixture::exact("service", "users")]);
        split.clusters = vec![fixture::target("a", 9), fixture::target("c", 1)];
        let routes = vec![split];
        let config = fixture::config(routes.clone());
        let table = Table::compile(&fixture::served(routes), &config, &LimitStore::default());
        let message = fixture::message(attributes);
        Decision::new("test", &table, &config, &message, [10, 0, 0, 9].into())
    }

    #[test]
    fn a_decision_tells_where_a_message_may_go() {
        let decision = decide(&[("service", "users"), ("method", "a")]);
        assert_eq!(
            decision.to_string(),
            "\
protocol test
route 0 `users`: yes
cluster a weight 9, least request
  10.0.0.1:80 weight 1
  10.0.0.2:80 weight 1
cluster c weight 1, ring hash, hash d24ec4f1a98c6e5b
  10.0.0.1:80 weight 1
  10.0.0.2:80 weight 1
"
        );
    }

    #[test]
    fn a_decision_tells_that_nothing_matches() {
        let decision = decide(&[]);
        assert_eq!(
            decision.to_string(),
            "\
protocol test
route 0 `users`: no: `service` should be: is `users`; it is absent
no route matches
"
        );
        assert!(decision.route.is_none() && decision.clusters.is_empty());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_decision_is_serialised_field_by_field() {
        let told = serde_json::to_value(decide(&[("service", "shop")])).unwrap();
        assert_eq!(
            told,
            serde_json::json!({
                "protocol": "test",
                "verdicts": [{
                    "position": 0,
                    "route": "users",
                    "failed": {"attribute": "service", "demand": "is `users`", "seen": ["shop"]},
                }],
                "route": null,
                "clusters": [],
            })
        );
    }
}
