//! A protocol, messages and a configuration for tests: two slots, an expensive slot, a key with many
//! values and open headers.

use std::sync::Arc;

use meltemi_config::{
    Address, AttributeMatch, Balancing, Cluster, Config, Endpoint, Listener, Matcher, Route,
    Served, WeightedCluster,
};
use meltemi_frame::{
    Attributes, Codec, Correlation, DecodeError, Decoded, Detect, EncodeError, Head, Interest,
    KeySpec, Kind, Limits, LocalMessage, Lookup, Message, Open, OpenKeys, Output, Protocol, Reason,
    Session, Side, Spec, Unsupported, Violation,
};

use crate::{Endpoints, HealthStatus};

pub(crate) fn spec() -> Spec {
    Spec::new("test", "method", Correlation::Id { bits: 32 })
        .keys([
            KeySpec::request("service", "the service"),
            KeySpec::request("method", "the method"),
            KeySpec::request("note", "costs more")
                .at(Interest::Body)
                .editable(),
            KeySpec::request("keys", "the keys").many(),
            KeySpec::response("result", "the result")
                .at(Interest::Body)
                .editable(),
        ])
        .open([OpenKeys::new("header.", "headers").editable(true, true)])
        .replies(Reason::ALL)
        .service("service")
        .system(meltemi_frame::System::Rpc("toy".into()))
}

struct Test(Spec);

struct Mute;

impl Codec for Mute {
    fn decode<'b>(&mut self, _: &'b [u8], _: Interest) -> Result<Decoded<'b>, DecodeError> {
        Err(DecodeError::lost(Violation::Invalid("it only stands here")))
    }

    fn encode(&mut self, _: &Message<'_>, _: &mut Output) -> Result<(), EncodeError> {
        Ok(())
    }

    fn synthesize(&mut self, _: LocalMessage<'_>, _: &mut Output) -> Result<(), Unsupported> {
        Ok(())
    }
}

impl Protocol for Test {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn detect(&self, _: &[u8]) -> Detect {
        Detect::No
    }

    fn codec(&self, _: Side, _: &Limits, _: &Session) -> Box<dyn Codec> {
        Box::new(Mute)
    }
}

/// Returns a request with these attributes, by their names in the configuration.
pub(crate) fn message(attributes: &[(&str, &str)]) -> Message<'static> {
    let spec = spec();
    let mut message = Message::new(Head::new(Kind::Request, Some(1)), b"");
    let mut found = Attributes::new();
    let mut listed = Vec::new();
    for (name, value) in attributes {
        match spec.lookup(name).unwrap().0 {
            Lookup::Slot(key) => found.set_kept(key, value.as_bytes().to_vec()),
            Lookup::Open(name) => {
                listed.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            }
        }
    }
    if !listed.is_empty() {
        found.set_open(Open::Listed(Box::new(listed)));
    }
    message.attributes = found;
    message
}

pub(crate) fn test(name: &str, matcher: Matcher) -> AttributeMatch {
    AttributeMatch {
        name: name.to_owned(),
        matcher,
        negate: false,
    }
}

pub(crate) fn exact(name: &str, value: &str) -> AttributeMatch {
    test(name, Matcher::Exact(value.to_owned()))
}

pub(crate) fn route(name: &str, matches: Vec<AttributeMatch>) -> Route {
    Route {
        matches,
        ..Route::new(name, vec![target("a", 1)])
    }
}

pub(crate) fn target(cluster: &str, weight: u32) -> WeightedCluster {
    WeightedCluster {
        cluster: cluster.to_owned(),
        weight,
    }
}

pub(crate) fn served(routes: Vec<Route>) -> Served {
    Served::new(Arc::new(Test(spec())), routes)
}

/// Returns a configuration with these routes on one listener, and the clusters `a` (least request),
/// `b` and `c` (ring hash on `method`), with two endpoints each.
pub(crate) fn config(routes: Vec<Route>) -> Config {
    let cluster = |name: &str, balancing: Balancing| {
        let endpoint = |host: u8| Endpoint::new(Address::Socket(([10, 0, 0, host], 80).into()));
        let mut cluster = Cluster::new(name, vec![endpoint(1), endpoint(2)]);
        cluster.balancing = balancing;
        cluster
    };
    let listener = Listener::new("here", ([127, 0, 0, 1], 0).into(), vec![served(routes)]);
    let clusters = vec![
        cluster("a", Balancing::LeastRequest),
        cluster("b", Balancing::RoundRobin),
        cluster(
            "c",
            Balancing::RingHash {
                keys: vec!["method".to_owned()],
                minimum_ring_size: 64,
            },
        ),
    ];
    Config::new(vec![listener], clusters).unwrap()
}

/// SplitMix64: evenly distributed, and the same in every run.
pub(crate) fn numbers(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Endpoints as a balancer sees them.
pub(crate) struct Seen<'a> {
    pub(crate) fitness: &'a dyn Fn(usize) -> HealthStatus,
    pub(crate) load: &'a dyn Fn(usize) -> u32,
}

impl Endpoints for Seen<'_> {
    fn fitness(&self, at: usize) -> HealthStatus {
        (self.fitness)(at)
    }

    fn load(&self, at: usize) -> u32 {
        (self.load)(at)
    }
}
