//! Which endpoints are fit, how near they are, and what is refused of that.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

mod common;

use std::time::Duration;

use common::{builtins, load_text};
use meltemi_config::{
    Cluster, HealthCheck, Locality, Outlier, Probe, RetryBudget, Severity, Share, SuccessRate,
    Warmup,
};
use meltemi_controller::{Outcome, load_str};

/// A thrift service `shop` on port 1, whose endpoints stand in many places; this program stands in
/// eu/a/1.
const MESH: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g}
spec: {servers: [{port: {number: 1, name: tcp-thrift}}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop]
  ports: [{number: 1, name: tcp-thrift}]
  resolution: STATIC
  endpoints:
  - {address: 10.0.0.1, locality: eu/a/1, labels: {version: v1}}
  - {address: 10.0.0.2, locality: eu/a/2, labels: {version: v1}}
  - {address: 10.0.0.3, locality: eu/b/1, labels: {version: v2}, weight: 3}
  - {address: 10.0.0.4, locality: us/a/1, labels: {version: v2}}
  - {address: 10.0.0.5, locality: asia/a/1, labels: {version: v3}}
---
";
/// Lines before a document's own.
const BEFORE: usize = 19;

/// A rule for the host whose trafficPolicy is this, which stands on line 6 of the document.
fn rule(policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r}}\nspec:\n  host: shop\n  trafficPolicy: {policy}\n"
    )
}

/// A policy for the host with these fields, from line 6 of the document on.
fn own(fields: &str) -> String {
    format!(
        "apiVersion: meltemi.io/v1alpha1\nkind: DestinationPolicy\nmetadata: {{name: p}}\nspec:\n  host: shop\n  {fields}\n"
    )
}

fn with(document: &str) -> Outcome {
    load_text(&format!("{MESH}{document}"))
}

#[track_caller]
fn cluster_of(outcome: &Outcome, subset: &str) -> Cluster {
    let config = outcome.config.as_ref();
    let config = config.unwrap_or_else(|| panic!("{:?}", outcome.problems));
    let at = config.cluster_index(&format!("outbound|1|{subset}|shop"));
    let at = at.unwrap_or_else(|| panic!("{:?}", config.clusters()));
    Cluster::clone(&config.clusters()[at])
}

#[track_caller]
fn cluster(document: &str) -> Cluster {
    let outcome = with(document);
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    cluster_of(&outcome, "")
}

/// `last part of the address: priority`.
fn priorities(cluster: &Cluster) -> Vec<(String, u32)> {
    let endpoints = cluster.endpoints.iter();
    endpoints
        .map(|one| {
            (
                one.address.to_string().replace(":1", "").split_off(7),
                one.priority,
            )
        })
        .collect()
}

fn pairs(pairs: &[(&str, u32)]) -> Vec<(String, u32)> {
    pairs
        .iter()
        .map(|(text, number)| ((*text).to_owned(), *number))
        .collect()
}

#[test]
fn nothing_is_watched_unless_it_is_written() {
    let plain = cluster("");
    assert_eq!(
        (plain.outlier, plain.health, plain.warmup),
        (None, None, None)
    );
    assert_eq!(plain.panic, Share::NONE);
    assert_eq!(plain.budget, RetryBudget::default());
    assert_eq!(plain.protocol.unwrap().spec().name, "thrift");
    assert!(plain.endpoints.iter().all(|one| one.priority == 0));
    assert!(plain.localities.shares.is_empty());
    let third = &plain.endpoints[2];
    assert_eq!(
        (third.weight, third.locality.to_string().as_str()),
        (3, "eu/b/1")
    );
}

#[test]
fn workloads_have_a_locality_and_a_weight() {
    let workload = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: w}\n\
                    spec: {address: 10.0.0.9, labels: {app: shop}, locality: us/b/2, weight: 7}\n";
    let (before, _) = MESH.split_once("  endpoints:").unwrap();
    let chosen = format!(
        "{before}  workloadSelector: {{labels: {{app: shop}}}}\n---\n{workload}---\n{}",
        rule("{loadBalancer: {localityLbSetting: {distribute: [{from: eu/*, to: {us/b: 100}}]}}}")
    );
    let outcome = load_text(&chosen);
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    let found = cluster_of(&outcome, "");
    assert_eq!(found.endpoints[0].weight, 7);
    let locality = Locality::parse("us/b/2");
    assert_eq!(found.endpoints[0].locality, locality);
    assert_eq!(found.localities.shares, [(locality, 1_000_000)]);
}

