//! What a decision tells, over routes and policies made for the purpose. It knows no configuration files.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meltemi_config::{
    Abort, Authorization, Bucket, Change, Cluster, Descriptor, DescriptorEntry, DescriptorValue,
    FaultRule, GlobalLimit, HealthCheck, Listener, LocalLimit, LocalLimits, Mirror, Mutation,
    Origin, Outlier, Policy, PolicyRule, Probe, Retry, Route, Share, Template, Undetermined,
    Warmup,
};
use meltemi_frame::{Fault, Reason};

use super::*;
use crate::{LimitStore, fixture};

fn peer() -> Peer {
    let source: SocketAddr = ([10, 0, 0, 9], 4000).into();
    Peer::new(source, source.ip(), 80, None)
}

fn split() -> Route {
    let mut split = fixture::route("users", vec![fixture::exact("service", "users")]);
    split.clusters = vec![fixture::target("a", 9), fixture::target("c", 1)];
    split
}

fn decide_by(served: &Served, config: &Config, attributes: &[(&str, &str)]) -> Decision {
    let table = Table::compile(served, config, &LimitStore::new(0));
    let message = fixture::message(attributes);
    Decision::new(served, &table, config, &message, &peer())
}

fn decide(attributes: &[(&str, &str)]) -> Decision {
    let routes = vec![split()];
    let config = fixture::config(routes.clone());
    decide_by(&fixture::served(routes), &config, attributes)
}

#[test]
fn a_decision_tells_where_a_message_may_go() {
    let decision = decide(&[("service", "users"), ("method", "a")]);
    assert_eq!(
        decision.to_string(),
        "\
protocol test
route 0 `users`: yes
retry up to 2 times, elsewhere, after 25ms up to 250ms; not once sent
cluster a weight 9, least request
  10.0.0.1:80 weight 1
  10.0.0.2:80 weight 1
cluster c weight 1, ring hash, hash d24ec4f1a98c6e5b
  10.0.0.1:80 weight 1
  10.0.0.2:80 weight 1
"
    );
}

#[test]
fn a_decision_asks_the_policies_of_destinations() {
    let denies = Authorization {
        deny: vec![Policy {
            name: "no".to_owned(),
            rules: vec![PolicyRule::default()],
            undetermined: Undetermined::default(),
            origin: Origin::default(),
        }],
        ..Authorization::default()
    };
    let guarded = |own: Option<Arc<Authorization>>| {
        let route = Route {
            authorization: own,
            mirrors: vec![Mirror {
                cluster: "b".to_owned(),
                share: Share::ALL,
                writes_only: false,
                compare: false,
                origin: Origin::default(),
            }],
            ..split()
        };
        let config = fixture::config(vec![route.clone()]);
        let clusters = config.clusters().iter().map(|cluster| {
            let mut cluster = Cluster::clone(cluster);
            if cluster.name != "a" {
                let policies = Arc::new(denies.clone());
                cluster.authorization.insert("test".to_owned(), policies);
            }
            cluster
        });
        let clusters = clusters.collect();
        let listeners = config.listeners().iter();
        let listeners = listeners.map(|one| Listener::clone(one)).collect();
        let config = Config::new(listeners, clusters).unwrap();
        let attributes = [("service", "users"), ("method", "a")];
        decide_by(&fixture::served(vec![route]), &config, &attributes)
    };
    let access = |decision: &Decision| -> Vec<Option<bool>> {
        let clusters = decision.clusters.iter().map(|one| one.access.as_ref());
        let mirrors = &decision.plan.as_ref().unwrap().mirrors;
        let mirrors = mirrors.iter().map(|one| one.access.as_ref());
        let all = clusters.chain(mirrors);
        all.map(|access| access.map(|access| access.allowed))
            .collect()
    };
    // Of the clusters a and c and the copy to b.
    let decision = guarded(None);
    assert_eq!(access(&decision), [None, Some(false), Some(false)]);
    assert!(decision.to_string().contains("\n  access denied by `no`"));
    // What the route asks already is not asked again.
    let decision = guarded(Some(Arc::new(denies.clone())));
    assert_eq!(access(&decision), [None, None, None]);
}

#[test]
fn a_decision_tells_that_nothing_matches() {
    let decision = decide(&[]);
    assert_eq!(
        decision.to_string(),
        "\
protocol test
route 0 `users`: no: `service` should be: is `users`; it is absent
no route matches
"
    );
    assert!(decision.route.is_none() && decision.clusters.is_empty());
}

