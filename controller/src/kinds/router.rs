//! Reads MetaRouter, Aeraki's and ours, and defines the common form of all kinds of routers.

use std::collections::BTreeSet;
use std::time::Duration;

use meltemi_config::Problem;

use super::credentials::Auth;
use super::destination::{Destination, destinations};
use super::fault::{self, Injection};
use super::gateway::qualify;
use super::limit::{self, GlobalRate, LocalRate};
use super::mirror::{self, Copies};
use super::retry::{self, Retries};
use super::route_match::{Test, matching};
use super::timeout::{DEFAULT_TIMEOUT, timeout};
use crate::reference::OWN_GROUP;
use crate::yaml::{Cursor, Document};

/// The identity of a router.
pub(crate) type RouterKey = (String, String);

/// Routes of hosts.
#[derive(Debug)]
pub(crate) struct Router<'a> {
    pub(crate) document: &'a Document,
    /// In lower case, as written.
    pub(crate) hosts: Vec<(String, Cursor<'a>)>,
    /// The place of the hosts.
    pub(crate) hosts_at: Cursor<'a>,
    /// `namespace/name` of the gateways that the router names.
    pub(crate) gateways: Vec<String>,
    /// `true` if the router attaches to listeners that no router names.
    pub(crate) mesh: bool,
    /// The only protocol of the router; `None` if it serves all.
    pub(crate) only: Option<&'static str>,
    /// The routes, in the order in which they are tried.
    pub(crate) rules: Vec<Rule<'a>>,
    /// `true` if no route is written: all requests go to the host.
    pub(crate) whole: bool,
    /// The request timeout on the route to the host.
    pub(crate) timeout: Option<Duration>,
    /// The credentials that clients must present.
    pub(crate) guard: Option<Auth<'a>>,
    /// Faults of every route.
    pub(crate) faults: Vec<Injection<'a>>,
    /// Limits shared by all routes.
    pub(crate) local: Option<LocalRate<'a>>,
    pub(crate) global: Option<GlobalRate<'a>>,
}

/// One route.
#[derive(Clone, Debug)]
pub(crate) struct Rule<'a> {
    pub(crate) name: String,
    pub(crate) at: Cursor<'a>,
    pub(crate) tests: Vec<Test<'a>>,
    /// `Some` if the route applies only on listeners with this port.
    pub(crate) port: Option<u16>,
    /// The gateways on which the route applies; empty means all.
    pub(crate) gateways: Vec<String>,
    pub(crate) destinations: Vec<Destination<'a>>,
    pub(crate) timeout: Option<Duration>,
    /// `true` if the timeout that a request carries applies.
    pub(crate) caller_timeout: bool,
    pub(crate) retries: Option<Box<Retries<'a>>>,
    pub(crate) faults: Vec<Injection<'a>>,
    pub(crate) mirrors: Vec<Copies<'a>>,
    pub(crate) request: Vec<Change<'a>>,
    pub(crate) response: Vec<Change<'a>>,
    /// Limits of this route only.
    pub(crate) local: Option<LocalRate<'a>>,
}

/// A change to an attribute: its name, its value, and where the name is written.
#[derive(Clone, Debug)]
pub(crate) enum Change<'a> {
    Set(String, Written<'a>, Cursor<'a>),
    Add(String, Written<'a>, Cursor<'a>),
    Remove(String, Cursor<'a>),
}

/// A value as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Written<'a> {
    pub(crate) text: &'a str,
    /// `true` if text between percent signs is replaced by a value.
    pub(crate) holes: bool,
    pub(crate) at: Cursor<'a>,
}

impl<'a> Written<'a> {
    fn new(at: &Cursor<'a>, holes: bool) -> Option<Self> {
        Some(Self {
            text: at.text()?,
            holes,
            at: at.clone(),
        })
    }
}

