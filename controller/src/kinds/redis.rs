//! Reads RedisService and RedisDestination: routes by key, and credentials.

use meltemi_config::{Matcher, Problem};

use super::credentials::{Auth, auth};
use super::destination::redis_target;
use super::route_match::{Name, Test};
use super::router::{Router, Rule};
use super::rule::TcpPool;
use super::timeout::DEFAULT_TIMEOUT;
use super::{fault, mirror};
use crate::yaml::{Cursor, Document};

/// The settings of a Redis host.
#[derive(Debug)]
pub(crate) struct RedisDestination<'a> {
    pub(crate) document: &'a Document,
    pub(crate) at: Cursor<'a>,
    pub(crate) host: String,
    pub(crate) auth: Option<Auth<'a>>,
    pub(crate) tcp: TcpPool,
}

pub(super) fn read_service<'a>(document: &'a Document, problems: &mut Vec<Problem>) -> Router<'a> {
    let spec = document.cursor().at("spec");
    let settings = spec.at("settings");
    let timeout = Some(
        settings
            .at("opTimeout")
            .duration()
            .unwrap_or(DEFAULT_TIMEOUT),
    );
    let policy = settings.at("readPolicy");
    if policy.text().is_some_and(|policy| policy != "MASTER") {
        problems.push(
            policy
                .warning("accepted, not enforced yet")
                .remedy("reads and writes go to the same endpoints"),
        );
    }
    let mut rules: Vec<Rule<'a>> = Vec::new();
    for route in spec.at("redis").items() {
        let prefix = route.at("match").at("key").at("prefix");
        let test = prefix
            .text()
            .filter(|prefix| !prefix.is_empty())
            .map(|text| Test {
                name: Name::Key,
                matcher: Matcher::Prefix(text.to_owned()),
                negate: false,
                at: prefix.clone(),
            });
        let Some(destination) = redis_target(&route.at("route")) else {
            continue;
        };
        rules.push(Rule {
            name: prefix.text().unwrap_or("").to_owned(),
            tests: test.into_iter().collect(),
            destinations: vec![destination],
            mirrors: mirror::redis(&route.at("mirror")),
            timeout,
            ..Rule::new(&route)
        });
    }
    // The longest prefix wins (Envoy's rule). The sort is stable: of two equal prefixes the first
    // one written wins, and the route without a prefix comes last.
    rules.sort_by_key(|rule| {
        let length = rule.tests.first().map_or(0, |test| match &test.matcher {
            Matcher::Prefix(prefix) => prefix.len(),
            _ => 0,
        });
        std::cmp::Reverse(length)
    });
    Router {
        only: Some("redis"),
        whole: spec.at("redis").items().is_empty(),
        rules,
        timeout,
        guard: auth(&settings.at("auth"), problems),
        faults: fault::redis(&spec.at("faults"), problems),
        ..Router::new(document, &spec.at("host"), &[])
    }
}

impl<'a> RedisDestination<'a> {
    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let spec = document.cursor().at("spec");
        let pool = spec.at("trafficPolicy").at("connectionPool");
        let mode = pool.at("redis").at("mode");
        if mode.text() == Some("CLUSTER") {
            problems.push(
                mode.warning("the proxy does not follow the cluster's map yet")
                    .remedy("MOVED and ASK go to the client for now, so use a client that knows Redis Cluster"),
            );
        }
        Self {
            document,
            at: spec.at("host"),
            host: spec.at("host").text().unwrap_or("").to_ascii_lowercase(),
            auth: auth(&pool.at("redis").at("auth"), problems),
            tcp: TcpPool::read(&pool.at("tcp")),
        }
    }
}