fn policies(names: &[&str]) -> Vec<Policy> {
    let policy = |name: &&str| Policy {
        name: format!("AuthorizationPolicy default/{name}"),
        rules: vec![PolicyRule::default()],
        undetermined: Undetermined::Deny,
        origin: Origin::default(),
    };
    names.iter().map(policy).collect()
}

fn limits(name: &str, per: &[&str]) -> Arc<LocalLimits> {
    let rule = |method: &str, per: &[&str]| LocalLimit {
        matches: vec![fixture::exact("method", method)],
        per: per.iter().map(|&name| name.to_owned()).collect(),
        values: 10,
        bucket: Bucket {
            size: 10,
            fill: 5,
            interval: Duration::from_secs(1),
        },
        origin: Origin::default(),
    };
    Arc::new(LocalLimits {
        name: name.to_owned(),
        rules: vec![rule("other", &[]), rule("buy", per)],
        origin: Origin::default(),
    })
}

fn service() -> Arc<GlobalLimit> {
    let entry = |key: &str, value| DescriptorEntry {
        key: key.to_owned(),
        value,
    };
    Arc::new(GlobalLimit {
        name: "quota".to_owned(),
        matches: vec![],
        domain: "shop".to_owned(),
        descriptors: vec![Descriptor {
            entries: vec![
                entry("m", DescriptorValue::Attribute("method".to_owned())),
                entry("ip", DescriptorValue::Attribute("source.ip".to_owned())),
            ],
        }],
        cluster: "b".to_owned(),
        timeout: Duration::from_millis(20),
        deny_on_failure: true,
        origin: Origin::default(),
    })
}

/// A route on which every rule is.
fn ruled() -> Route {
    let mut route = split();
    route.clusters.truncate(1);
    route.timeout = Some(Duration::from_secs(3));
    route.caller_timeout = true;
    route.retry.on = vec![Fault::Reset, Fault::Timeout];
    route.retry.statuses = vec![fixture::exact("result", "BUSY")];
    route.retry.per_try_timeout = Some(Duration::from_millis(500));
    route.retry.resend = true;
    let share = Share::millionths;
    route.faults = vec![
        FaultRule {
            matches: vec![],
            delay: Some((Duration::from_millis(100), share(125_000))),
            abort: Some(Abort {
                reason: Reason::Unavailable,
                text: "on purpose".to_owned(),
                share: share(50_000),
            }),
            origin: Origin::default(),
        },
        FaultRule {
            matches: vec![fixture::exact("method", "other")],
            delay: Some((Duration::from_millis(1), Share::ALL)),
            abort: None,
            origin: Origin::default(),
        },
    ];
    route.mirrors = vec![Mirror {
        cluster: "b".to_owned(),
        share: share(500_000),
        writes_only: false,
        compare: true,
        origin: Origin::default(),
    }];
    let template = Template::parse("%method%!").unwrap();
    route.mutation = Mutation {
        request: vec![Change::Set("header.a".to_owned(), template)],
        response: vec![Change::Remove("header.b".to_owned())],
    };
    route.authorization = Some(Arc::new(Authorization {
        allow: policies(&["web"]),
        audit: policies(&["all"]),
        ..Authorization::default()
    }));
    route.local_limits = vec![limits("route", &["source.ip", "method"])];
    route.global_limits = vec![service()];
    route
}