#[test]
fn outlier_detection_is_istio_s() {
    let usual = Outlier::default();
    let cases: &[(&str, Outlier, u32)] = &[
        ("{}", usual, 0),
        (
            "{consecutive5xxErrors: 0, consecutiveGatewayErrors: 4, interval: 2s, baseEjectionTime: 400s, \
             maxEjectionPercent: 50, minHealthPercent: 30}",
            Outlier {
                consecutive: 0,
                consecutive_gateway: 4,
                interval: Duration::from_secs(2),
                ejection: Duration::from_secs(400),
                longest: Duration::from_secs(400),
                most: Share::percent(50.0),
                success_rate: None,
            },
            30,
        ),
        (
            "{consecutiveErrors: 3, maxEjectionPercent: 0}",
            Outlier {
                consecutive: 0,
                consecutive_gateway: 3,
                ..usual
            },
            0,
        ),
        (
            "{splitExternalLocalOriginErrors: true}",
            Outlier {
                consecutive_gateway: 5,
                ..usual
            },
            0,
        ),
        (
            "{splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 7, consecutiveGatewayErrors: 9}",
            Outlier {
                consecutive_gateway: 7,
                ..usual
            },
            0,
        ),
    ];
    for (written, outlier, panic) in cases {
        let found = cluster(&rule(&format!("{{outlierDetection: {written}}}")));
        assert_eq!(found.outlier, Some(*outlier), "{written}");
        assert_eq!(found.panic, Share::percent(f64::from(*panic)), "{written}");
    }
}

#[test]
fn limits_budgets_and_warm_up() {
    let found = cluster(&rule(
        "{connectionPool: {http: {maxRetries: 7, http2MaxRequests: 9}}, retryBudget: {percent: 12.5}, \
         loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 20s, aggression: 1.5}}}",
    ));
    assert_eq!((found.limits.retries, found.limits.requests), (7, 9));
    assert_eq!(
        found.budget,
        RetryBudget {
            share: Share::percent(12.5),
            least: 3
        }
    );
    let warmup = Warmup {
        duration: Duration::from_secs(20),
        minimum: Share::percent(10.0),
        aggression: 1500,
    };
    assert_eq!(found.warmup, Some(warmup));
    let old = cluster(&rule(
        "{loadBalancer: {simple: ROUND_ROBIN, warmupDurationSecs: 20s}}",
    ));
    assert_eq!(
        old.warmup,
        Some(Warmup {
            aggression: 1000,
            ..warmup
        })
    );
    let zero = cluster(&rule("{connectionPool: {http: {maxRetries: 0}}}"));
    assert_eq!(zero.limits.retries, 1024);
}

/// A router to the subset v1, and a rule whose subset has this policy.
fn subset(base: &str, over: &str) -> String {
    format!(
        "{}  subsets: [{{name: v1, labels: {{version: v1}}, trafficPolicy: {over}}}]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\n\
         spec: {{hosts: [shop], http: [{{route: [{{destination: {{host: shop, subset: v1}}}}]}}]}}\n",
        rule(base)
    )
}

#[test]
fn subsets_and_ports_inherit_block_by_block() {
    let base = "{outlierDetection: {interval: 1s}, retryBudget: {percent: 50}, loadBalancer: {warmupDurationSecs: 9s}}";
    let found = cluster_of(
        &with(&subset(base, "{connectionPool: {http: {maxRetries: 3}}}")),
        "v1",
    );
    assert_eq!(
        found.outlier.map(|one| one.interval),
        Some(Duration::from_secs(1))
    );
    assert_eq!(found.budget.share, Share::percent(50.0));
    assert!(found.warmup.is_some());
    assert_eq!(found.limits.retries, 3);
    // A block replaces a block whole: the warm-up goes with the rest of it.
    let over = "{outlierDetection: {}, retryBudget: {}, loadBalancer: {simple: RANDOM}}";
    let found = cluster_of(&with(&subset(base, over)), "v1");
    assert_eq!(found.outlier, Some(Outlier::default()));
    assert_eq!((found.budget, found.warmup), (RetryBudget::default(), None));
    // A port's entry replaces everything but the retry budget, which it cannot have.
    let port = "{outlierDetection: {}, retryBudget: {percent: 50}, \
                portLevelSettings: [{port: {number: 1}, loadBalancer: {simple: RANDOM}}]}";
    let found = cluster(&rule(port));
    assert_eq!(
        (found.outlier, found.budget.share),
        (None, Share::percent(50.0))
    );
    let found = cluster_of(
        &with(&subset(
            base,
            "{portLevelSettings: [{port: {number: 1}, outlierDetection: {interval: 3s}}]}",
        )),
        "v1",
    );
    assert_eq!(
        found.outlier.map(|one| one.interval),
        Some(Duration::from_secs(3))
    );
    assert_eq!(
        (found.warmup, found.budget.share),
        (None, Share::percent(50.0))
    );
}

