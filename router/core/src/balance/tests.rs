//! The methods by themselves, over one flat list of endpoints: shares, stability, turns.

use std::cell::Cell;
use std::collections::HashMap;

use meltemi_config::Balancing;
use proptest::prelude::*;

use super::maglev::Maglev;
use super::ring::Ring;
use super::*;
use crate::fixture::{Seen, numbers};
use crate::stable_hash;

/// A balancer of one priority, without localities.
fn flat(balancing: &Balancing, weights: &[u32], keys: &[u64]) -> Flat {
    let mut cluster = Cluster::new("c", Vec::new());
    cluster.balancing = balancing.clone();
    let locality = Locality::default();
    let member = |(at, &weight): (usize, &u32)| Host {
        weight,
        key: keys.get(at).copied().unwrap_or(at as u64),
        priority: 0,
        locality: &locality,
    };
    let members: Vec<Host<'_>> = weights.iter().enumerate().map(member).collect();
    let balancer = Balancer::new(&cluster, &members);
    assert!(matches!(balancer.shape, Shape::Flat(_)), "nothing to count");
    Flat(balancer)
}

#[derive(Clone)]
struct Flat(Balancer);

impl Flat {
    /// Picks among endpoints which are fit or unfit.
    fn pick(
        &mut self,
        hash: Option<u64>,
        random: &mut dyn FnMut() -> u64,
        load: &dyn Fn(usize) -> u32,
        usable: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let fitness = |at| {
            if usable(at) {
                HealthStatus::Healthy
            } else {
                HealthStatus::Unhealthy
            }
        };
        let ask = PickRequest {
            hash,
            ..PickRequest::default()
        };
        let seen = Seen {
            fitness: &fitness,
            load,
        };
        let choice = self.0.pick(&ask, random, &seen)?;
        assert!(!choice.panic);
        Some(choice.at)
    }
}

fn ring(minimum_ring_size: usize) -> Balancing {
    Balancing::RingHash {
        keys: vec!["k".to_owned()],
        minimum_ring_size,
    }
}

fn maglev(table_size: usize) -> Balancing {
    Balancing::Maglev {
        keys: vec!["k".to_owned()],
        table_size,
    }
}

fn every_method() -> Vec<Balancing> {
    vec![
        Balancing::RoundRobin,
        Balancing::LeastRequest,
        Balancing::Random,
        ring(1024),
        maglev(1009),
    ]
}

fn keys(count: usize) -> Vec<u64> {
    (0..count)
        .map(|host| stable_hash(format!("10.0.0.{host}:80").as_bytes()))
        .collect()
}

fn counts(picks: impl Iterator<Item = usize>, endpoints: usize) -> Vec<usize> {
    let mut counts = vec![0; endpoints];
    for pick in picks {
        counts[pick] += 1;
    }
    counts
}

/// How many of `picks` requests, each with another hash, go to each endpoint of an idle cluster.
fn shares(balancing: &Balancing, weights: &[u32], picks: usize) -> Vec<usize> {
    let mut balancer = flat(balancing, weights, &keys(weights.len()));
    let (mut random, mut hashes) = (numbers(1), numbers(2));
    let mut pick = || balancer.pick(Some(hashes()), &mut random, &|_| 0, &|_| true);
    counts((0..picks).map(|_| pick().unwrap()), weights.len())
}

#[test]
fn an_idle_cluster_is_used_in_proportion_to_the_weights() {
    let weights = [1, 2, 0, 5, 2];
    for balancing in every_method() {
        let shares = shares(&balancing, &weights, 20_000);
        for (share, weight) in shares.iter().zip(weights) {
            let expected = 2000 * weight as usize;
            // A ring is uneven by nature: with n points a share deviates by about 1/sqrt(n).
            let tolerance = if matches!(balancing, Balancing::RingHash { .. }) {
                0.35
            } else {
                0.08
            };
            let off = share.abs_diff(expected) as f64;
            assert!(
                off <= tolerance * expected as f64,
                "{balancing:?}: {shares:?}"
            );
        }
    }
}

