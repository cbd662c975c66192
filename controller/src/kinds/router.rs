//! MetaRouter, Aeraki's and ours; and the shape that every kind of router is read to.

use std::collections::BTreeSet;
use std::time::Duration;

use meltemi_config::{AttributeMatch, Matcher, Problem, WholeRegex};

use super::fault::{self, Injection};
use super::limit::{self, GlobalRate, LocalRate};
use super::mirror::{self, Copies};
use super::redis::Auth;
use super::retry::{self, Retries};
use crate::reference::OWN_GROUP;
use crate::yaml::{Cursor, Document};

/// How long a request may take if its route does not say. Aeraki's own limit for Redis; Aeraki has
/// none for the rest, and a request that nobody waits for would hold its place for ever.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Routes of hosts.
#[derive(Debug)]
pub(crate) struct Router<'a> {
    pub(crate) document: &'a Document,
    /// In lower case, as written.
    pub(crate) hosts: Vec<(String, Cursor<'a>)>,
    /// `namespace/name` of the gateways that it names.
    pub(crate) gateways: Vec<String>,
    /// It attaches to listeners that nobody names.
    pub(crate) mesh: bool,
    /// The only protocol that it is for.
    pub(crate) only: Option<&'static str>,
    /// In the order in which they are tried.
    pub(crate) rules: Vec<Rule<'a>>,
    /// No route is written: everything goes to the host.
    pub(crate) whole: bool,
    /// How long a request may take on the route to the host.
    pub(crate) timeout: Option<Duration>,
    /// What clients must present.
    pub(crate) guard: Option<Auth<'a>>,
    /// Faults on every route.
    pub(crate) faults: Vec<Injection<'a>>,
    /// Limits of all routes together.
    pub(crate) local: Option<LocalRate<'a>>,
    pub(crate) global: Option<GlobalRate<'a>>,
}

/// One route.
#[derive(Clone, Debug)]
pub(crate) struct Rule<'a> {
    pub(crate) name: String,
    pub(crate) at: Cursor<'a>,
    pub(crate) tests: Vec<Test<'a>>,
    /// Only on listeners with this port.
    pub(crate) port: Option<u16>,
    /// Only on these gateways; empty: on all.
    pub(crate) gateways: Vec<String>,
    pub(crate) destinations: Vec<Destination<'a>>,
    pub(crate) timeout: Option<Duration>,
    /// The timeout in a request is looked for.
    pub(crate) caller_timeout: bool,
    pub(crate) retries: Option<Box<Retries<'a>>>,
    pub(crate) faults: Vec<Injection<'a>>,
    pub(crate) mirrors: Vec<Copies<'a>>,
    pub(crate) request: Vec<Change<'a>>,
    pub(crate) response: Vec<Change<'a>>,
    /// Limits of this route alone.
    pub(crate) local: Option<LocalRate<'a>>,
}

/// A test of an attribute.
#[derive(Clone, Debug)]
pub(crate) struct Test<'a> {
    pub(crate) name: Name,
    pub(crate) matcher: Matcher,
    pub(crate) negate: bool,
    pub(crate) at: Cursor<'a>,
}

impl Test<'_> {
    /// The test of the attribute of the very name that is written.
    pub(super) fn exactly(&self) -> AttributeMatch {
        AttributeMatch {
            name: self.name.written().to_owned(),
            matcher: self.matcher.clone(),
            negate: self.negate,
        }
    }
}

impl Name {
    /// As it is written.
    pub(crate) fn written(&self) -> &str {
        match self {
            Self::Exactly(name) | Self::Header(name) => name,
            Self::Method => "method",
            Self::Key => "key",
        }
    }
}

/// An attribute, as kinds that know no protocol name it.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    /// By the very name that the protocol declares.
    Exactly(String),
    /// By that name, or as a header of that name.
    Header(String),
    /// The method.
    Method,
    /// The Redis key.
    Key,
}