#[test]
fn near_endpoints_go_before_far_ones_where_outliers_are_detected() {
    let found = cluster(&rule("{outlierDetection: {}}"));
    assert_eq!(
        priorities(&found),
        pairs(&[("1", 0), ("2", 1), ("3", 2), ("4", 3), ("5", 3)])
    );
    let off = "{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}}";
    assert!(
        cluster(&rule(off))
            .endpoints
            .iter()
            .all(|one| one.priority == 0)
    );
    // So does a probe of ours.
    assert_eq!(cluster(&own("healthCheck: {}")).endpoints[4].priority, 3);
    // Who does not know where it stands treats all alike.
    let mut nowhere = builtins();
    nowhere.locality = Locality::default();
    let text = format!("{MESH}{}", rule("{outlierDetection: {}}"));
    let outcome = load_str("mesh.yaml", &text, &nowhere);
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    assert!(
        cluster_of(&outcome, "")
            .endpoints
            .iter()
            .all(|one| one.priority == 0)
    );
}

#[test]
fn failover_says_what_stands_in() {
    let setting = |setting: &str| {
        rule(&format!(
            "{{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {{{setting}}}}}}}"
        ))
    };
    let found = cluster(&setting(
        "failover: [{from: us, to: asia}, {from: eu, to: asia}]",
    ));
    assert_eq!(
        priorities(&found),
        pairs(&[("1", 0), ("2", 1), ("3", 2), ("4", 4), ("5", 3)])
    );
    let found = cluster(&setting(
        "failoverPriority: [version=v2, topology.kubernetes.io/region]",
    ));
    assert_eq!(
        priorities(&found),
        pairs(&[("1", 2), ("2", 2), ("3", 0), ("4", 1), ("5", 2)])
    );
    let found = cluster(&setting(
        "failoverPriority: [version=v2], failover: [{from: eu, to: asia}]",
    ));
    assert_eq!(
        priorities(&found),
        pairs(&[("1", 2), ("2", 3), ("3", 0), ("4", 1), ("5", 4)])
    );
}

#[test]
fn localities_share_as_it_is_written() {
    let distribute = |entries: &str| {
        rule(&format!(
            "{{loadBalancer: {{localityLbSetting: {{distribute: [{entries}]}}}}}}"
        ))
    };
    let found = cluster(&distribute(
        "{from: us/*, to: {us: 100}}, {from: 'eu/a/*', to: {'eu/a/*': 60, eu/b: 30, us/a/1: 10}}",
    ));
    let shares: Vec<(String, u32)> = found
        .localities
        .shares
        .iter()
        .map(|(locality, share)| (locality.to_string(), *share))
        .collect();
    assert_eq!(
        shares,
        pairs(&[
            ("eu/a/1", 300_000),
            ("eu/a/2", 300_000),
            ("eu/b/1", 300_000),
            ("us/a/1", 100_000)
        ])
    );
    assert_eq!(found.endpoints.len(), 4, "who is not listed gets nothing");
    // What is meant together is split by weight.
    let found = cluster(&distribute("{from: '*', to: {'eu/*': 100}}"));
    let shares: Vec<u32> = found
        .localities
        .shares
        .iter()
        .map(|(_, share)| *share)
        .collect();
    assert_eq!(shares, [200_000, 200_000, 600_000]);
    // An entry for elsewhere changes nothing.
    let found = cluster(&distribute("{from: us, to: {us: 100}}"));
    assert!(found.localities.shares.is_empty() && found.endpoints.len() == 5);
}

