//! Which routers and services attach to which listener.

#![allow(clippy::panic, reason = "a panic is a failed test")]

mod common;

use common::load_text;
use meltemi_controller::Outcome;

fn gateway(servers: &[(u16, &str, &str)]) -> String {
    let servers: Vec<String> = servers
        .iter()
        .map(|(port, name, hosts)| {
            format!("{{port: {{number: {port}, name: {name}}}, hosts: [{hosts}]}}")
        })
        .collect();
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: g}}\nspec: {{servers: [{}]}}\n",
        servers.join(", ")
    )
}

fn service(host: &str, port: u16, protocol: &str, interface: Option<&str>) -> String {
    let annotations = interface.map_or(String::new(), |interface| {
        format!(", annotations: {{interface: {interface}}}")
    });
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {host}{annotations}}}\n\
         spec: {{hosts: [{host}], resolution: STATIC, endpoints: [{{address: 127.0.0.1}}], \
         ports: [{{number: {port}, name: tcp-{protocol}}}]}}\n"
    )
}

fn router(name: &str, host: &str, gateways: &str) -> String {
    format!(
        "---\napiVersion: metaprotocol.aeraki.io/v1alpha1\nkind: MetaRouter\nmetadata: {{name: {name}}}\n\
         spec: {{hosts: [{host}], gateways: [{gateways}], routes: [{{name: {name}, route: [{{destination: {{host: {host}}}}}]}}]}}\n"
    )
}

/// The routes of every listener: `port protocol: name tests`.
fn routes(outcome: &Outcome) -> Vec<String> {
    let config = outcome
        .config
        .as_ref()
        .unwrap_or_else(|| panic!("{:?}", outcome.problems));
    let mut all = Vec::new();
    for listener in config.listeners() {
        for served in &listener.served {
            let protocol = &served.protocol.spec().name;
            let port = listener.address.port();
            if served.routes.is_empty() {
                all.push(format!("{port} {protocol}:"));
            }
            for route in &served.routes {
                let mut line = format!("{port} {protocol}: {}", route.name);
                for test in &route.matches {
                    line.push_str(&format!(", {} {}", test.name, test.matcher));
                }
                all.push(line);
            }
        }
    }
    all
}

#[test]
fn attaching() {
    let two = || service("a", 1, "dubbo", Some("A")) + &service("b", 1, "dubbo", Some("B"));
    let plain = || service("a", 1, "thrift", None) + &service("b", 2, "thrift", None);
    let cases: Vec<(&str, String, Vec<&str>)> = vec![
        (
            "a router that names the gateway goes before one that names none",
            gateway(&[(1, "thrift", "'*'")])
                + &plain()
                + &router("named", "b", "g")
                + &router("mesh", "a", ""),
            vec!["1 thrift: named"],
        ),
        (
            "routers at the listener's port go before others",
            gateway(&[
                (1, "thrift", "'*'"),
                (2, "thrift", "'*'"),
                (3, "thrift", "'*'"),
            ]) + &plain()
                + &router("ra", "a", "")
                + &router("rb", "b", ""),
            vec![
                "1 thrift: ra",
                "2 thrift: rb",
                "3 thrift: ra",
                "3 thrift: rb",
            ],
        ),
        (
            "services without a router, at the listener's port",
            gateway(&[(2, "thrift", "'*'")]) + &plain(),
            vec!["2 thrift: b"],
        ),
        (
            "the only service that speaks the protocol, at any port",
            gateway(&[(7, "thrift", "'*'")])
                + &service("a", 1, "thrift", None)
                + &service("c", 7, "dubbo", None),
            vec!["7 thrift: a"],
        ),
        (
            "of several at other ports none",
            gateway(&[(7, "thrift", "'*'")]) + &plain(),
            vec!["7 thrift:"],
        ),
        (
            "hosts are told apart by their interface",
            gateway(&[(1, "dubbo", "'*'")]) + &two(),
            vec![
                "1 dubbo: a, interface is `A`",
                "1 dubbo: b, interface is `B`",
            ],
        ),
        (
            "also where only one has a router",
            gateway(&[(1, "dubbo", "'*'")]) + &two() + &router("ra", "a", ""),
            vec![
                "1 dubbo: ra, interface is `A`",
                "1 dubbo: b, interface is `B`",
            ],
        ),
        (
            "also at another port",
            gateway(&[(9, "dubbo", "'*'")]) + &two() + &router("ra", "a", ""),
            vec![
                "9 dubbo: ra, interface is `A`",
                "9 dubbo: b, interface is `B`",
            ],
        ),
        (
            "one host needs no test",
            gateway(&[(1, "dubbo", "'*'")])
                + &service("a", 1, "dubbo", Some("A"))
                + &router("ra", "a", ""),
            vec!["1 dubbo: ra"],
        ),
        (
            "a router that names the gateway exposes its own hosts only",
            gateway(&[(1, "dubbo", "'*'")]) + &two() + &router("ra", "a", "default/g"),
            vec!["1 dubbo: ra"],
        ),
        (
            "hosts of the server",
            gateway(&[
                (1, "thrift", "b"),
                (2, "thrift", "other/b"),
                (3, "thrift", "./a"),
            ]) + &plain()
                + &router("ra", "a", "")
                + &router("rb", "b", ""),
            vec!["1 thrift: rb", "2 thrift:", "3 thrift: ra"],
        ),
        (
            "detection among what is spoken",
            gateway(&[(5, "auto", "'*'")])
                + &service("a", 1, "thrift", None)
                + &service("c", 2, "dubbo", None),
            vec!["5 dubbo: c", "5 thrift: a"],
        ),
        (
            "detection among everything if nobody says",
            gateway(&[(5, "tcp-auto-x", "'*'")]),
            vec!["5 dubbo:", "5 thrift:", "5 redis:"],
        ),
        (
            "a router for a host that is not loaded attaches where it says",
            gateway(&[(1, "thrift", "'*'")]) + &router("r", "gone", "g"),
            vec!["1 thrift: r"],
        ),
    ];
    for (what, text, expected) in cases {
        assert_eq!(routes(&load_text(&text)), expected, "{what}");
    }
}