#[derive(Clone, Debug)]
pub(crate) struct Destination<'a> {
    pub(crate) at: Cursor<'a>,
    pub(crate) host: String,
    pub(crate) subset: String,
    pub(crate) port: Option<u16>,
    pub(crate) weight: u32,
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
    /// What stands between percent signs stands for something else.
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
    let mut router = Router::new(document, &spec.at("hosts"), &spec.at("gateways"));
    // In Aeraki's kind a percent sign is one.
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
    pub(super) fn new(document: &'a Document, hosts: &Cursor<'a>, gateways: &Cursor<'a>) -> Self {
        let names = gateways.texts();
        let qualified = |name: &&str| qualify(name, &document.namespace);
        Self {
            document,
            hosts: hosts
                .items()
                .into_iter()
                .filter_map(|at| Some((at.text()?.to_ascii_lowercase(), at)))
                .collect(),
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

/// `namespace/name` of what is named from a namespace.
pub(crate) fn qualify(name: &str, namespace: &str) -> String {
    match name.split_once('/') {
        Some((".", name)) => format!("{namespace}/{name}"),
        Some(_) => name.to_owned(),
        None => format!("{namespace}/{name}"),
    }
}

impl<'a> Rule<'a> {
    pub(super) fn new(at: &Cursor<'a>) -> Self {
        Self {
            name: at.at("name").text().unwrap_or("").to_owned(),
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

/// The timeout that is written; zero is none at all.
pub(super) fn timeout(here: &Cursor<'_>) -> Option<Duration> {
    match here.duration() {
        None => Some(DEFAULT_TIMEOUT),
        Some(time) => Some(time).filter(|time| !time.is_zero()),
    }
}

/// The tests of a `match`, of attributes by their very names.
pub(super) fn matching<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Vec<Test<'a>> {
    let attributes = here.at("attributes").entries().into_iter();
    let mut all: Vec<Test<'a>> = attributes
        .filter_map(|(name, at)| tests(Name::Exactly(name.to_owned()), &at, problems))
        .collect();
    // There may be very many routes, of which most have one test.
    all.shrink_to_fit();
    all
}

/// The tests of one attribute. One at most, unless something is wrong with it.
pub(super) fn tests<'a>(
    name: Name,
    here: &Cursor<'a>,
    problems: &mut Vec<Problem>,
) -> Option<Test<'a>> {
    let not = here.at("not");
    let (place, mut negate) = if not.exists() {
        (&not, true)
    } else {
        (here, false)
    };
    let entries = place.entries();
    let matcher = match entries.first() {
        None => Matcher::Present,
        Some((kind, value)) => match *kind {
            "present" => {
                negate ^= value.flag() == Some(false);
                Matcher::Present
            }
            "range" => {
                let (start, end) = (value.at("start").integer()?, value.at("end").integer()?);
                if start >= end {
                    problems.push(
                        value
                            .error(format!("{start}..{end} holds no number"))
                            .remedy("end is the first integer past the range, so it must be larger than start"),
                    );
                    return None;
                }
                Matcher::Range { start, end }
            }
            // Istio: an empty match is presence.
            _ if value.text() == Some("") => Matcher::Present,
            "exact" => Matcher::Exact(value.text()?.to_owned()),
            "prefix" => Matcher::Prefix(value.text()?.to_owned()),
            "suffix" => Matcher::Suffix(value.text()?.to_owned()),
            // A pattern that cannot be used is a problem already.
            "regex" => Matcher::Regex(WholeRegex::new(value.text()?).ok()?),
            _ => return None,
        },
    };
    Some(Test {
        name,
        matcher,
        negate,
        at: here.clone(),
    })
}

/// The destinations of a route, with their weights.
pub(super) fn destinations<'a>(
    here: &Cursor<'a>,
    problems: &mut Vec<Problem>,
) -> Vec<Destination<'a>> {
    let items = here.items();
    if items.is_empty() {
        if here.exists() {
            problems.push(here.error("has no destination").remedy("give at least one"));
        }
        return Vec::new();
    }
    let written = items
        .iter()
        .filter(|item| item.at("weight").exists())
        .count();
    if written > 0 && written < items.len() {
        problems.push(
            here.warning(
                "some destinations have a weight and others none; those without get no request",
            )
            .remedy("give all of them a weight, or none"),
        );
    }
    let mut sum = 0_u64;
    let mut all = Vec::new();
    for item in &items {
        let weight = match item.at("weight").number::<u32>() {
            // A single destination takes all, whatever its weight (Istio).
            _ if items.len() == 1 => 1,
            Some(weight) => weight,
            None => u32::from(written == 0),
        };
        sum = sum.saturating_add(u64::from(weight));
        all.extend(destination(&item.at("destination"), weight));
    }
    if sum == 0 {
        problems.push(
            here.error(
                "the weights of its destinations sum to zero, so no request can go anywhere",
            )
            .remedy("give at least one destination a positive weight"),
        );
    }
    all
}

/// What is written at one destination.
pub(super) fn destination<'a>(at: &Cursor<'a>, weight: u32) -> Option<Destination<'a>> {
    Some(Destination {
        host: at.at("host").text()?.to_ascii_lowercase(),
        subset: at.at("subset").text().unwrap_or("").to_owned(),
        port: at.at("port").at("number").number(),
        weight,
        at: at.clone(),
    })
}

/// Changes to attributes: Aeraki's list of keys and values, or our object.
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

/// `set`, `add` and `remove`, in this order.
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