#[test]
fn our_own_policy_goes_before_the_rule() {
    let both = rule(
        "{outlierDetection: {consecutive5xxErrors: 7, interval: 9s, minHealthPercent: 40}, retryBudget: {percent: 30}}",
    ) + "---\n"
        + &own(
            "outlier: {consecutiveGatewayErrors: 4, maxEjectionTime: 60s, maxEjectionPercent: 0.5, \
             successRate: {stdevFactor: 1.5}}\n  panicThreshold: 12.5\n  retryBudget: {minRetryConcurrency: 9}\n  \
             warmup: {duration: 5s, minimumPercent: 20}\n  limits: {retries: 0}\n  \
             healthCheck: {probe: {call: ping}, interval: 5s, timeout: 250ms, unhealthyThreshold: 4, healthyThreshold: 1}",
        );
    let found = cluster(&both);
    assert_eq!(
        found.outlier,
        Some(Outlier {
            consecutive: 7,
            consecutive_gateway: 4,
            interval: Duration::from_secs(9),
            longest: Duration::from_secs(60),
            most: Share::millionths(5000),
            success_rate: Some(SuccessRate {
                hosts: 5,
                requests: 100,
                deviation: 1500
            }),
            ..Outlier::default()
        })
    );
    assert_eq!(found.panic, Share::percent(12.5));
    assert_eq!(
        found.budget,
        RetryBudget {
            least: 9,
            ..RetryBudget::default()
        }
    );
    assert_eq!(
        found.warmup.map(|one| one.minimum),
        Some(Share::percent(20.0))
    );
    assert_eq!(found.limits.retries, 0);
    assert_eq!(
        found.health,
        Some(HealthCheck {
            probe: Probe::Call("ping".to_owned()),
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(250),
            unhealthy: 4,
            healthy: 1,
            session: Default::default(),
        })
    );
    let spoken = |check: &str| cluster(&own(check)).health.unwrap().session.dialect_id();
    assert_eq!(
        spoken("healthCheck: {probe: {call: ping}, dialect: unframed}"),
        7
    );
    assert_eq!(spoken("healthCheck: {probe: {call: ping}}"), 0);
    let usual = cluster(&own("healthCheck: {probe: tcp}")).health.unwrap();
    assert_eq!(
        (usual.probe, usual.unhealthy, usual.healthy),
        (Probe::Tcp, 3, 2)
    );
    assert_eq!(
        (usual.interval, usual.timeout),
        (Duration::from_secs(10), Duration::from_secs(1))
    );
}

#[test]
fn a_subset_without_endpoints_falls_back_where_that_is_said() {
    let route = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n\
                 spec: {hosts: [shop], http: [{route: [{destination: {host: shop, subset: gone}}]}]}\n---\n";
    let mut text = rule("{}") + "  subsets: [{name: gone, labels: {version: v9}}]\n" + route;
    text = text.replace("  trafficPolicy: {}\n", "");
    let cases = [
        ("dnsRefresh: 1s", 0, "every request to it fails"),
        ("subsetFallback: none", 0, "every request to it fails"),
        ("subsetFallback: any", 5, "go to all endpoints"),
        (
            "subsetFallback: {version: v2}",
            2,
            "go to the endpoints of subsetFallback",
        ),
        (
            "subsetFallback: {version: v8}",
            0,
            "none has those of subsetFallback",
        ),
    ];
    for (field, endpoints, remedy) in cases {
        let outcome = with(&(text.clone() + &own(field)));
        assert_eq!(
            cluster_of(&outcome, "gone").endpoints.len(),
            endpoints,
            "{field}"
        );
        let told = outcome
            .warnings()
            .find(|one| one.field.ends_with("destination.subset"));
        let told = told.map_or_else(String::new, ToString::to_string);
        assert!(
            told.contains("no endpoint of shop has the labels") && told.contains(remedy),
            "{told}"
        );
    }
    // A subset that has endpoints has those alone.
    let outcome = with(&(text.replace("v9", "v3") + &own("subsetFallback: any")));
    assert_eq!(cluster_of(&outcome, "gone").endpoints.len(), 1);
}