#[test]
fn a_decision_tells_everything_that_is_asked_and_done() {
    let routes = vec![ruled()];
    let mut served = fixture::served(routes.clone());
    served.authorization = Some(Arc::new(Authorization {
        deny: policies(&["nobody"]),
        ..Authorization::default()
    }));
    served.local_limits = vec![limits("listener", &[])];
    let plain = fixture::config(routes);
    let mut clusters: Vec<_> = plain
        .clusters()
        .iter()
        .map(|cluster| (**cluster).clone())
        .collect();
    let cluster = &mut clusters[0];
    cluster.endpoints[1].priority = 1;
    cluster.endpoints[1].locality.region = "north".to_owned();
    cluster.endpoints[1].locality.zone = "n1".to_owned();
    cluster.localities.shares = vec![(cluster.endpoints[1].locality.clone(), 80)];
    cluster.health = Some(HealthCheck {
        probe: Probe::Heartbeat,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        unhealthy: 3,
        healthy: 2,
        session: Default::default(),
    });
    cluster.outlier = Some(Outlier::default());
    cluster.panic = Share::millionths(500_000);
    cluster.warmup = Some(Warmup {
        duration: Duration::from_secs(60),
        minimum: Share::millionths(100_000),
        aggression: 1000,
    });
    let config = Config::new(vec![], clusters).unwrap();
    let decision = decide_by(&served, &config, &[("service", "users"), ("method", "buy")]);
    assert_eq!(
        decision.to_string(),
        "\
protocol test
access denied by `AuthorizationPolicy default/nobody`; what follows is for requests that may
limit `listener` rule 1: 10 tokens, 5 more in 1s
route 0 `users`: yes
timeout 3s, or the caller's if shorter
retry up to 2 times, elsewhere, after 25ms up to 250ms, 500ms for each try; once sent, on reset, \
timeout, `result` is `BUSY`
access allowed by `AuthorizationPolicy default/web`
audited by `AuthorizationPolicy default/all`
limit `route` rule 1: 10 tokens, 5 more in 1s, for each source.ip and method
limit `quota` of b, domain shop: (m=buy, ip=10.0.0.9); refused without an answer in 20ms
fault delays 12.5% by 100ms, answers 5% with unavailable: on purpose
request sets header.a to `%method%!`
response removes header.b
mirror 50% to b, compared
cluster a weight 9, least request
  health check by a heartbeat every 10s, answered in 1s; unfit after 3 failures, fit after 2 successes
  left alone after 5 failures in a row for 30s up to 300s, at most 10% of the endpoints
  all count as fit if less than 50% are
  a new endpoint starts with 10% and warms up in 60s
  locality north/n1 share 80
  10.0.0.1:80 weight 1
  10.0.0.2:80 weight 1, priority 1, in north/n1
"
    );
}

#[test]
fn a_decision_tells_what_is_sent_again() {
    let told = |retry: Retry| {
        let mut route = split();
        route.retry = retry;
        let config = fixture::config(vec![route.clone()]);
        let decision = decide_by(
            &fixture::served(vec![route]),
            &config,
            &[("service", "users")],
        );
        decision.plan.unwrap().retry.to_string()
    };
    let none = Retry {
        attempts: 0,
        ..Retry::default()
    };
    assert_eq!(told(none), "retry never");
    let careful = Retry {
        on: vec![Fault::Reset],
        elsewhere: false,
        ..Retry::default()
    };
    assert_eq!(
        told(careful),
        "retry up to 2 times, after 25ms up to 250ms; once sent, on reset, if twice is known to do \
         no harm, which it is not of this one"
    );
}

#[test]
fn a_decision_tells_that_no_policy_allows_it() {
    let mut served = fixture::served(vec![]);
    served.authorization = Some(Arc::new(Authorization {
        allow: vec![Policy {
            rules: vec![],
            ..policies(&["none"]).remove(0)
        }],
        ..Authorization::default()
    }));
    let told = decide_by(&served, &fixture::config(vec![]), &[]).to_string();
    assert!(
        told.contains("access denied: no policy allows it"),
        "{told}"
    );
}

#[cfg(feature = "serde")]
#[test]
fn a_decision_is_serialised_field_by_field() {
    let told = serde_json::to_value(decide(&[("service", "shop")])).unwrap();
    let asked = serde_json::json!({"access": null, "local_limits": [], "global_limits": []});
    assert_eq!(
        told,
        serde_json::json!({
            "protocol": "test",
            "asked": asked,
            "verdicts": [{
                "position": 0,
                "route": "users",
                "failed": {"attribute": "service", "demand": "is `users`", "seen": ["shop"]},
            }],
            "route": null,
            "route_asked": asked,
            "plan": null,
            "clusters": [],
        })
    );
}

#[cfg(feature = "serde")]
#[test]
fn rules_are_serialised_too() {
    let routes = vec![ruled()];
    let config = fixture::config(routes.clone());
    let attributes = [("service", "users"), ("method", "buy")];
    let decision = decide_by(&fixture::served(routes), &config, &attributes);
    let told = serde_json::to_value(decision).unwrap();
    let service = &told["route_asked"]["global_limits"][0];
    assert_eq!(
        service["descriptors"],
        serde_json::json!([[["m", "buy"], ["ip", "10.0.0.9"]]])
    );
    assert_eq!(told["route_asked"]["access"]["allowed"], true);
    assert_eq!(told["plan"]["faults"][0]["delay_percent"], 12.5);
    assert_eq!(told["plan"]["retry"]["resends"], true);
    assert_eq!(told["clusters"][0]["endpoints"][0]["priority"], 0);
}
