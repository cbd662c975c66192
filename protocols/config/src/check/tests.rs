//! What a configuration is refused for, with a protocol made for the purpose. It knows no YAML.

use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::{
    Codec, Correlation, DecodeError, Decoded, Detect, EncodeError, Fault, Interest, KeySpec,
    Limits, LocalMessage, Message, OpenKeys, Output, Protocol, Reason, Session, Side, Spec,
    Unsupported,
};

use crate::{
    Abort, AttributeMatch, Bucket, Change, Cluster, Config, Descriptor, DescriptorEntry,
    DescriptorValue, FaultRule, GlobalLimit, Listener, LocalLimit, LocalLimits, Matcher, Mirror,
    Mutation, Origin, Problem, Retry, Route, Served, Share, Template, WeightedCluster,
};

/// The protocol of these tests, with a key whose case is ignored.
pub(crate) fn spec() -> Spec {
    let mut spec = Fake::new().0;
    spec.keys.push(KeySpec::request("verb", "v").ignore_case());
    spec
}

/// It has a method on requests, a status on responses, and headers that requests can change.
struct Fake(Spec);

impl Fake {
    fn new() -> Self {
        let spec = Spec::new("fake", "method", Correlation::Id { bits: 32 })
            .keys([
                KeySpec::request("method", "m"),
                KeySpec::response("status", "s"),
            ])
            .open([OpenKeys::new("header.", "h").editable(true, false)])
            .replies(Reason::ALL)
            .system(meltemi_frame::System::Rpc("fake".into()));
        Self(spec)
    }
}

impl Protocol for Fake {
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

struct Mute;

impl Codec for Mute {
    fn decode<'b>(&mut self, _: &'b [u8], _: Interest) -> Result<Decoded<'b>, DecodeError> {
        Ok(Decoded::Incomplete(1))
    }

    fn encode(&mut self, _: &Message<'_>, _: &mut Output) -> Result<(), EncodeError> {
        Ok(())
    }

    fn synthesize(&mut self, _: LocalMessage<'_>, _: &mut Output) -> Result<(), Unsupported> {
        Ok(())
    }
}

fn present(name: &str) -> AttributeMatch {
    AttributeMatch {
        name: name.to_owned(),
        matcher: Matcher::Present,
        negate: false,
    }
}

fn route() -> Route {
    let target = WeightedCluster {
        cluster: "there".to_owned(),
        weight: 1,
    };
    Route::new("r", vec![target])
}

fn local(name: &str) -> LocalLimits {
    LocalLimits {
        name: name.to_owned(),
        rules: vec![LocalLimit {
            matches: vec![present("method")],
            per: vec!["source.ip".to_owned(), "header.user".to_owned()],
            values: 16,
            bucket: Bucket {
                size: 1,
                fill: 1,
                interval: Duration::from_millis(1),
            },
            origin: Origin::default(),
        }],
        origin: Origin::default(),
    }
}

fn global() -> GlobalLimit {
    let entry = |value| DescriptorEntry {
        key: "k".to_owned(),
        value,
    };
    GlobalLimit {
        name: "g".to_owned(),
        matches: vec![present("method")],
        domain: "d".to_owned(),
        descriptors: vec![Descriptor {
            entries: vec![
                entry(DescriptorValue::Text("v".to_owned())),
                entry(DescriptorValue::Attribute("source.ip".to_owned())),
                entry(DescriptorValue::Attribute("header.user".to_owned())),
            ],
        }],
        cluster: "there".to_owned(),
        timeout: Duration::from_millis(100),
        deny_on_failure: false,
        origin: Origin::default(),
    }
}

fn fault() -> FaultRule {
    FaultRule {
        matches: vec![present("method")],
        delay: Some((Duration::from_millis(1), Share::ALL)),
        abort: Some(Abort {
            reason: Reason::Internal,
            text: "t".to_owned(),
            share: Share::ALL,
        }),
        origin: Origin::default(),
    }
}

fn mirror(cluster: &str) -> Mirror {
    Mirror {
        cluster: cluster.to_owned(),
        share: Share::ALL,
        writes_only: false,
        compare: true,
        origin: Origin::default(),
    }
}

fn load(served: Vec<Served>) -> Result<Config, Vec<Problem>> {
    let address = "127.0.0.1:1".parse().unwrap();
    Config::new(
        vec![Listener::new("l", address, served)],
        vec![Cluster::new("there", Vec::new())],
    )
}

fn served(routes: Vec<Route>) -> Served {
    Served::new(Arc::new(Fake::new()), routes)
}

#[track_caller]
fn refused(served: Served, expected: &[&str]) {
    let problems = load(vec![served]).unwrap_err();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{said} has no {expected}");
    }
}