#[test]
fn round_robin_takes_turns() {
    let mut balancer = flat(&Balancing::RoundRobin, &[7, 7, 7], &[]);
    let mut pick =
        |usable: &dyn Fn(usize) -> bool| balancer.pick(None, &mut || 0, &|_| 0, usable).unwrap();
    let all: Vec<usize> = (0..5).map(|_| pick(&|_| true)).collect();
    assert_eq!(all, [0, 1, 2, 0, 1]);
    let without_two: Vec<usize> = (0..3).map(|_| pick(&|at| at != 2)).collect();
    assert_eq!(without_two, [0, 1, 0]);
}

#[test]
fn round_robin_spreads_the_turns_of_a_heavy_endpoint() {
    let mut balancer = flat(&Balancing::RoundRobin, &[4, 2, 1], &[]);
    let turns: String = (0..14)
        .map(|_| balancer.pick(None, &mut || 0, &|_| 0, &|_| true).unwrap())
        .map(|at| ['a', 'b', 'c'][at])
        .collect();
    assert_eq!(turns, "abacabaabacaba");
}

#[test]
fn workers_start_at_different_endpoints() {
    for weights in [vec![1; 10], vec![3, 3, 3, 3, 3, 3, 3, 3, 3, 1]] {
        let first = |seed| {
            let mut balancer = flat(&Balancing::RoundRobin, &weights, &[]);
            balancer
                .pick(None, &mut numbers(seed), &|_| 0, &|_| true)
                .unwrap()
        };
        let firsts = counts((0..100).map(first), 10);
        assert!(
            firsts.iter().filter(|&&count| count > 0).count() >= 6,
            "{firsts:?}"
        );
    }
}

#[test]
fn who_was_away_does_not_make_up_for_it() {
    let mut balancer = flat(&Balancing::RoundRobin, &[3, 1], &[]);
    let mut picks = |count: usize, usable: &dyn Fn(usize) -> bool| {
        let mut pick = || balancer.pick(None, &mut || 0, &|_| 0, usable).unwrap();
        counts((0..count).map(|_| pick()), 2)
    };
    assert_eq!(picks(1000, &|at| at == 1), [0, 1000]);
    let after = picks(40, &|_| true);
    assert!(after[0].abs_diff(30) <= 1, "{after:?}");
}

#[test]
fn least_request_of_two_endpoints_is_exact() {
    let mut balancer = flat(&Balancing::LeastRequest, &[1, 1], &[]);
    let mut random = numbers(3);
    for _ in 0..100 {
        let pick = balancer.pick(None, &mut random, &|at| [5, 4][at], &|_| true);
        assert_eq!(pick, Some(1));
    }
}

#[test]
fn least_request_under_load_holds_requests_in_proportion_to_the_weights() {
    let weights = [1, 1, 2, 4];
    let mut balancer = flat(&Balancing::LeastRequest, &weights, &[]);
    let mut random = numbers(4);
    let loads: [Cell<u32>; 4] = Default::default();
    for _ in 0..800 {
        let pick = balancer
            .pick(None, &mut random, &|at| loads[at].get(), &|_| true)
            .unwrap();
        loads[pick].set(loads[pick].get() + 1);
    }
    for (load, weight) in loads.iter().zip(weights) {
        assert!(load.get().abs_diff(100 * weight) <= 12, "{loads:?}");
    }
}

#[test]
fn a_slow_endpoint_gets_less_from_least_request() {
    let mut balancer = flat(&Balancing::LeastRequest, &[1; 10], &[]);
    let mut random = numbers(5);
    let picks = (0..10_000).map(|_| {
        let load = |at| if at == 0 { 50 } else { 1 };
        balancer.pick(None, &mut random, &load, &|_| true).unwrap()
    });
    assert_eq!(counts(picks, 10)[0], 0, "it always loses against another");
}

#[test]
fn hashing_without_a_hash_is_random() {
    for balancing in [ring(1024), maglev(1009)] {
        let mut balancer = flat(&balancing, &[1, 3], &keys(2));
        let mut random = numbers(6);
        let mut pick = || balancer.pick(None, &mut random, &|_| 0, &|_| true).unwrap();
        let shares = counts((0..4000).map(|_| pick()), 2);
        assert!(shares[0].abs_diff(1000) < 120, "{shares:?}");
    }
}

