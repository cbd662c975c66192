//! How the share of a new endpoint grows, by itself and under every method.

use std::cell::Cell;
use std::time::Duration;

use meltemi_config::{Balancing, Cluster, Locality, Share};

use super::*;
use crate::fixture::numbers;
use crate::{Balancer, Endpoints, HealthStatus, Host};

const SECOND: u64 = 1_000_000;

fn warmup(aggression: u32) -> Warmup {
    Warmup {
        duration: Duration::from_secs(100),
        minimum: Share::percent(10.0),
        aggression,
    }
}

#[test]
fn a_share_grows_from_its_minimum_to_the_whole() {
    let portions = |aggression| {
        let warming = Warming::new(&warmup(aggression));
        [0, 5, 25, 50, 99, 100, 1000].map(|age| warming.portion(age * SECOND))
    };
    assert_eq!(portions(1000), [100, 100, 250, 500, 990, 1000, 1000]);
    // Envoy's documentation: with an aggression of 2 the square root.
    assert_eq!(portions(2000), [100, 224, 500, 707, 995, 1000, 1000]);
    assert_eq!(portions(500), [100, 100, 100, 250, 980, 1000, 1000]);
    assert_eq!(portions(0)[5..], [1000, 1000]);
}

/// Endpoints that joined at these times, in seconds, and do not have much to do.
struct Joined([u64; 3]);

impl Endpoints for Joined {
    fn fitness(&self, _: usize) -> HealthStatus {
        HealthStatus::Healthy
    }

    fn load(&self, _: usize) -> u32 {
        0
    }

    fn since_us(&self, at: usize) -> u64 {
        self.0[at] * SECOND
    }
}

fn balancer(balancing: Balancing, weights: [u32; 3], layered: bool) -> Balancer {
    let mut cluster = Cluster::new("c", Vec::new());
    cluster.balancing = balancing;
    cluster.warmup = Some(warmup(1000));
    if layered {
        cluster.panic = Share::percent(10.0);
    }
    let locality = Locality::default();
    let members = weights.map(|weight| Host {
        weight,
        key: weight.into(),
        priority: 0,
        locality: &locality,
    });
    Balancer::new(&cluster, &members)
}

fn counts(
    balancer: &mut Balancer,
    joined: &Joined,
    picks: u64,
    at_us: impl Fn(u64) -> u64,
) -> [f64; 3] {
    let mut random = numbers(1);
    let mut counts = [0.0; 3];
    for n in 0..picks {
        let ask = PickRequest {
            now_us: at_us(n),
            ..PickRequest::default()
        };
        let choice = balancer.pick(&ask, &mut random, joined).unwrap();
        counts[choice.at] += 1.0;
    }
    counts
}

#[track_caller]
fn assert_shares(counts: [f64; 3], weights: [f64; 3], what: &dyn std::fmt::Debug) {
    let (picks, sum) = (counts.iter().sum::<f64>(), weights.iter().sum::<f64>());
    for (count, weight) in counts.iter().zip(weights) {
        let mean = picks * weight / sum;
        let bound = 5.0 * (mean * (1.0 - weight / sum)).sqrt() + 1.0;
        assert!(
            (count - mean).abs() <= bound,
            "{what:?}: {counts:?} are not {weights:?}"
        );
    }
}

const WARMING: [Balancing; 3] = [
    Balancing::RoundRobin,
    Balancing::LeastRequest,
    Balancing::Random,
];

#[test]
fn a_new_endpoint_gets_its_share_over_time() {
    for balancing in WARMING {
        for layered in [false, true] {
            // The last one joins after 1000 s; the weights are such that sums do not fit into 32 bits.
            let unit = 3_000_000;
            let mut balancer = balancer(balancing.clone(), [unit, unit, 2 * unit], layered);
            let joined = Joined([0, 0, 1000]);
            for (after, share) in [
                (0, 0.1),
                (5, 0.1),
                (30, 0.3),
                (60, 0.6),
                (99, 0.99),
                (100, 1.0),
            ] {
                let now = (1000 + after) * SECOND;
                let counts = counts(&mut balancer, &joined, 10_000, |_| now);
                assert_shares(
                    counts,
                    [1.0, 1.0, 2.0 * share],
                    &(&balancing, layered, after),
                );
            }
        }
    }
}

#[test]
fn a_request_now_and_then_is_enough() {
    // One request per step: round robin must not begin its round again with each.
    for balancing in WARMING {
        let mut balancer = balancer(balancing.clone(), [1; 3], false);
        let counts = counts(&mut balancer, &Joined([0, 0, 1000]), 90, |n| {
            (1010 + n) * SECOND
        });
        // The mean of n / (2 + n) over 0.1 to 1, times 90.
        let expected = 90.0 * (0.9 - 2.0 * (3.0_f64 / 2.1).ln()) / 0.9;
        let bound = if balancing == Balancing::RoundRobin {
            2.0
        } else {
            18.0
        };
        assert!(
            (counts[2] - expected).abs() <= bound,
            "{balancing:?}: {counts:?}, {expected}"
        );
    }
}