#[test]
fn what_cannot_be_is_refused_at_its_line() {
    let place = |setting: &str| {
        rule(&format!(
            "{{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {{{setting}}}}}}}"
        ))
    };
    let balancer = "spec.trafficPolicy.loadBalancer";
    let setting = format!("{balancer}.localityLbSetting");
    let detection = "spec.trafficPolicy.outlierDetection";
    let cases: Vec<(String, String, &str)> = vec![
        (
            rule("{outlierDetection: {maxEjectionPercent: 101}}"),
            format!("{detection}.maxEjectionPercent"),
            "from 0 to 100",
        ),
        (
            rule("{outlierDetection: {minHealthPercent: -1}}"),
            format!("{detection}.minHealthPercent"),
            "from 0 to 100",
        ),
        (
            rule("{outlierDetection: {interval: 0s}}"),
            format!("{detection}.interval"),
            "at least 1ms",
        ),
        (
            rule("{outlierDetection: {consecutiveLocalOriginFailures: 1}}"),
            format!("{detection}.consecutiveLocalOriginFailures"),
            "splitExternalLocalOriginErrors: true",
        ),
        (
            rule("{outlierDetection: {consecutiveErrors: 1, consecutive5xxErrors: 1}}"),
            format!("{detection}.consecutiveErrors"),
            "successors",
        ),
        (
            rule("{retryBudget: {percent: 101}}"),
            "spec.trafficPolicy.retryBudget.percent".into(),
            "from 0 to 100",
        ),
        (
            rule("{loadBalancer: {warmup: {}}}"),
            format!("{balancer}.warmup.duration"),
            "is missing",
        ),
        (
            rule("{loadBalancer: {warmup: {duration: 1s, aggression: 0}}}"),
            format!("{balancer}.warmup.aggression"),
            "from 0.001 to 100",
        ),
        (
            rule("{loadBalancer: {warmup: {duration: 1s, minimumPercent: 200}}}"),
            format!("{balancer}.warmup.minimumPercent"),
            "from 0 to 100",
        ),
        (
            rule("{loadBalancer: {warmup: {duration: 1s}, warmupDurationSecs: 1s}}"),
            format!("{balancer}.warmupDurationSecs"),
            "warmup is given",
        ),
        (
            rule("{loadBalancer: {localityLbSetting: {}, zoneAwareLbSetting: {}}}"),
            format!("{balancer}.zoneAwareLbSetting"),
            "localityLbSetting is given",
        ),
        (
            place("distribute: [{from: eu, to: {eu: 100}}], failover: [{from: eu, to: us}]"),
            format!("{setting}.failover"),
            "distribute is given",
        ),
        (
            place("distribute: [{from: eu, to: {eu: 100}}], failoverPriority: [a=b]"),
            format!("{setting}.failoverPriority"),
            "distribute is given",
        ),
        (
            place("distribute: [{from: eu, to: {eu: 80, us: 10}}]"),
            format!("{setting}.distribute[0].to"),
            "sum to 90",
        ),
        (
            place("distribute: [{from: eu, to: {eu: 0, us: 100}}]"),
            format!("{setting}.distribute[0].to.eu"),
            "from 1 to 100",
        ),
        (
            place("distribute: [{from: eu, to: {eu: 50, eu/a: 50}}]"),
            format!("{setting}.distribute[0].to.eu/a"),
            "same locality",
        ),
        (
            place("distribute: [{from: eu, to: {eu: 100}}, {from: eu/a, to: {eu: 100}}]"),
            format!("{setting}.distribute[1].from"),
            "same locality",
        ),
        (
            place("distribute: [{from: '*/a', to: {eu: 100}}]"),
            format!("{setting}.distribute[0].from"),
            "is not a locality",
        ),
        (
            place("distribute: [{from: eu, to: {eu//1: 100}}]"),
            format!("{setting}.distribute[0].to.eu//1"),
            "is not a locality",
        ),
        (
            place("failover: [{from: eu, to: eu}]"),
            format!("{setting}.failover[0].to"),
            "is the region that fails",
        ),
        (
            place("failover: [{from: eu/a, to: us}]"),
            format!("{setting}.failover[0].from"),
            "is not a region",
        ),
        (
            place("failover: [{from: eu, to: us}, {from: eu, to: asia}]"),
            format!("{setting}.failover[1].from"),
            "same region",
        ),
        (
            place(
                "failover: [{from: eu, to: us}], failoverPriority: [topology.kubernetes.io/zone]",
            ),
            format!("{setting}.failoverPriority"),
            "failover is given",
        ),
        (
            own("healthCheck: {probe: udp}"),
            "spec.healthCheck.probe".into(),
            "It can be tcp, heartbeat",
        ),
        (
            own("healthCheck: {probe: {}}"),
            "spec.healthCheck.probe.call".into(),
            "is missing",
        ),
        (
            own("healthCheck: {probe: {call: ''}}"),
            "spec.healthCheck.probe.call".into(),
            "is empty",
        ),
        (
            own("healthCheck: {probe: {call: ping}, dialect: http}"),
            "spec.healthCheck.dialect".into(),
            "thrift has no dialect `http`",
        ),
        (
            own("healthCheck: {dialect: unframed}"),
            "spec.healthCheck.dialect".into(),
            "the probe tcp sends nothing",
        ),
        (
            own("healthCheck: {probe: heartbeat}"),
            "spec.healthCheck.probe".into(),
            "thrift has no heartbeat; use tcp",
        ),
        (
            own("healthCheck: {healthyThreshold: 0}"),
            "spec.healthCheck.healthyThreshold".into(),
            "from 1",
        ),
        (
            own("outlier: {maxEjectionTime: 10s}"),
            "spec.outlier.maxEjectionTime".into(),
            "shorter than baseEjectionTime, which is 30s",
        ),
        (
            own("outlier: {successRate: {stdevFactor: 1900}}"),
            "spec.outlier.successRate.stdevFactor".into(),
            "to 100",
        ),
        (
            own("panicThreshold: 101"),
            "spec.panicThreshold".into(),
            "from 0 to 100",
        ),
        (
            own("subsetFallback: some"),
            "spec.subsetFallback".into(),
            "It can be none, any",
        ),
        (
            own("subsetFallback: [a]"),
            "spec.subsetFallback".into(),
            "one of none, any, or map of texts",
        ),
    ];
    for (document, field, what) in cases {
        expect(&with(&document), Severity::Error, &field, what);
    }
}