#[test]
fn the_same_key_goes_to_the_same_endpoint_in_every_process() {
    // Chosen once: another value means that a rolling update of the proxies moves keys.
    let mut ring = flat(&ring(1024), &[1; 5], &keys(5));
    let mut table = flat(&maglev(65537), &[1; 5], &keys(5));
    let pick = |balancer: &mut Flat, key: &str| {
        let hash = Some(stable_hash(key.as_bytes()));
        balancer.pick(hash, &mut || 0, &|_| 0, &|_| true).unwrap()
    };
    let words = ["a", "b", "c", "d", "e", "f", "g", "h"];
    assert_eq!(words.map(|word| pick(&mut ring, word)), RING);
    assert_eq!(words.map(|word| pick(&mut table, word)), MAGLEV);
}

const RING: [usize; 8] = [2, 0, 2, 4, 2, 1, 2, 1];
const MAGLEV: [usize; 8] = [0, 3, 2, 4, 3, 4, 2, 3];

#[test]
fn proxies_agree_whatever_the_order_of_endpoints() {
    let weights = [1, 2, 3, 4];
    let reversed: Vec<u32> = weights.iter().rev().copied().collect();
    let reversed_keys: Vec<u64> = keys(4).into_iter().rev().collect();
    for balancing in [ring(1024), maglev(1009)] {
        let mut here = flat(&balancing, &weights, &keys(4));
        let mut there = flat(&balancing, &reversed, &reversed_keys);
        let mut hashes = numbers(7);
        for _ in 0..1000 {
            let hash = Some(hashes());
            let pick =
                |balancer: &mut Flat| balancer.pick(hash, &mut || 0, &|_| 0, &|_| true).unwrap();
            assert_eq!(pick(&mut here), 3 - pick(&mut there));
        }
    }
}

/// The part of keys that stay with endpoints which did not leave, but move all the same.
fn needless_moves(balancing: &Balancing, count: usize, leaves: usize) -> f64 {
    let mut before = flat(balancing, &vec![1; count], &keys(count));
    let rest: Vec<usize> = (0..count).filter(|&at| at != leaves).collect();
    let rest_keys: Vec<u64> = rest.iter().map(|&at| keys(count)[at]).collect();
    let mut after = flat(balancing, &vec![1; count - 1], &rest_keys);
    let mut hashes = numbers(8);
    let (mut stayed, mut moved) = (0.0, 0.0);
    for _ in 0..10_000 {
        let hash = Some(hashes());
        let pick = |balancer: &mut Flat| balancer.pick(hash, &mut || 0, &|_| 0, &|_| true).unwrap();
        let (old, new) = (pick(&mut before), rest[pick(&mut after)]);
        if old == leaves {
            continue;
        }
        if old == new {
            stayed += 1.0;
        } else {
            moved += 1.0;
        }
    }
    moved / (stayed + moved)
}

#[test]
fn when_an_endpoint_leaves_only_its_keys_move() {
    for leaves in [0, 4, 9] {
        assert!(needless_moves(&ring(1024), 10, leaves) == 0.0);
        // The paper's figure 12: about 0.01 to 0.03 with a table of about 100 slots per endpoint and
        // more; it falls as the table grows.
        let moved = needless_moves(&maglev(65537), 10, leaves);
        assert!(moved < 0.02, "{moved}");
    }
}

#[test]
fn maglev_is_even() {
    let table = Maglev::new(65537, &[1; 10], &keys(10));
    let shares = counts(table.table().iter().map(|&at| at as usize), 10);
    assert!(
        shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1,
        "{shares:?}"
    );
    let weighted = Maglev::new(65537, &[1, 2, 5], &keys(3));
    let shares = counts(weighted.table().iter().map(|&at| at as usize), 3);
    for (share, weight) in shares.iter().zip([1, 2, 5]) {
        assert!(share.abs_diff(65537 * weight / 8) <= 2, "{shares:?}");
    }
}

#[test]
fn a_ring_has_its_minimum_size_and_no_more_than_there_is_room_for() {
    let points = |minimum, weights: &[u32]| {
        let ring = Ring::new(minimum, weights, &keys(weights.len()));
        counts(ring.owners().iter().map(|&at| at as usize), weights.len())
    };
    assert_eq!(points(1024, &[100, 100, 200]), [256, 256, 512]);
    assert_eq!(points(1024, &[1, 0, 2]), [512, 0, 1024]);
    assert_eq!(points(0, &[6, 9]), [64, 96]);
    let large = points(usize::MAX, &[1, 1]);
    assert_eq!(large, [1 << 18, 1 << 18]);
    let unequal = points(1024, &[u32::MAX, 1]);
    assert!(unequal[1] == 1 && unequal[0] <= 1 << 20);
}