#[test]
fn if_all_are_new_they_share_as_ever() {
    for balancing in WARMING {
        let mut balancer = balancer(balancing.clone(), [1, 1, 2], false);
        let counts = counts(&mut balancer, &Joined([0; 3]), 10_000, |n| n * 1000);
        assert_shares(counts, [1.0, 1.0, 2.0], &balancing);
    }
}

#[test]
fn who_is_fit_again_warms_up_again() {
    let mut balancer = balancer(Balancing::Random, [1; 3], false);
    let now = 2000 * SECOND;
    let settled = counts(&mut balancer, &Joined([0; 3]), 10_000, |_| now);
    assert_shares(settled, [1.0; 3], &"all warm");
    // The balancer is told by a new epoch, and asks nobody without one.
    let again = Joined([2000, 0, 0]);
    assert_shares(
        counts(&mut balancer, &again, 10_000, |_| now),
        [1.0; 3],
        &"not told",
    );
    let ask = PickRequest {
        now_us: now,
        epoch: 1,
        ..PickRequest::default()
    };
    let mut random = numbers(2);
    let mut counts = [0.0; 3];
    for _ in 0..10_000 {
        counts[balancer.pick(&ask, &mut random, &again).unwrap().at] += 1.0;
    }
    assert_shares(counts, [0.1, 1.0, 1.0], &"told");
}

#[test]
fn who_is_warm_is_not_asked_at_every_pick() {
    struct Counted(Cell<u32>);
    impl Endpoints for Counted {
        fn fitness(&self, _: usize) -> HealthStatus {
            HealthStatus::Healthy
        }
        fn load(&self, _: usize) -> u32 {
            0
        }
        fn since_us(&self, _: usize) -> u64 {
            self.0.set(self.0.get() + 1);
            0
        }
    }
    let mut balancer = balancer(Balancing::Random, [1; 3], false);
    let (mut random, seen) = (numbers(4), Counted(Cell::new(0)));
    let mut asked = |now_us, epoch| {
        seen.0.set(0);
        for _ in 0..100 {
            let ask = PickRequest {
                now_us,
                epoch,
                ..PickRequest::default()
            };
            balancer.pick(&ask, &mut random, &seen);
        }
        seen.0.get()
    };
    // While they warm up, once for each step.
    for at_us in [SECOND, 2 * SECOND] {
        let once = asked(at_us, 3);
        assert!((1..100).contains(&once), "{once}");
        assert_eq!(asked(at_us + SECOND / 2, 3), 0);
    }
    assert!(asked(200 * SECOND, 3) > 0);
    assert_eq!(asked(900 * SECOND, 3), 0);
    assert!((1..100).contains(&asked(900 * SECOND, 4)));
}

#[test]
fn hashing_goes_without() {
    let keys = vec!["k".to_owned()];
    let ring = Balancing::RingHash {
        keys,
        minimum_ring_size: 1 << 14,
    };
    let mut balancer = balancer(ring, [1, 2, 3], false);
    let counts = counts(&mut balancer, &Joined([0, 0, 1000]), 10_000, |_| {
        1000 * SECOND
    });
    assert_shares(counts, [1.0, 2.0, 3.0], &"without a hash at random");
}

#[test]
fn least_request_holds_requests_in_proportion_to_what_weights_are_now() {
    struct Loaded([u32; 3]);
    impl Endpoints for Loaded {
        fn fitness(&self, _: usize) -> HealthStatus {
            HealthStatus::Healthy
        }
        fn load(&self, at: usize) -> u32 {
            self.0[at]
        }
        fn since_us(&self, at: usize) -> u64 {
            if at == 2 { 1000 * SECOND } else { 0 }
        }
    }
    let mut balancer = balancer(Balancing::LeastRequest, [1; 3], false);
    let mut random = numbers(3);
    let mut loads = Loaded([0; 3]);
    let ask = PickRequest {
        now_us: 1050 * SECOND,
        ..PickRequest::default()
    };
    for _ in 0..1000 {
        let choice = balancer.pick(&ask, &mut random, &loads).unwrap();
        loads.0[choice.at] += 1;
    }
    for (load, expected) in loads.0.iter().zip([400, 400, 200_u32]) {
        assert!(load.abs_diff(expected) <= 20, "{:?}", loads.0);
    }
}