#[test]
fn matches_that_nothing_can_meet_do_not_widen_a_route() {
    let text = gateway(&[(1, "thrift", "'*'")])
        + &service("a", 1, "thrift", None)
        + "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n\
           spec: {hosts: [a], http: [{match: [{uri: {prefix: /x}}], route: [{destination: {host: a}}]}]}\n";
    let outcome = load_text(&text);
    assert_eq!(routes(&outcome), ["1 thrift:"]);
    assert!(
        outcome
            .warnings()
            .any(|problem| problem.what.contains("never matches: nothing here has uri"))
    );
}

#[test]
fn ports_and_gateways_of_a_match() {
    let text = gateway(&[(1, "thrift", "'*'"), (2, "thrift", "'*'")])
        + &service("a", 9, "thrift", None)
        + "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n\
           spec: {hosts: [a], gateways: [mesh, g], http: [{name: one, match: [{port: 1}], route: [{destination: {host: a}}]}, \
           {name: other, match: [{gateways: [other]}], route: [{destination: {host: a}}]}, \
           {name: both, match: [{gateways: [g]}], route: [{destination: {host: a}}]}]}\n";
    assert_eq!(
        routes(&load_text(&text)),
        ["1 thrift: one", "1 thrift: both", "2 thrift: both"]
    );
}

#[test]
fn two_redis_services_cannot_ask_one_client_for_two_passwords() {
    let redis = |name: &str, password: &str| {
        format!(
            "---\napiVersion: redis.aeraki.io/v1alpha1\nkind: RedisService\nmetadata: {{name: {name}}}\n\
             spec: {{host: [{name}], settings: {{auth: {{plain: {{password: {password}}}}}}}}}\n"
        )
    };
    let services = service("a", 1, "redis", None) + &service("b", 1, "redis", None);
    let text =
        gateway(&[(1, "redis", "'*'")]) + &services + &redis("a", "one") + &redis("b", "two");
    let outcome = load_text(&text);
    assert!(outcome.config.is_none());
    assert!(
        outcome
            .errors()
            .any(|problem| problem.what.contains("other credentials"))
    );
    assert!(
        outcome
            .problems
            .iter()
            .all(|problem| !problem.to_string().contains("two"))
    );
    let apart = gateway(&[(1, "redis", "a"), (2, "redis", "b")])
        + &services
        + &redis("a", "one")
        + &redis("b", "two");
    let config = load_text(&apart).config.unwrap();
    assert!(
        config
            .listeners()
            .iter()
            .all(|listener| listener.served[0].protocol.spec().heartbeat)
    );
}

#[test]
fn several_rules_for_a_host_add_up() {
    let rule = |name: &str, subset: &str, balancer: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}}}\n\
             spec: {{host: a, trafficPolicy: {{loadBalancer: {{simple: {balancer}}}, \
             portLevelSettings: [{{port: {{number: 2}}, connectionPool: {{tcp: {{maxConnections: 3}}}}}}]}}, \
             subsets: [{{name: {subset}, labels: {{}}}}]}}\n"
        )
    };
    let text = gateway(&[(1, "thrift", "'*'")])
        + &service("a", 1, "thrift", None)
        + &rule("z", "s1", "RANDOM")
        + &rule("y", "s2", "ROUND_ROBIN")
        + "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n\
           spec: {hosts: [a], http: [{route: [{destination: {host: a, subset: s1}}, {destination: {host: a, subset: s2}}]}]}\n";
    let config = load_text(&text).config.unwrap();
    for subset in ["s1", "s2"] {
        let at = config
            .cluster_index(&format!("outbound|1|{subset}|a"))
            .unwrap();
        let cluster = &config.clusters()[at];
        assert_eq!(cluster.endpoints.len(), 1);
        // The first by name counts; the settings of another port do not.
        assert_eq!(cluster.balancing, meltemi_config::Balancing::RoundRobin);
        assert_eq!(cluster.limits.connections, 1024);
    }
}