#[test]
fn tables_of_odd_sizes_are_filled() {
    for size in [0, 1, 2, 3, 4, 6, 12, 100] {
        let table = Maglev::new(size, &[1, 3, 2], &keys(3));
        assert_eq!(table.table().len(), size.max(1));
    }
}

#[test]
fn a_cluster_without_endpoints_has_none_to_pick() {
    for balancing in every_method() {
        for weights in [&[][..], &[0], &[0, 0]] {
            let mut balancer = flat(&balancing, weights, &keys(weights.len()));
            for hash in [None, Some(u64::MAX)] {
                let pick = balancer.pick(hash, &mut || u64::MAX, &|_| 0, &|_| true);
                assert_eq!(pick, None, "{balancing:?}");
            }
        }
    }
}

fn any_method() -> impl Strategy<Value = Balancing> {
    let tables = vec![ring(0), ring(64), maglev(7), maglev(101)];
    prop::sample::select([every_method(), tables].concat())
}

proptest! {
    /// `None` exactly when nothing is usable; else something that is.
    #[test]
    fn whoever_is_picked_is_usable(
        balancing in any_method(),
        endpoints in prop::collection::vec((0..4u32, any::<bool>()), 0..12),
        requests in prop::collection::vec((any::<Option<u64>>(), any::<u64>()), 1..20),
    ) {
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.0).collect();
        let mut balancer = flat(&balancing, &weights, &keys(weights.len()));
        let possible = endpoints.iter().any(|&(weight, usable)| usable && weight > 0);
        for (hash, seed) in requests {
            let pick = balancer.pick(hash, &mut numbers(seed), &|at| at as u32, &|at| endpoints[at].1);
            prop_assert_eq!(pick.is_some(), possible);
            if let Some(at) = pick {
                prop_assert!(endpoints[at].0 > 0 && endpoints[at].1);
            }
        }
    }

    /// In as many picks as the weights sum to, everybody is picked as often as its weight; and on the
    /// way nobody is far from its share: each of n endpoints is at most half a turn early or late.
    #[test]
    fn smooth_round_robin_is_exact(weights in prop::collection::vec(0..20u32, 1..8), seed in any::<u64>()) {
        let sum: u32 = weights.iter().sum();
        let mut balancer = flat(&Balancing::RoundRobin, &weights, &[]);
        let mut seen: HashMap<usize, u32> = HashMap::new();
        for pick in 1..=3 * sum {
            let at = balancer.pick(None, &mut numbers(seed), &|_| 0, &|_| true).unwrap();
            *seen.entry(at).or_default() += 1;
            for (at, &weight) in weights.iter().enumerate() {
                let count = seen.get(&at).copied().unwrap_or(0);
                let share = f64::from(pick * weight) / f64::from(sum);
                let others = weights.len() as f64 * f64::from(weight) / f64::from(sum);
                prop_assert!((f64::from(count) - share).abs() <= 0.5 + others / 2.0 + 1e-9);
                if pick % sum == 0 {
                    prop_assert_eq!(count, pick / sum * weight);
                }
            }
        }
    }

    /// While an endpoint is down, hashing balancers move no keys but its own.
    #[test]
    fn keys_of_usable_endpoints_stay(hash in any::<u64>(), down in 0..6usize) {
        for balancing in [ring(256), maglev(101)] {
            let mut balancer = flat(&balancing, &[1; 6], &keys(6));
            let all = balancer.pick(Some(hash), &mut || 0, &|_| 0, &|_| true).unwrap();
            let without = balancer.pick(Some(hash), &mut || 0, &|_| 0, &|at| at != down).unwrap();
            prop_assert!(without != down && (all == down || all == without));
        }
    }
}

#[test]
fn clones_share_their_tables_and_take_their_own_turns() {
    let mut one = flat(&Balancing::RoundRobin, &[1, 1], &[]);
    let mut other = one.clone();
    let pick =
        |balancer: &mut Flat, random: u64| balancer.pick(None, &mut || random, &|_| 0, &|_| true);
    assert_eq!(pick(&mut one, 0), Some(0));
    assert_eq!(pick(&mut other, u64::MAX), Some(1));
    assert_eq!(pick(&mut one, 0), Some(1));
}
