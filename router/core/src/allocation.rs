//! Tests that the request path allocates no memory in the steady state.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use meltemi_config::{
    Abort, Authorization, Balancing, Bucket, Clause, Cluster, FaultRule, IpBlock, LocalLimit,
    LocalLimits, Locality, Matcher, Mirror, Origin, Policy, PolicyRule, Share, Subject,
    Undetermined, ValueMatch, WholeRegex,
};
use meltemi_frame::{Fault, Reason, Status};

use crate::fixture::{Seen, config, exact, message, route, served, target, test};
use crate::{
    Access, Balancer, Fifo, HealthStatus, Host, LimitStore, Order, Peer, Pending, PickRequest,
    Table,
};

const ROUNDS: u64 = 100;

/// Runs `step` until its memory has grown to its final size, and then counts allocations.
fn steady(mut step: impl FnMut(u64)) {
    (0..ROUNDS).for_each(&mut step);
    let counted = measure(|| (ROUNDS..2 * ROUNDS).for_each(&mut step));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn routing_a_request_allocates_nothing() {
    let mut routes: Vec<_> = (0..100)
        .map(|n| {
            let service = format!("s{n}");
            let name = format!("r{n}");
            route(
                &name,
                vec![exact("service", &service), exact("header.a", "x")],
            )
        })
        .collect();
    let pattern = WholeRegex::new("(get|find).*").unwrap();
    routes.push(route(
        "reads",
        vec![test("method", Matcher::Regex(pattern))],
    ));
    if let Some(last) = routes.last_mut() {
        last.clusters = vec![target("a", 1), target("c", 3)];
    }
    let config = config(routes.clone());
    let table = Table::compile(&served(routes), &config, &LimitStore::new(0));
    let call = message(&[("service", "x"), ("method", "findAll"), ("header.a", "x")]);
    let source: IpAddr = [10, 0, 0, 1].into();
    steady(|round| {
        let route = &table.routes()[table.find(&call).unwrap()];
        let cluster = route.choose(round << 57);
        assert_eq!(route.hash(cluster, &call, source).is_some(), cluster == 2);
    });
}

fn bucket() -> Bucket {
    Bucket {
        size: 3,
        fill: 7,
        interval: Duration::from_millis(1),
    }
}

fn local(per: &[&str]) -> Arc<LocalLimits> {
    let rule = LocalLimit {
        matches: vec![exact("method", "buy")],
        per: per.iter().map(|&name| name.to_owned()).collect(),
        values: 16,
        bucket: bucket(),
        origin: Origin::default(),
    };
    Arc::new(LocalLimits {
        name: format!("per {per:?}"),
        rules: vec![rule],
        origin: Origin::default(),
    })
}

/// Policies that use every kind of test.
fn authorization() -> Arc<Authorization> {
    let clause = |subject, values| Clause {
        subject,
        values,
        not: false,
    };
    let many = |prefix: &str| {
        let value = |n| ValueMatch::Exact(format!("{prefix}{n}"));
        (0..100).map(value).collect::<Vec<_>>()
    };
    let block = ValueMatch::Block(IpBlock::parse("10.0.0.0/8").unwrap());
    let rule = PolicyRule {
        from: vec![vec![
            clause(Subject::SourceIp, vec![block]),
            clause(
                Subject::RemoteIp,
                vec![ValueMatch::Prefix("10.".to_owned())],
            ),
            clause(Subject::Namespace, many("ns")),
            clause(Subject::DestinationPort, many("8")),
        ]],
        to: vec![vec![clause(
            Subject::Attribute("method".to_owned()),
            vec![ValueMatch::Exact("buy".to_owned())],
        )]],
        when: vec![clause(
            Subject::Attribute("header.a".to_owned()),
            vec![ValueMatch::Suffix("x".to_owned())],
        )],
    };
    let policy = |rules: Vec<PolicyRule>| Policy {
        name: "policy".to_owned(),
        rules,
        undetermined: Undetermined::Deny,
        origin: Origin::default(),
    };
    Arc::new(Authorization {
        deny: vec![policy(vec![])],
        allow: vec![policy(vec![rule.clone()])],
        audit: vec![policy(vec![rule])],
    })
}

#[test]
fn deciding_by_every_rule_allocates_nothing() {
    let mut ruled = route("ruled", vec![]);
    ruled.retry.on = vec![Fault::Reset];
    ruled.retry.statuses = vec![exact("result", "BUSY")];
    ruled.faults = vec![FaultRule {
        matches: vec![exact("method", "buy")],
        delay: Some((Duration::from_millis(1), Share::millionths(500_000))),
        abort: Some(Abort {
            reason: Reason::Internal,
            text: "on purpose".to_owned(),
            share: Share::millionths(500_000),
        }),
        origin: Origin::default(),
    }];
    ruled.mirrors = vec![Mirror {
        cluster: "c".to_owned(),
        share: Share::millionths(500_000),
        writes_only: true,
        compare: true,
        origin: Origin::default(),
    }];
    ruled.authorization = Some(authorization());
    ruled.local_limits = vec![local(&[]), local(&["header.a"]), local(&["source.ip"])];
    let config = config(vec![ruled.clone()]);
    let table = Table::compile(&served(vec![ruled]), &config, &LimitStore::new(0));
    let rules = &table.routes()[0].rules;
    let extras = rules.extras().unwrap();
    let policies = extras.policies.as_ref().unwrap();
    let call = message(&[("method", "buy"), ("header.a", "x")]);
    let response = message(&[("result", "BUSY")]);
    let source = SocketAddr::from(([10, 0, 0, 1], 9));
    let principal = "spiffe://td/ns/ns7/sa/web".into();
    let peer = Peer::new(source, source.ip(), 80, Some(principal));
    let mut passed = 0;
    steady(|round| {
        let authorizer = policies.authorization().unwrap();
        assert_eq!(authorizer.decide(&call, &peer), Access::Allowed);
        assert_eq!(authorizer.audits(&call, &peer).count(), 1);
        for limiter in policies.local() {
            // More clients than buckets.
            let client = IpAddr::from([10, 0, 0, (round % 40) as u8]);
            passed += u64::from(limiter.take(&call, client, round * 100));
        }
        let mut random = || round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let faults = extras.faults.as_ref().unwrap();
        let drawn = faults.draw(&call, &mut random);
        let mirrors = extras.mirrors.as_ref().unwrap();
        let copies = mirrors.draw(&call.head, &mut random).count();
        assert_eq!(drawn.abort.is_some(), copies > 0);
        assert!(!rules.retry.keeps(&call.head));
        let failed = Status::Failed(Fault::Application);
        assert!(rules.retry.fails(failed, &response).is_some());
    });
    assert!(passed > ROUNDS);
}

#[test]
fn picking_an_endpoint_allocates_nothing() {
    let keys = vec!["k".to_owned()];
    for balancing in [
        Balancing::RoundRobin,
        Balancing::LeastRequest,
        Balancing::Random,
        Balancing::RingHash {
            keys: keys.clone(),
            minimum_ring_size: 64,
        },
        Balancing::Maglev {
            keys,
            table_size: 101,
        },
    ] {
        for layered in [false, true] {
            let mut cluster = Cluster::new("c", Vec::new());
            cluster.balancing = balancing.clone();
            let near = Locality {
                region: "near".to_owned(),
                ..Locality::default()
            };
            let any = Locality::default();
            if layered {
                cluster.panic = Share::percent(50.0);
                cluster.localities.shares = vec![(near.clone(), 3), (any.clone(), 1)];
            }
            let members: Vec<Host<'_>> = (1..=8)
                .map(|at| Host {
                    weight: at % 4 + 1,
                    key: at.into(),
                    priority: u32::from(layered && at > 4),
                    locality: if at % 2 == 0 { &near } else { &any },
                })
                .collect();
            let mut balancer = Balancer::new(&cluster, &members);
            steady(|round| {
                let mut random = || round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let fitness = |at: usize| match at as u64 {
                    at if at == round % 4 => HealthStatus::Unhealthy,
                    at if at == round % 3 => HealthStatus::Degraded,
                    _ => HealthStatus::Healthy,
                };
                let seen = Seen {
                    fitness: &fitness,
                    load: &|_| 1,
                };
                let ask = PickRequest {
                    hash: Some(round << 57),
                    now_us: round * 10_000,
                    tried: (round % 2 == 0).then_some(&|at| at == 2),
                    ..PickRequest::default()
                };
                assert!(balancer.pick(&ask, &mut random, &seen).is_some());
            });
        }
    }
}

#[test]
fn correlating_a_reply_allocates_nothing() {
    let (mut pending, mut fifo) = (Pending::new(32), Fifo::new());
    steady(|round| {
        let id = pending.insert(round, 1000).unwrap();
        fifo.push(round, 1000);
        assert_eq!(pending.remove(id), Some(round));
        assert!(fifo.pop().is_some());
    });
}

#[test]
fn replies_in_their_turn_allocate_nothing() {
    let mut order: Order<Vec<u8>> = Order::new();
    steady(|_| {
        let [a, b] = [order.push(), order.push()];
        assert!(order.is_turn(a) && !order.finish(a));
        assert!(order.is_turn(b) && !order.finish(b));
    });
}
