//! RedisService and RedisDestination: routes by key, and credentials.

use meltemi_config::{Matcher, Problem};

use super::router::{DEFAULT_TIMEOUT, Destination, Name, Router, Rule, Test};
use super::rule::TcpPool;
use super::{fault, mirror};
use crate::yaml::{Cursor, Document};

/// Credentials, written or in a Secret.
#[derive(Clone, Debug)]
pub(crate) enum Auth<'a> {
    Plain {
        at: Cursor<'a>,
        username: Option<String>,
        password: String,
    },
    Secret {
        at: Cursor<'a>,
        name: String,
        /// Empty: `password`, or else `token`.
        password: String,
        username: Option<String>,
    },
}

/// How a Redis host is used.
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
                .remedy("reads go where writes go"),
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
        let Some(destination) = target(&route.at("route")) else {
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
    // The longest prefix wins (Envoy's rule); the sort is stable, so that of two alike the first
    // written does, and the route without a prefix comes last.
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
        ..Router::new(document, &spec.at("host"), &spec.at("gateways"))
    }
}

/// Where a route or a mirror leads.
pub(super) fn target<'a>(at: &Cursor<'a>) -> Option<Destination<'a>> {
    Some(Destination {
        host: at.at("host").text()?.to_ascii_lowercase(),
        subset: String::new(),
        port: at.at("port").number(),
        weight: 1,
        at: at.clone(),
    })
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

fn auth<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Option<Auth<'a>> {
    let (plain, secret) = (here.at("plain"), here.at("secret"));
    let text = |at: Cursor<'a>| at.text().map(str::to_owned);
    match (plain.exists(), secret.exists()) {
        (true, true) => problems.push(
            here.error("plain and secret are both given")
                .remedy("give one of them"),
        ),
        (true, false) => {
            return Some(Auth::Plain {
                username: text(plain.at("username")).filter(|name| !name.is_empty()),
                password: text(plain.at("password"))?,
                at: plain,
            });
        }
        (false, true) => {
            return Some(Auth::Secret {
                name: text(secret.at("name"))?,
                password: text(secret.at("passwordField")).unwrap_or_default(),
                username: text(secret.at("usernameField")).filter(|name| !name.is_empty()),
                at: secret,
            });
        }
        // Credentials that are asked for and not given must not mean none.
        (false, false) if here.exists() => {
            problems.push(
                here.error("names no credentials")
                    .remedy("give plain or secret"),
            );
        }
        (false, false) => {}
    }
    None
}