#[test]
fn a_protocol_that_makes_no_calls_is_not_asked_to() {
    let call = format!("{MESH}{}", own("healthCheck: {probe: {call: ping}}"));
    let outcome = load_text(&call.replace("tcp-thrift", "tcp-redis"));
    expect(
        &outcome,
        Severity::Error,
        "spec.healthCheck.probe.call",
        "redis cannot make a call of its own; use tcp",
    );
}

#[test]
fn what_comes_to_nothing_is_warned_of() {
    let place = |setting: &str| {
        rule(&format!(
            "{{loadBalancer: {{localityLbSetting: {{{setting}}}}}}}"
        ))
    };
    let setting = "spec.trafficPolicy.loadBalancer.localityLbSetting";
    let failover = place("failover: [{from: eu, to: us}]");
    let field = format!("{setting}.failover");
    expect(
        &with(&failover),
        Severity::Warning,
        &field,
        "without outlierDetection",
    );
    let priority = rule(
        "{outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [rack]}}}",
    );
    let field = format!("{setting}.failoverPriority");
    expect(
        &with(&priority),
        Severity::Warning,
        &field,
        "no label rack; write the value",
    );
    let far = place("distribute: [{from: eu, to: {mars: 100}}]");
    let outcome = with(&far);
    let field = format!("{setting}.distribute[0].to");
    expect(
        &outcome,
        Severity::Warning,
        &field,
        "no endpoint of outbound|1||shop stands in any",
    );
    assert!(cluster_of(&outcome, "").endpoints.is_empty());
    // Where it stands itself is not known.
    let mut nowhere = builtins();
    nowhere.locality = Locality::default();
    let text = format!("{MESH}{}", place("distribute: [{from: eu, to: {eu: 100}}]"));
    let field = format!("{setting}.distribute");
    let outcome = load_str("mesh.yaml", &text, &nowhere);
    expect(
        &outcome,
        Severity::Warning,
        &field,
        "start it with --locality",
    );
}

/// Every document has one line for all that can be wrong with it.
#[track_caller]
fn expect(outcome: &Outcome, severity: Severity, field: &str, what: &str) {
    let found = outcome.problems.iter().any(|problem| {
        problem.severity == severity
            && problem.origin.line == BEFORE + 6
            && problem.field == field
            && problem.to_string().contains(what)
    });
    let all: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(
        found,
        "no {severity:?} at {field} with `{what}`, but {all:#?}"
    );
    assert_eq!(outcome.config.is_none(), severity == Severity::Error);
}
