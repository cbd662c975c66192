//! What rules of routes and listeners become: retries, faults, mirrors, changes, limits, sampling.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is a failed test"
)]

mod common;
#[path = "common/mesh.rs"]
mod mesh;

use std::sync::Arc;
use std::time::Duration;

use common::load_text;
use meltemi_config::{
    AttributeMatch, Bucket, Change, Config, Descriptor, DescriptorEntry, DescriptorValue, Matcher,
    Retry, Route, Share, Template,
};
use meltemi_frame::{Fault, Reason};
use mesh::{clean, document, routes, with};

const MS: Duration = Duration::from_millis(1);
const DUBBO: &str = "{destination: {host: shop}}";

fn exact(name: &str, value: &str) -> AttributeMatch {
    AttributeMatch {
        name: name.to_owned(),
        matcher: Matcher::Exact(value.to_owned()),
        negate: false,
    }
}

/// The route of a MetaRouter of Dubbo with these fields, which start on line 8.
fn own(fields: &str) -> (Config, Route) {
    let text = format!("  hosts: [shop]\n  routes:\n  - route: [{DUBBO}]\n{fields}");
    only(&document("MetaRouter", &text))
}

fn virtual_service(fields: &str) -> (Config, Route) {
    let text = format!("  hosts: [shop]\n  http:\n  - route: [{DUBBO}]\n{fields}");
    only(&document("VirtualService", &text))
}

fn only(text: &str) -> (Config, Route) {
    let config = clean(with(text));
    let route = routes(&config, 20880).remove(0);
    (config, route)
}

#[test]
fn the_mesh_itself_is_in_order() {
    let config = clean(load_text(mesh::MESH));
    let route = &routes(&config, 20880)[0];
    assert_eq!(route.retry, Retry::default());
    // Nothing is kept that nothing is sent to.
    assert_eq!(config.clusters().len(), 3);
}