pub(super) fn read<'a>(document: &'a Document, problems: &mut Vec<Problem>) -> Router<'a> {
    let spec = document.cursor().at("spec");
    let mut router = Router::new(document, &spec.at("hosts"), &spec.at("gateways").texts());
    // In Aeraki's kind a percent sign has no special meaning.
    let holes = document.group == OWN_GROUP;
    router.local = limit::local(&spec.at("localRateLimit"), &document.object, problems);
    router.global = limit::global(&spec.at("globalRateLimit"), &document.object, problems);
    let mut labels = BTreeSet::new();
    let routes = spec.at("routes").items();
    router.whole = routes.is_empty();
    router.rules.reserve_exact(routes.len());
    for (position, route) in routes.iter().enumerate() {
        let mut label = route.at("name").text().unwrap_or("").to_owned();
        if label.is_empty() || !labels.insert(label.clone()) {
            label = format!("routes[{position}]");
        }
        let limit = format!("{} {label}", document.object);
        router.rules.push(Rule {
            name: route.at("name").text().unwrap_or("").to_owned(),
            tests: matching(&route.at("match"), problems),
            destinations: destinations(&route.at("route"), problems),
            timeout: timeout(&route.at("timeout")),
            caller_timeout: route.at("callerTimeout").flag() == Some(true),
            retries: retry::own(&route.at("retries"), problems),
            faults: fault::own(&route.at("faults"), problems),
            mirrors: mirror::copies(route, problems),
            request: changes(&route.at("requestMutation"), holes, problems),
            response: changes(&route.at("responseMutation"), holes, problems),
            local: limit::local(&route.at("localRateLimit"), &limit, problems),
            ..Rule::new(route)
        });
    }
    router
}

impl<'a> Router<'a> {
    /// Returns the identity of the router.
    pub(crate) fn key(&self) -> RouterKey {
        (
            self.document.object.to_string(),
            self.document.group.clone(),
        )
    }

    pub(super) fn new(document: &'a Document, hosts: &Cursor<'a>, names: &[&str]) -> Self {
        let qualified = |name: &&str| qualify(name, &document.namespace);
        Self {
            document,
            hosts: hosts
                .items()
                .into_iter()
                .filter_map(|at| Some((at.text()?.to_ascii_lowercase(), at)))
                .collect(),
            hosts_at: hosts.clone(),
            mesh: names.is_empty() || names.contains(&"mesh"),
            gateways: names
                .iter()
                .filter(|name| **name != "mesh")
                .map(qualified)
                .collect(),
            only: None,
            rules: Vec::new(),
            whole: false,
            timeout: Some(DEFAULT_TIMEOUT),
            guard: None,
            faults: Vec::new(),
            local: None,
            global: None,
        }
    }
}

impl<'a> Rule<'a> {
    pub(super) fn new(at: &Cursor<'a>) -> Self {
        Self {
            name: String::new(),
            at: at.clone(),
            tests: Vec::new(),
            port: None,
            gateways: Vec::new(),
            destinations: Vec::new(),
            timeout: Some(DEFAULT_TIMEOUT),
            caller_timeout: false,
            retries: None,
            faults: Vec::new(),
            mirrors: Vec::new(),
            request: Vec::new(),
            response: Vec::new(),
            local: None,
        }
    }
}

/// Reads changes to attributes: Aeraki's list of keys and values, or our object.
fn changes<'a>(here: &Cursor<'a>, holes: bool, problems: &mut Vec<Problem>) -> Vec<Change<'a>> {
    let mut all = Vec::new();
    for item in here.items() {
        let (key, value) = (item.at("key"), item.at("value"));
        if let (Some(name), Some(value)) = (key.text(), Written::new(&value, holes)) {
            if name.is_empty() {
                problems.push(key.error("is empty").remedy("name the attribute to set"));
            }
            all.push(Change::Set(name.to_owned(), value, key));
        }
    }
    all.extend(edits(here));
    all
}

/// Reads `set`, `add` and `remove`, in this order.
pub(super) fn edits<'a>(here: &Cursor<'a>) -> Vec<Change<'a>> {
    let mut all = Vec::new();
    for (name, at) in here.at("set").entries() {
        if let Some(value) = Written::new(&at, true) {
            all.push(Change::Set(name.to_owned(), value, at));
        }
    }
    for (name, at) in here.at("add").entries() {
        if let Some(value) = Written::new(&at, true) {
            all.push(Change::Add(name.to_owned(), value, at));
        }
    }
    for at in here.at("remove").items() {
        if let Some(name) = at.text() {
            all.push(Change::Remove(name.to_owned(), at));
        }
    }
    all
}
