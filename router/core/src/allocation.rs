//! Tests that the path of a request allocates nothing in the steady state.

use std::net::IpAddr;

use allocation_counter::measure;
use meltemi_config::{Balancing, Cluster, Locality, Matcher, Share, WholeRegex};

use crate::fixture::{Seen, config, exact, message, route, served, target, test};
use crate::{Ask, Balancer, Fifo, Fitness, LimitStore, Member, Order, Pending, Table};

const ROUNDS: u64 = 100;

/// Runs `step` until its memory has grown to what it needs, and then counts.
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
    let table = Table::compile(&served(routes), &config, &LimitStore::default());
    let call = message(&[("service", "x"), ("method", "findAll"), ("header.a", "x")]);
    let source: IpAddr = [10, 0, 0, 1].into();
    steady(|round| {
        let route = &table.routes()[table.find(&call).unwrap()];
        let cluster = route.choose(round << 57);
        assert_eq!(route.hash(cluster, &call, source).is_some(), cluster == 2);
    });
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
            let members: Vec<Member<'_>> = (1..=8)
                .map(|at| Member {
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
                    at if at == round % 4 => Fitness::Unfit,
                    at if at == round % 3 => Fitness::Doubtful,
                    _ => Fitness::Fit,
                };
                let seen = Seen {
                    fitness: &fitness,
                    load: &|_| 1,
                };
                let ask = Ask {
                    hash: Some(round << 57),
                    now_us: round * 10_000,
                    tried: (round % 2 == 0).then_some(&|at| at == 2),
                    ..Ask::default()
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
