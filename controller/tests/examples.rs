//! The example documents load, and become what they say.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::builtins;
use meltemi_config::{Balancing, Change, Config, Route, Template};
use meltemi_controller::{Outcome, dump, load, load_str};
use meltemi_frame::Sharing;

fn example(folder: &str) -> Outcome {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/examples");
    load(&[root.join(folder)], &builtins())
}

fn clean(folder: &str) -> Config {
    let outcome = example(folder);
    let problems: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    outcome.config.unwrap()
}

fn routes(config: &Config, port: u16, protocol: &str) -> Vec<Route> {
    let listener = config
        .listeners()
        .iter()
        .find(|listener| listener.address.port() == port)
        .unwrap();
    let served = listener
        .served
        .iter()
        .find(|served| served.protocol.spec().name == protocol)
        .unwrap();
    served.routes.clone()
}

fn tests(route: &Route) -> Vec<String> {
    route
        .matches
        .iter()
        .map(|test| {
            let not = if test.negate { "not " } else { "" };
            format!("{} {not}{}", test.name, test.matcher)
        })
        .collect()
}

fn targets(route: &Route) -> Vec<(&str, u32)> {
    route
        .clusters
        .iter()
        .map(|target| (target.cluster.as_str(), target.weight))
        .collect()
}

fn endpoints(config: &Config, cluster: &str) -> Vec<String> {
    let at = config.cluster_index(cluster).unwrap();
    config.clusters()[at]
        .endpoints
        .iter()
        .map(|endpoint| endpoint.address.to_string())
        .collect()
}

#[test]
fn dubbo_routes_by_method_to_subsets() {
    let config = clean("dubbo");
    let routes = routes(&config, 20880, "dubbo");
    assert_eq!(tests(&routes[0]), ["method starts with `find`"]);
    let old = "outbound|20880|old|com.example.shop.orderservice";
    let new = "outbound|20880|new|com.example.shop.orderservice";
    assert_eq!(targets(&routes[0]), [(new, 1)]);
    assert_eq!(
        routes[0].mutation.request,
        [Change::Set("canary".into(), Template::text("yes"))]
    );
    assert_eq!(targets(&routes[1]), [(old, 90), (new, 10)]);
    assert_eq!(routes[1].timeout, Some(Duration::from_secs(60)));
    assert_eq!(endpoints(&config, old), ["127.0.0.1:21001"]);
    assert_eq!(endpoints(&config, new), ["127.0.0.1:21002"]);
    let balancing = |name| &config.clusters()[config.cluster_index(name).unwrap()].balancing;
    assert_eq!(*balancing(old), Balancing::LeastRequest);
    assert!(matches!(balancing(new), Balancing::RingHash { keys, .. } if keys == &["method"]));
}

#[test]
fn thrift_by_virtual_service() {
    let config = clean("thrift");
    let listener = &config.listeners()[0];
    assert_eq!(listener.name, "maths/edge@127.0.0.1:9090");
    let routes = routes(&config, 9090, "thrift");
    assert_eq!(tests(&routes[0]), ["method is `add`"]);
    assert_eq!(
        tests(&routes[1]),
        [
            "method matches `sum|total`",
            "header.tenant is `blue`",
            "header.debug not is present"
        ]
    );
    assert_eq!(routes[1].timeout, Some(Duration::from_millis(1500)));
    assert_eq!(
        routes[1].mutation.request,
        [Change::Set("header.via".into(), Template::text("mesh"))]
    );
    assert!(routes[2].matches.is_empty());
    let fast = "outbound|9090|fast|calculator.maths.svc.cluster.local";
    let all = "outbound|9090||calculator.maths.svc.cluster.local";
    assert_eq!(targets(&routes[0]), [(fast, 1)]);
    assert_eq!(targets(&routes[2]), [(all, 1)]);
    assert_eq!(endpoints(&config, fast), ["10.0.0.1:9091"]);
    assert_eq!(endpoints(&config, all), ["10.0.0.1:9091", "[::1]:9091"]);
    let cluster = &config.clusters()[config.cluster_index(fast).unwrap()];
    assert_eq!(cluster.balancing, Balancing::Random);
    let limits = cluster.limits;
    assert_eq!(
        (limits.connections, limits.pending, limits.requests),
        (7, 8, 9)
    );
    assert_eq!(cluster.connect_timeout, Duration::from_secs(1));
    assert_eq!(cluster.idle_timeout, Duration::from_secs(60));
    let endpoint = &cluster.endpoints[0];
    assert_eq!((endpoint.weight, endpoint.locality.zone.as_str()), (3, "a"));
    let whole = &config.clusters()[config.cluster_index(all).unwrap()];
    assert_eq!(whole.balancing, Balancing::RoundRobin);
}