#[test]
fn retries_of_our_own() {
    let (_, route) = own("
    timeout: 2s
    retries:
      attempts: 4
      perTryTimeout: 500ms
      on: [timeout, reset]
      statuses:
      - attributes: {status: {regex: '3.'}}
      - attributes: {status: {exact: '80'}}
      resend: true
      backoff: {base: 10ms, max: 40ms}
      elsewhere: false
");
    assert_eq!(route.timeout, Some(2000 * MS));
    let retry = route.retry;
    assert_eq!(retry.attempts, 4);
    assert_eq!(retry.per_try_timeout, Some(500 * MS));
    assert_eq!(retry.on, [Fault::Reset, Fault::Timeout]);
    assert_eq!(retry.statuses.len(), 2);
    assert_eq!(retry.statuses[1], exact("status", "80"));
    assert!(retry.resend && !retry.elsewhere);
    assert_eq!((retry.backoff, retry.longest_backoff), (10 * MS, 40 * MS));
}

#[test]
fn retries_that_are_half_written_keep_their_defaults() {
    let (_, route) = own("    retries: {attempts: 0}\n");
    assert_eq!(route.retry.attempts, 0);
    let (_, route) = own("    retries: {backoff: {base: 7ms}}\n");
    let expected = Retry {
        backoff: 7 * MS,
        longest_backoff: 70 * MS,
        ..Retry::default()
    };
    assert_eq!(route.retry, expected);
}

#[test]
fn every_fault_that_can_be_written_is_one() {
    let names = [
        "no_route",
        "no_endpoint",
        "connect",
        "reset",
        "timeout",
        "overload",
        "rate_limited",
        "draining",
        "bad_response",
        "application",
        "server",
    ];
    let (_, route) = own(&format!("    retries: {{on: [{}]}}\n", names.join(", ")));
    let got: Vec<&str> = route.retry.on.iter().map(|fault| fault.name()).collect();
    assert_eq!(got, names);
}

#[test]
fn retries_of_istio() {
    let (_, route) = virtual_service(
        "    retries: {attempts: 3, perTryTimeout: 1s, retryOn: 'reset, deadline-exceeded,connect-failure,503', \
         backoff: 5ms, retryIgnorePreviousHosts: false}\n",
    );
    let retry = route.retry;
    assert_eq!(retry.attempts, 3);
    assert_eq!(retry.per_try_timeout, Some(1000 * MS));
    assert_eq!((retry.backoff, retry.longest_backoff), (5 * MS, 50 * MS));
    assert!(!retry.elsewhere && !retry.resend);
    let expected = [
        Fault::Reset,
        Fault::Timeout,
        Fault::NoEndpoint,
        Fault::Connect,
        Fault::Overload,
        Fault::Draining,
    ];
    assert_eq!(retry.on, expected);
    // The protocol has a status, and the number may be one of its own.
    assert_eq!(retry.statuses, [exact("status", "503")]);
}

#[test]
fn words_of_istio_are_faults() {
    let cases: &[(&str, &[Fault], usize)] = &[
        (
            "connect-failure,refused-stream,cancelled,retriable-status-codes",
            &[],
            0,
        ),
        ("reset-before-request,http3-post-connect-failure", &[], 0),
        ("internal", &[Fault::Server], 0),
        (
            "resource-exhausted",
            &[Fault::Overload, Fault::RateLimited],
            0,
        ),
        ("envoy-ratelimited", &[Fault::RateLimited], 0),
        ("429", &[Fault::Overload, Fault::RateLimited], 1),
        (
            "500,502,504",
            &[Fault::Server, Fault::BadResponse, Fault::Timeout],
            3,
        ),
        ("30", &[], 1),
    ];
    for (words, expected, statuses) in cases {
        let (_, route) = virtual_service(&format!("    retries: {{retryOn: '{words}'}}\n"));
        assert_eq!(route.retry.on, *expected, "{words}");
        assert_eq!(route.retry.statuses.len(), *statuses, "{words}");
    }
    let on = |words: &str| {
        let (_, route) = virtual_service(&format!("    retries: {{retryOn: {words}}}\n"));
        route.retry.on
    };
    let gateway = on("gateway-error");
    let unavailable = on("unavailable");
    assert!(gateway.contains(&Fault::Reset) && gateway.contains(&Fault::Timeout));
    assert!(gateway.contains(&Fault::Overload) && !gateway.contains(&Fault::Server));
    assert!(unavailable.contains(&Fault::Reset) && !unavailable.contains(&Fault::Timeout));
    let all = on("5xx");
    assert!(gateway.iter().all(|fault| all.contains(fault)));
    // An exception that the application declares is an answer.
    assert!(all.contains(&Fault::Server) && !all.contains(&Fault::Application));
}

#[test]
fn faults_of_our_own() {
    let (_, route) = own("
    faults:
    - match: {attributes: {method: {exact: slow}}}
      delay: {duration: 20ms, percentage: {value: 12.5}}
    - delay: {duration: 1s}
      abort: {reason: bad_request, message: no, percentage: {value: 1}}
    - abort: {reason: not_found}
");
    let [slow, both, gone] = route.faults.as_slice() else {
        panic!("{:?}", route.faults)
    };
    assert_eq!(slow.matches, [exact("method", "slow")]);
    assert_eq!(slow.delay, Some((20 * MS, Share::percent(12.5))));
    assert_eq!(slow.abort, None);
    assert_eq!(both.delay, Some((1000 * MS, Share::ALL)));
    let abort = both.abort.as_ref().unwrap();
    assert_eq!((abort.reason, &*abort.text), (Reason::BadRequest, "no"));
    assert_eq!(abort.share, Share::percent(1.0));
    let abort = gone.abort.as_ref().unwrap();
    let expected = (Reason::NotFound, "injected fault: not found", Share::ALL);
    assert_eq!((abort.reason, &*abort.text, abort.share), expected);
}

#[test]
fn faults_of_istio() {
    let abort = |fault: &str| {
        let (_, route) = virtual_service(&format!("    fault: {{abort: {fault}}}\n"));
        route.faults[0].abort.clone().unwrap()
    };
    for (number, reason) in [
        (400, Reason::BadRequest),
        (403, Reason::Denied),
        (404, Reason::NotFound),
        (408, Reason::Timeout),
        (418, Reason::BadRequest),
        (429, Reason::Overloaded),
        (500, Reason::Internal),
        (503, Reason::Unavailable),
        (504, Reason::Timeout),
        (600, Reason::Internal),
    ] {
        let abort = abort(&format!(
            "{{httpStatus: {number}, percentage: {{value: 50}}}}"
        ));
        assert_eq!(abort.reason, reason, "{number}");
        assert_eq!(abort.text, format!("injected fault: HTTP status {number}"));
        assert_eq!(abort.share, Share::percent(50.0));
    }
    for (status, reason) in [
        ("UNAVAILABLE", Reason::Unavailable),
        ("'14'", Reason::Unavailable),
        ("permission_denied", Reason::Denied),
        ("4", Reason::Timeout),
    ] {
        let abort = abort(&format!("{{grpcStatus: {status}, percent: 5}}"));
        assert_eq!(abort.reason, reason, "{status}");
        assert_eq!(abort.share, Share::percent(5.0));
    }
    let (_, route) = virtual_service("    fault: {delay: {fixedDelay: 3s}}\n");
    assert_eq!(route.faults[0].delay, Some((3000 * MS, Share::ALL)));
    assert_eq!(route.faults[0].abort, None);
}

#[test]
fn faults_of_redis_are_for_commands() {
    let faults = "
  faults:
  - {type: DELAY, delay: 5ms, percentage: {value: 10}, commands: [GET, set]}
  - {type: ERROR}
";
    let whole = format!("  host: [cache]\n{faults}");
    let routed = format!(
        "{whole}  redis:\n  - {{match: {{key: {{prefix: a}}}}, route: {{host: cache}}}}\n  - {{route: {{host: cache}}}}\n"
    );
    for (text, count) in [(whole, 1), (routed, 2)] {
        let config = clean(with(&document("RedisService", &text)));
        let routes = routes(&config, 6379);
        assert_eq!(routes.len(), count);
        for route in routes {
            let [get, set, error] = route.faults.as_slice() else {
                panic!("{:?}", route.faults)
            };
            assert_eq!(get.matches, [exact("command", "get")]);
            assert_eq!(set.matches, [exact("command", "set")]);
            assert_eq!(set.delay, Some((5 * MS, Share::percent(10.0))));
            assert!(get.abort.is_none() && error.delay.is_none());
            let spared: Vec<(bool, String)> = error
                .matches
                .iter()
                .map(|test| (test.negate, test.matcher.to_string()))
                .collect();
            assert_eq!(
                spared,
                [
                    (true, "is `auth`".to_owned()),
                    (true, "is `ping`".to_owned())
                ]
            );
            let abort = error.abort.as_ref().unwrap();
            assert_eq!(abort.text, "Fault Injected: Error");
            assert_eq!(abort.share, Share::ALL);
        }
    }
}

#[test]
fn mirrors_are_clusters_that_are_kept() {
    let copy = "outbound|20881||copy.example";
    let aeraki = format!(
        "  hosts: [shop]\n  routes:\n  - route: [{DUBBO}]\n    mirror: {{host: copy.example}}\n    mirrorPercentage: {{value: 50.0}}\n"
    );
    let istio = |fields: &str| virtual_service(fields);
    for ((config, route), shares) in [
        (only(&document("Aeraki/MetaRouter", &aeraki)), vec![50.0]),
        (istio("    mirror: {host: copy.example}\n"), vec![100.0]),
        (
            istio("    mirror: {host: copy.example}\n    mirror_percent: 7\n"),
            vec![7.0],
        ),
        (
            istio(
                "    mirrors:\n    - {destination: {host: copy.example}, percentage: {value: 0.01}}\n    - destination: {host: copy.example}\n",
            ),
            vec![0.01, 100.0],
        ),
    ] {
        let got: Vec<Share> = route.mirrors.iter().map(|mirror| mirror.share).collect();
        let expected: Vec<Share> = shares.into_iter().map(Share::percent).collect();
        assert_eq!(got, expected);
        for mirror in &route.mirrors {
            assert_eq!(mirror.cluster, copy);
            assert!(!mirror.writes_only && !mirror.compare);
        }
        let cluster = &config.clusters()[config.cluster_index(copy).unwrap()];
        assert_eq!(cluster.endpoints[0].address.to_string(), "127.0.0.2:20881");
    }
}

#[test]
fn mirrors_of_our_own_and_of_redis() {
    let (_, route) = own("
    mirror: {host: copy.example}
    mirrors:
    - destination: {host: copy.example, port: {number: 20881}}
      percentage: {value: 25}
      writesOnly: true
      compare: true
");
    assert_eq!(route.mirrors.len(), 2);
    let mirror = &route.mirrors[1];
    assert!(mirror.writes_only && mirror.compare);
    assert_eq!(mirror.share, Share::percent(25.0));
    let redis = "  host: [cache]\n  redis:\n  - route: {host: cache}\n    mirror:\n    - route: {host: copy.example}\n      percentage: {value: 3}\n      excludeReadCommands: true\n";
    let config = clean(with(&document("RedisService", redis)));
    let mirrors = &routes(&config, 6379)[0].mirrors;
    assert_eq!(mirrors.len(), 1);
    assert_eq!(mirrors[0].cluster, "outbound|6380||copy.example");
    assert_eq!(mirrors[0].share, Share::percent(3.0));
    assert!(mirrors[0].writes_only);
    assert!(
        config
            .cluster_index("outbound|6380||copy.example")
            .is_some()
    );
}

#[test]
fn values_of_changes_are_made_of_attributes_but_in_aerakis_kind() {
    let value = "%method%/%DOWNSTREAM_REMOTE_ADDRESS% 100%%";
    let changes = format!("    requestMutation: [{{key: a, value: '{value}'}}]\n");
    let parsed = [Change::Set("a".to_owned(), Template::parse(value).unwrap())];
    let (_, route) = own(&changes);
    assert_eq!(route.mutation.request, parsed);
    let (_, route) = own(&format!("    requestMutation: {{set: {{a: '{value}'}}}}\n"));
    assert_eq!(route.mutation.request, parsed);
    let (_, route) = virtual_service(&format!(
        "    headers: {{request: {{set: {{a: '{value}'}}}}}}\n"
    ));
    assert_eq!(route.mutation.request, parsed);
    // A percent sign of Aeraki's is one, even if it is alone.
    for text in [value, "50% off"] {
        let aeraki = format!(
            "  hosts: [shop]\n  routes:\n  - route: [{DUBBO}]\n    requestMutation: [{{key: a, value: '{text}'}}]\n"
        );
        let (_, route) = only(&document("Aeraki/MetaRouter", &aeraki));
        let expected = Change::Set("a".to_owned(), Template::text(text));
        assert_eq!(route.mutation.request, [expected]);
    }
}

const LIMITS: &str = "
  localRateLimit:
    tokenBucket: {maxTokens: 5, tokensPerFill: 5, fillInterval: 60s}
    conditions:
    - match: {attributes: {method: {exact: sayHello}}}
      tokenBucket: {maxTokens: 2, fillInterval: 1s}
";

#[test]
fn local_limits_are_shared_by_all_routes_of_a_router() {
    let named = format!(
        "  hosts: [shop]\n  routes:\n  - {{match: {{attributes: {{a: {{exact: b}}}}}}, route: [{DUBBO}]}}\n  - route: [{DUBBO}]\n"
    );
    for (kind, whole) in [
        ("Aeraki/MetaRouter", false),
        ("MetaRouter", false),
        ("Aeraki/MetaRouter", true),
    ] {
        let head = if whole { "  hosts: [shop]\n" } else { &named };
        let config = clean(with(&document(kind, &format!("{head}{LIMITS}"))));
        let routes = routes(&config, 20880);
        assert_eq!(routes.len(), if whole { 1 } else { 2 });
        let limits = &routes[0].local_limits[0];
        assert!(
            routes
                .iter()
                .all(|route| Arc::ptr_eq(&route.local_limits[0], limits))
        );
        assert_eq!(limits.name, "MetaRouter default/x");
        let bucket = |size, fill, seconds| Bucket {
            size,
            fill,
            interval: Duration::from_secs(seconds),
        };
        // Conditions come first, and the bucket of the rest last.
        assert_eq!(limits.rules[0].matches, [exact("method", "sayHello")]);
        assert_eq!(limits.rules[0].bucket, bucket(2, 1, 1));
        assert!(limits.rules[1].matches.is_empty() && limits.rules[1].per.is_empty());
        assert_eq!(limits.rules[1].bucket, bucket(5, 5, 60));
    }
}

#[test]
fn limits_of_routes_count_by_value_and_stand_behind_those_of_the_router() {
    let bucket = "tokenBucket: {maxTokens: 1, fillInterval: 1s}";
    let text = format!(
        "  hosts: [shop]\n  localRateLimit: {{tokenBucket: {{maxTokens: 2, fillInterval: 1s}}}}\n  routes:\n  - name: one\n    match: {{attributes: {{a: {{exact: b}}}}}}\n    route: [{DUBBO}]\n    \
         localRateLimit: {{{bucket}, per: [source.ip, user], values: 9}}\n  - route: [{DUBBO}]\n    localRateLimit: {{conditions: [{{{bucket}, per: [method]}}]}}\n"
    );
    let config = clean(with(&document("MetaRouter", &text)));
    let routes = routes(&config, 20880);
    let names = |route: &Route| -> Vec<String> {
        let limits = route.local_limits.iter();
        limits.map(|limits| limits.name.clone()).collect()
    };
    let all = "MetaRouter default/x";
    assert_eq!(names(&routes[0]), [all, "MetaRouter default/x one"]);
    assert_eq!(names(&routes[1]), [all, "MetaRouter default/x routes[1]"]);
    let rule = &routes[0].local_limits[1].rules[0];
    assert_eq!(rule.per, ["source.ip", "user"]);
    assert_eq!(rule.values, 9);
    let rule = &routes[1].local_limits[1].rules[0];
    assert_eq!(
        (rule.per.as_slice(), rule.values),
        (&["method".to_owned()][..], 1024)
    );
}

#[test]
fn listeners_have_limits_of_their_own() {
    let policy = |name: &str, port: &str, tokens: u32, more: &str| {
        format!(
            "apiVersion: meltemi.io/v1alpha1\nkind: ListenerPolicy\nmetadata: {{name: {name}}}\nspec:\n  gateway: local\n{port}  \
             localRateLimit: {{tokenBucket: {{maxTokens: {tokens}, fillInterval: 1s}}, per: [source.ip]}}\n{more}"
        )
    };
    let global = "  globalRateLimit: {domain: d, rateLimitService: {host: limits.example, port: {number: 8081}}, descriptors: [[{key: k, value: v}]]}\n";
    let config = clean(with(&format!(
        "{}---\n{}",
        // The more special counts, whichever comes first.
        policy(
            "dubbo",
            "  port: 20880\n",
            7,
            "  tracing: {sampling: 2.5}\n"
        ),
        policy(
            "all",
            "",
            3,
            &format!("  tracing: {{sampling: 50}}\n{global}")
        ),
    )));
    let mut found: Vec<(String, u32, Share)> = Vec::new();
    for listener in config.listeners() {
        let served = &listener.served[0];
        assert_eq!(served.local_limits.len(), 1);
        assert_eq!(served.global_limits[0].name, "ListenerPolicy default/all");
        let limits = &served.local_limits[0];
        found.push((
            limits.name.clone(),
            limits.rules[0].bucket.size,
            listener.sampling,
        ));
    }
    let half = Share::percent(50.0);
    let expected = [
        (
            "ListenerPolicy default/dubbo default/local:20880",
            7,
            Share::percent(2.5),
        ),
        ("ListenerPolicy default/all default/local:9090", 3, half),
        ("ListenerPolicy default/all default/local:6379", 3, half),
    ];
    let expected = expected.map(|(name, size, share)| (name.to_owned(), size, share));
    assert_eq!(found, expected);
    assert!(
        config
            .cluster_index("outbound|8081||limits.example")
            .is_some()
    );
}

fn attribute(key: &str, name: &str) -> DescriptorEntry {
    DescriptorEntry {
        key: key.to_owned(),
        value: DescriptorValue::Attribute(name.to_owned()),
    }
}

#[test]
fn global_limits_of_aeraki_tell_each_attribute_by_itself() {
    let text = "
  hosts: [shop]
  globalRateLimit:
    domain: production
    match: {attributes: {method: {exact: sayHello}}}
    rateLimitService: outbound|8081||limits.example
    requestTimeout: 30ms
    denyOnFail: true
    descriptors:
    - {property: method, descriptorKey: m}
    - {property: source.ip, descriptorKey: ip}
";
    let two = format!(
        "{text}  routes:\n  - {{match: {{attributes: {{a: {{exact: b}}}}}}, route: [{DUBBO}]}}\n  - route: [{DUBBO}]\n"
    );
    let config = clean(with(&document("Aeraki/MetaRouter", &two)));
    let routes = routes(&config, 20880);
    let shared = |route: &Route| Arc::clone(&route.global_limits[0]);
    assert!(Arc::ptr_eq(&shared(&routes[0]), &shared(&routes[1])));
    for kind in ["Aeraki/MetaRouter", "MetaRouter"] {
        let (config, route) = only(&document(kind, text));
        let limit = &route.global_limits[0];
        assert_eq!(limit.name, "MetaRouter default/x");
        assert_eq!(limit.domain, "production");
        assert_eq!(limit.matches, [exact("method", "sayHello")]);
        assert_eq!((limit.timeout, limit.deny_on_failure), (30 * MS, true));
        let one = |entry| Descriptor {
            entries: vec![entry],
        };
        assert_eq!(
            limit.descriptors,
            [
                one(attribute("m", "method")),
                one(attribute("ip", "source.ip"))
            ]
        );
        let at = config.cluster_index(&limit.cluster).unwrap();
        let cluster = &config.clusters()[at];
        assert_eq!(cluster.name, "outbound|8081||limits.example");
        assert_eq!(cluster.endpoints[0].address.to_string(), "127.0.0.3:8081");
        assert!(cluster.protocol.is_none());
    }
}

#[test]
fn global_limits_of_our_own_have_several_entries() {
    let (_, route) = only(&document(
        "MetaRouter",
        "
  hosts: [shop]
  globalRateLimit:
    domain: d
    rateLimitService: {host: limits.example, port: {number: 8081}}
    descriptors:
    - - {key: service, value: shop}
      - {key: method, attribute: method}
    - {property: user, descriptorKey: user}
",
    ));
    let limit = &route.global_limits[0];
    // Without a match every request is asked about.
    assert!(limit.matches.is_empty());
    assert_eq!((limit.timeout, limit.deny_on_failure), (100 * MS, false));
    let text = DescriptorEntry {
        key: "service".to_owned(),
        value: DescriptorValue::Text("shop".to_owned()),
    };
    assert_eq!(
        limit.descriptors[0].entries,
        [text, attribute("method", "method")]
    );
    assert_eq!(limit.descriptors[1].entries, [attribute("user", "user")]);
}

#[test]
fn the_caller_s_timeout_is_looked_for_where_that_is_said() {
    let (_, usual) = own("");
    let (_, route) = own("    callerTimeout: true\n");
    assert!(route.caller_timeout && !usual.caller_timeout);
    let looked_for = |policies: &str| {
        let config = clean(with(policies));
        [20880, 9090].map(|port| routes(&config, port).iter().all(|one| one.caller_timeout))
    };
    let whole = document(
        "ListenerPolicy",
        "  gateway: local\n  callerTimeout: true\n",
    );
    assert_eq!(looked_for(&whole), [true, true]);
    // What is said of a port goes before what is said of all.
    let port = document(
        "ListenerPolicy",
        "  gateway: local\n  port: 9090\n  callerTimeout: false\n",
    );
    let port = port.replace("{name: x}", "{name: y}");
    assert_eq!(looked_for(&format!("{whole}---\n{port}")), [true, false]);
}