#[test]
fn rules_that_the_router_can_carry_out_pass() {
    let mut good = route();
    good.retry = Retry {
        per_try_timeout: Some(Duration::from_millis(1)),
        on: vec![Fault::Reset],
        statuses: vec![present("status"), present("header.x")],
        ..Retry::default()
    };
    good.faults.push(fault());
    good.mirrors.push(mirror("there"));
    good.mutation = Mutation {
        request: vec![Change::Set(
            "header.a".to_owned(),
            Template::parse("%method%-%header.b%-%ROUTE_NAME%").unwrap(),
        )],
        response: Vec::new(),
    };
    // Several routes may share limits, and even name them again if they are the same.
    good.local_limits = vec![Arc::new(local("a")), Arc::new(local("a"))];
    good.global_limits.push(Arc::new(global()));
    let mut here = served(vec![good.clone(), good]);
    here.local_limits.push(Arc::new(local("b")));
    here.global_limits.push(Arc::new(global()));
    load(vec![here]).unwrap();
}

#[test]
fn attributes_are_asked_for_where_they_are() {
    let mut wrong = route();
    wrong.matches = vec![present("status"), present("nothing")];
    wrong.retry.statuses = vec![present("method")];
    let set =
        |name: &str, value: &str| Change::Set(name.to_owned(), Template::parse(value).unwrap());
    wrong.mutation = Mutation {
        request: vec![set("method", "x"), set("header.a", "%status%")],
        response: vec![set("header.a", "%method%")],
    };
    wrong.faults = vec![FaultRule {
        matches: vec![present("x")],
        ..fault()
    }];
    refused(
        served(vec![wrong]),
        &[
            "match.attributes = `status`: only responses have this attribute",
            "match.attributes = `nothing`: fake has no such attribute; it has method, status, header.<name>",
            "retries.statuses = `method`: only requests have this attribute",
            "requestMutation = `method`: fake cannot carry this change; it can change header.<name>",
            "requestMutation = `status`: only responses have this attribute",
            "responseMutation = `header.a`: fake cannot carry this change; nothing in it can be changed",
            "responseMutation = `method`: only requests have this attribute",
            "faults.match.attributes = `x`: fake has no such attribute",
        ],
    );
}

#[test]
fn limits_name_attributes_of_requests_and_hold_something() {
    let mut local = local("a");
    local.rules[0].per = vec!["status".to_owned()];
    local.rules[0].values = 0;
    local.rules[0].bucket = Bucket {
        size: 0,
        fill: 0,
        interval: Duration::ZERO,
    };
    let mut global = global();
    global.matches = vec![present("x")];
    global.descriptors[0].entries[1].value = DescriptorValue::Attribute("y".to_owned());
    global.timeout = Duration::ZERO;
    let mut empty = self::global();
    empty.descriptors = vec![Descriptor {
        entries: Vec::new(),
    }];
    let mut here = served(Vec::new());
    here.local_limits.push(Arc::new(local));
    here.global_limits = vec![Arc::new(global), Arc::new(empty)];
    refused(
        here,
        &[
            "localRateLimit.per = `status`: only responses have this attribute",
            "localRateLimit.tokenBucket.maxTokens = `0`: must be more than zero",
            "localRateLimit.tokenBucket.tokensPerFill = `0`: must be more than zero",
            "localRateLimit.tokenBucket.fillInterval = `0`: must be more than zero",
            "localRateLimit.values = `0`: must be more than zero",
            "globalRateLimit.match = `x`: fake has no such attribute",
            "globalRateLimit.descriptors = `y`: fake has no such attribute",
            "globalRateLimit.requestTimeout = `0s`: must be more than zero, or no response can arrive in time",
            "globalRateLimit.descriptors: has no entries, so nothing is sent to the service",
        ],
    );
}

#[test]
fn clusters_of_mirrors_and_services_must_be_there() {
    let mut wrong = route();
    wrong.mirrors.push(mirror("gone"));
    wrong.global_limits.push(Arc::new(GlobalLimit {
        cluster: "lost".to_owned(),
        ..global()
    }));
    refused(
        served(vec![wrong]),
        &[
            "mirror = `gone`: there is no such cluster",
            "rateLimitService = `lost`: there is no such cluster",
        ],
    );
}

#[test]
fn limits_are_told_apart_by_their_names() {
    let mut one = route();
    one.local_limits.push(Arc::new(local("a")));
    let mut two = route();
    let mut other = local("a");
    other.rules[0].bucket.size = 2;
    two.local_limits.push(Arc::new(other));
    refused(
        served(vec![one, two]),
        &["localRateLimit = `a`: the limits at <built in> have this name, too"],
    );
}

#[test]
fn rules_that_do_nothing_or_cannot_end_are_refused() {
    let mut wrong = route();
    wrong.retry.per_try_timeout = Some(Duration::ZERO);
    wrong.retry.longest_backoff = Duration::from_millis(1);
    wrong.faults = vec![FaultRule {
        delay: None,
        abort: None,
        ..fault()
    }];
    refused(
        served(vec![wrong]),
        &[
            "retries.perTryTimeout = `0s`: must be more than zero, or no attempt can finish in time",
            "retries.backoff.max = `1ms`: is shorter than the first pause, 25ms",
            "faults: neither delays nor aborts",
        ],
    );
}