#[test]
fn redis_by_the_longest_prefix_behind_a_password() {
    let config = clean("redis");
    let listener = &config.listeners()[0];
    // The fake shows by this that it was guarded.
    assert!(listener.served[0].protocol.spec().heartbeat);
    let routes = routes(&config, 6379, "redis");
    let found: Vec<Vec<String>> = routes.iter().map(tests).collect();
    assert_eq!(
        found,
        [
            vec!["key starts with `user:vip:`".to_owned()],
            vec!["key starts with `user:`".to_owned()],
            vec![]
        ]
    );
    let store = "outbound|6380||store.data.svc.cluster.local";
    assert_eq!(targets(&routes[0]), [(store, 1)]);
    assert_eq!(targets(&routes[2]), [(store, 1)]);
    assert_eq!(
        endpoints(&config, store),
        ["store.data.svc.cluster.local:6380"]
    );
    let cluster = &config.clusters()[config.cluster_index(store).unwrap()];
    assert_eq!(cluster.login.preamble(), b"AUTH app opensesame");
    assert_eq!(cluster.limits.connections, 5);
    let cache = "outbound|6379||cache.data.svc.cluster.local";
    assert_eq!(endpoints(&config, cache), ["127.0.0.1:7001"]);
}

#[test]
fn our_own_kinds_say_more() {
    let config = clean("gateway");
    let routes_there = routes(&config, 9090, "thrift");
    assert_eq!(
        tests(&routes_there[0]),
        [
            "method not ends with `Async`",
            "header.shard is in 0..8",
            "header.tenant is present",
            "header.debug not is present",
            "header.any is present"
        ]
    );
    assert_eq!(routes_there[0].timeout, None);
    assert_eq!(
        routes_there[0].mutation.request,
        [
            Change::Set("header.via".into(), Template::text("edge")),
            Change::Add("header.hop".into(), Template::text("1")),
            Change::Remove("header.cookie".into()),
        ]
    );
    let cluster = &config.clusters()[0];
    assert_eq!(cluster.sharing, Some(Sharing::Multiplexed));
    assert_eq!(cluster.keepalive, Duration::ZERO);
    assert_eq!(cluster.limits.shared_connections, 4);
    let outlier = cluster.outlier.unwrap();
    assert_eq!((outlier.consecutive, outlier.consecutive_gateway), (0, 4));
    assert!(cluster.health.is_some() && cluster.warmup.is_some());
    let reads = config.listeners()[0].served[0].authorization.as_ref();
    assert_eq!(
        reads.unwrap().allow[0].name,
        "AuthorizationPolicy edge/readers"
    );
    let drops = routes_there[0].authorization.as_ref();
    assert_eq!(
        drops.unwrap().deny[0].name,
        "AuthorizationPolicy maths/maths"
    );
    let limits = &config.listeners()[0].limits;
    assert_eq!((limits.codec.frame, limits.in_flight), (1 << 20, 64));
    assert_eq!(limits.slow_frame, Duration::from_secs(5));
    // The detecting listener serves what attaches to it, and keeps the default limits.
    let auto = &config.listeners()[1];
    assert_eq!(auto.served.len(), 1);
    assert_eq!(auto.served[0].protocol.spec().name, "thrift");
    assert_eq!(auto.limits.in_flight, 1024);
}

#[test]
fn protocols_may_be_declared_and_renamed() {
    let config = clean("custom");
    let route = &routes(&config, 4000, "boxes")[0];
    assert_eq!(targets(route), [("outbound|4000||boxes", 1)]);
    let route = &routes(&config, 4001, "dubbo")[0];
    assert_eq!(targets(route), [("outbound|4001||boxes", 1)]);
}

#[test]
fn rules_of_every_kind_load_together() {
    let config = clean("rules");
    let route = &routes(&config, 20990, "dubbo")[0];
    assert_eq!((route.faults.len(), route.mirrors.len()), (1, 1));
    assert_eq!(
        (route.local_limits.len(), route.global_limits.len()),
        (2, 1)
    );
    assert_eq!(route.retry.attempts, 3);
    let listener = &config.listeners()[0];
    assert_eq!(listener.served[0].local_limits.len(), 1);
    assert_eq!(listener.served[0].global_limits.len(), 1);
    assert_eq!(routes(&config, 6399, "redis")[0].faults.len(), 2);
}

#[test]
fn folders_load_recursively_and_dumps_load_again() {
    let outcome = example(".");
    assert_eq!(outcome.config.unwrap().listeners().len(), 10);
    assert!(outcome.sources.len() >= 6);
    for folder in ["dubbo", "thrift", "gateway", "custom", "rules"] {
        let outcome = example(folder);
        let text = dump(&outcome.resources);
        let again = load_str("dump.yaml", &text, &builtins());
        let problems: Vec<String> = again.problems.iter().map(ToString::to_string).collect();
        assert!(problems.is_empty(), "{problems:#?}");
        assert_eq!(text, dump(&again.resources), "{folder}");
        let before = format!("{:?}", outcome.config.unwrap().clusters().len());
        assert_eq!(
            before,
            format!("{:?}", again.config.unwrap().clusters().len())
        );
    }
}

#[test]
fn dumps_hold_no_secret() {
    let text = dump(&example("redis").resources);
    assert!(text.contains("<redacted>"));
    for secret in ["opensesame", "c2VzYW1lCg", "sesame"] {
        assert!(!text.contains(secret), "{text}");
    }
}
