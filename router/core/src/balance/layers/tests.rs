//! Priorities, localities and panic, over every method; some shares are those of Envoy's documentation.

use std::cell::Cell;

use meltemi_config::{Balancing, Cluster, Locality, Share};
use proptest::prelude::*;

use crate::fixture::{Seen, numbers};
use crate::{Balancer, HealthStatus, Host, Pick, PickRequest, stable_hash};

use HealthStatus::{Degraded, Healthy, Probation, Unhealthy};

const PICKS: usize = 10_000;

fn every_method() -> [Balancing; 5] {
    let keys = || vec!["k".to_owned()];
    [
        Balancing::RoundRobin,
        Balancing::LeastRequest,
        Balancing::Random,
        Balancing::RingHash {
            keys: keys(),
            minimum_ring_size: 1024,
        },
        Balancing::Maglev {
            keys: keys(),
            table_size: 1009,
        },
    ]
}

fn at(place: &str) -> Locality {
    let mut fields = place.split('/').map(str::to_owned);
    Locality {
        region: fields.next().unwrap_or_default(),
        zone: fields.next().unwrap_or_default(),
        subzone: fields.next().unwrap_or_default(),
    }
}

/// A cluster with endpoints of these weights, priorities and localities.
struct World {
    cluster: Cluster,
    endpoints: Vec<(u32, u32, Locality)>,
}

impl World {
    fn new(endpoints: &[(u32, u32, &str)]) -> Self {
        let endpoints = endpoints.iter();
        Self {
            cluster: Cluster::new("c", Vec::new()),
            endpoints: endpoints
                .map(|&(weight, priority, place)| (weight, priority, at(place)))
                .collect(),
        }
    }

    /// As many endpoints of weight 1 in each priority.
    fn priorities(counts: &[usize]) -> Self {
        let all = (0..).zip(counts);
        let endpoints: Vec<_> = all
            .flat_map(|(priority, &count)| vec![(1, priority, ""); count])
            .collect();
        Self::new(&endpoints)
    }

    fn panic(mut self, percent: f64) -> Self {
        self.cluster.panic = Share::percent(percent);
        self
    }

    fn shares(mut self, shares: &[(&str, u32)]) -> Self {
        let shares = shares.iter().map(|&(place, share)| (at(place), share));
        self.cluster.localities.shares = shares.collect();
        self
    }

    fn method(&mut self, balancing: Balancing) {
        self.cluster.balancing = balancing;
    }

    fn balancer(&self) -> Balancer {
        let endpoints = self.endpoints.iter().enumerate();
        let members: Vec<Host<'_>> = endpoints
            .map(|(at, (weight, priority, locality))| Host {
                weight: *weight,
                key: stable_hash(format!("10.0.0.{at}:80").as_bytes()),
                priority: *priority,
                locality,
            })
            .collect();
        Balancer::new(&self.cluster, &members)
    }

    /// How many requests go to endpoints of each priority.
    fn by_priority(&self, fitness: &[HealthStatus], priorities: usize) -> Vec<usize> {
        let mut counts = vec![0; priorities];
        for (count, (_, priority, _)) in self.by_endpoint(fitness).iter().zip(&self.endpoints) {
            counts[*priority as usize] += count;
        }
        counts
    }

    /// How many requests, each with another hash, go to each endpoint.
    fn by_endpoint(&self, fitness: &[HealthStatus]) -> Vec<usize> {
        let mut balancer = self.balancer();
        let (mut random, mut hashes) = (numbers(1), numbers(2));
        let mut counts = vec![0; fitness.len()];
        for _ in 0..PICKS {
            if let Some(choice) = pick(&mut balancer, Some(hashes()), &mut random, fitness, &[]) {
                counts[choice.at] += 1;
                assert_eq!(
                    choice.panic,
                    matches!(fitness[choice.at], Unhealthy | Probation)
                );
            }
        }
        counts
    }
}

fn pick(
    balancer: &mut Balancer,
    hash: Option<u64>,
    random: &mut dyn FnMut() -> u64,
    fitness: &[HealthStatus],
    tried: &[usize],
) -> Option<Pick> {
    let was_tried = |at| tried.contains(&at);
    let ask = PickRequest {
        hash,
        now_us: 1,
        epoch: 0,
        tried: (!tried.is_empty()).then_some(&was_tried),
    };
    let seen = Seen {
        fitness: &|at| fitness[at],
        load: &|_| 0,
    };
    balancer.pick(&ask, random, &seen)
}

/// Counts are what `expected` percentages make likely: within five standard deviations.
#[track_caller]
fn assert_percentages(counts: &[usize], expected: &[f64]) {
    assert_eq!(counts.len(), expected.len());
    for (&count, percent) in counts.iter().zip(expected) {
        let share = percent / 100.0;
        let mean = share * PICKS as f64;
        let bound = 5.0 * (mean * (1.0 - share)).sqrt() + 1.0;
        assert!(
            (count as f64 - mean).abs() <= bound,
            "{counts:?} are not {expected:?}"
        );
    }
}

/// The first of four and four are not fit, and so many of the next four.
fn unfit(first: usize, second: usize) -> Vec<HealthStatus> {
    let four = |unfit: usize| (0..4).map(move |at| if at < unfit { Unhealthy } else { Healthy });
    four(first).chain(four(second)).collect()
}

#[test]
fn load_spills_over_to_the_next_priority_as_far_as_it_must() {
    // (unfit of four, unfit of the next four) → percentages, as in Envoy's documentation.
    let cases = [
        (0, 0, [100.0, 0.0]),
        (1, 0, [100.0, 0.0]),
        (2, 0, [70.0, 30.0]),
        (3, 0, [35.0, 65.0]),
        (4, 0, [0.0, 100.0]),
        (2, 3, [70.0, 30.0]),
        (3, 3, [50.0, 50.0]),
        (3, 4, [100.0, 0.0]),
    ];
    let mut world = World::priorities(&[4, 4]);
    for method in every_method() {
        world.method(method);
        for (first, second, expected) in cases {
            let counts = world.by_priority(&unfit(first, second), 2);
            assert_percentages(&counts, &expected);
        }
    }
}

#[test]
fn only_priorities_that_have_endpoints_count() {
    let world = World::new(&[(1, 7, ""), (1, 7, ""), (1, 3, ""), (0, 0, "")]);
    assert_eq!(world.by_endpoint(&[Healthy; 4]), [0, 0, PICKS, 0]);
    let counts = world.by_endpoint(&[Healthy, Healthy, Unhealthy, Healthy]);
    assert_percentages(&counts, &[50.0, 50.0, 0.0, 0.0]);
}

#[test]
fn weights_hold_within_a_priority() {
    let mut world = World::new(&[(1, 0, ""), (3, 0, ""), (1, 1, ""), (4, 1, "")]);
    for method in every_method().into_iter().take(3) {
        world.method(method);
        let counts = world.by_endpoint(&[Healthy, Unhealthy, Healthy, Healthy]);
        assert_percentages(&counts, &[70.0, 0.0, 6.0, 24.0]);
    }
}

#[test]
fn one_on_trial_counts_as_fit_and_gets_nothing() {
    let mut world = World::priorities(&[2, 1]);
    for method in every_method() {
        world.method(method);
        let counts = world.by_priority(&[Probation, Healthy, Healthy], 2);
        assert_eq!(counts, [PICKS, 0]);
        let counts = world.by_priority(&[Probation, Probation, Healthy], 2);
        assert_eq!(counts, [0, PICKS]);
    }
}

#[test]
fn a_priority_panics_only_if_all_together_cannot_carry_the_load() {
    let world = World::priorities(&[4, 4]).panic(50.0);
    // The second one carries what the first cannot.
    let counts = world.by_endpoint(&unfit(3, 0));
    assert_percentages(&counts, &[0.0, 0.0, 0.0, 35.0, 16.25, 16.25, 16.25, 16.25]);
    // 35 % of the first and 35 % of the second cannot: both panic.
    assert_percentages(&world.by_endpoint(&unfit(3, 3)), &[12.5; 8]);
    // The second has half of its endpoints and does not panic; together they carry 70 %.
    let counts = world.by_endpoint(&unfit(4, 2));
    assert_percentages(&counts, &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50.0, 50.0]);
    let world = World::priorities(&[4, 4]).panic(60.0);
    let counts = world.by_endpoint(&[
        Unhealthy, Unhealthy, Unhealthy, Healthy, Unhealthy, Unhealthy, Unhealthy, Unhealthy,
    ]);
    assert_percentages(&counts, &[12.5; 8]);
}

#[test]
fn panic_in_one_priority_uses_all_of_its_endpoints() {
    let mut world = World::priorities(&[4]).panic(50.0);
    for method in every_method().into_iter().take(3) {
        world.method(method);
        let fitness = |unfit: usize| {
            (0..4)
                .map(|at| if at < unfit { Unhealthy } else { Healthy })
                .collect::<Vec<_>>()
        };
        assert_percentages(&world.by_endpoint(&fitness(2)), &[0.0, 0.0, 50.0, 50.0]);
        assert_percentages(&world.by_endpoint(&fitness(3)), &[25.0; 4]);
        assert_percentages(&world.by_endpoint(&fitness(4)), &[25.0; 4]);
    }
}

#[test]
fn localities_get_their_shares_as_long_as_they_can_carry_them() {
    let places = [
        (1, 0, "a"),
        (1, 0, "a"),
        (1, 0, "b"),
        (1, 0, "b"),
        (1, 0, "c"),
    ];
    let mut world = World::new(&places).shares(&[("a", 60), ("b", 40)]);
    for method in every_method() {
        let hashes = matches!(
            method,
            Balancing::RingHash { .. } | Balancing::Maglev { .. }
        );
        world.method(method);
        let by_place = |fitness: &[HealthStatus]| {
            let counts = world.by_endpoint(fitness);
            [counts[0] + counts[1], counts[2] + counts[3], counts[4]]
        };
        assert_percentages(&by_place(&[Healthy; 5]), &[60.0, 40.0, 0.0]);
        // Half of `a` carries 70 % of its share: 42 to 40.
        let counts = by_place(&[Unhealthy, Healthy, Healthy, Healthy, Healthy]);
        assert_percentages(&counts, &[100.0 * 42.0 / 82.0, 100.0 * 40.0 / 82.0, 0.0]);
        assert_eq!(
            by_place(&[Unhealthy, Unhealthy, Healthy, Healthy, Healthy]),
            [0, PICKS, 0]
        );
        // One without a share is never used, whatever happens.
        assert_eq!(
            by_place(&[Unhealthy, Unhealthy, Unhealthy, Unhealthy, Healthy]),
            [0, 0, 0]
        );
        if !hashes {
            let counts = world.by_endpoint(&[Healthy; 5]);
            assert_percentages(&counts, &[30.0, 30.0, 20.0, 20.0, 0.0]);
        }
    }
}

#[test]
fn the_closest_share_holds_for_an_endpoint() {
    let places = [
        (1, 0, "r/z/s"),
        (1, 0, "r/z/t"),
        (1, 0, "r/y"),
        (1, 0, "q/z/s"),
        (1, 0, "p"),
    ];
    let world =
        World::new(&places).shares(&[("r", 10), ("r/z", 20), ("r/z/s", 40), ("", 30), ("p", 0)]);
    let counts = world.by_endpoint(&[Healthy; 5]);
    assert_percentages(&counts, &[40.0, 20.0, 10.0, 30.0, 0.0]);
}

#[test]
fn shares_hold_in_every_priority() {
    let places = [(1, 0, "a"), (1, 0, "b"), (1, 1, "a"), (1, 1, "b")];
    let world = World::new(&places).shares(&[("a", 3), ("b", 1)]);
    let counts = world.by_endpoint(&[Healthy, Unhealthy, Healthy, Healthy]);
    // 70 % to the first priority, all of it to `a`; the rest three to one.
    assert_percentages(&counts, &[70.0, 0.0, 22.5, 7.5]);
}

#[test]
fn a_retry_goes_where_nothing_was_tried() {
    let mut world = World::priorities(&[2, 1]);
    for method in every_method() {
        world.method(method);
        let mut balancer = world.balancer();
        let mut random = numbers(3);
        let mut after = |fitness: &[HealthStatus], tried: &[usize]| {
            let mut picks: Vec<usize> = (0..50)
                .filter_map(|n| pick(&mut balancer, Some(n << 58), &mut random, fitness, tried))
                .map(|choice| choice.at)
                .collect();
            picks.sort_unstable();
            picks.dedup();
            picks
        };
        assert_eq!(after(&[Healthy, Healthy, Healthy], &[0]), [1]);
        assert_eq!(after(&[Healthy, Healthy, Healthy], &[0, 1]), [2]);
        assert_eq!(after(&[Healthy, Healthy, Healthy], &[0, 1, 2]), [0, 1]);
    }
}

#[test]
fn endpoints_are_counted_when_something_changes_and_not_at_every_pick() {
    let world = World::priorities(&[1000, 1000]);
    let mut balancer = world.balancer();
    let asked = Cell::new(0);
    let dead = Cell::new(0);
    let fitness = |at| {
        asked.set(asked.get() + 1);
        if at < dead.get() { Unhealthy } else { Healthy }
    };
    let seen = Seen {
        fitness: &fitness,
        load: &|_| 0,
    };
    let mut random = numbers(4);
    let mut second = |now_us, epoch| {
        let ask = PickRequest {
            now_us,
            epoch,
            ..PickRequest::default()
        };
        asked.set(0);
        let picks = (0..1000).map(|_| balancer.pick(&ask, &mut random, &seen).unwrap());
        let second = picks.filter(|choice| choice.at >= 1000).count();
        (second, asked.get())
    };
    assert_eq!(second(0, 0), (0, 3000));
    dead.set(500);
    assert_eq!(second(50_000, 0).0, 0, "nobody has said so");
    let (spilt, _) = second(50_000, 1);
    assert!(spilt.abs_diff(300) < 75, "{spilt}");
    dead.set(0);
    assert_eq!(second(150_000, 1).0, 0, "time alone makes endpoints fit");
}

#[test]
fn only_keys_of_the_part_that_shrinks_move() {
    let places = [
        (1, 0, "a"),
        (1, 0, "a"),
        (1, 0, "b"),
        (1, 0, "b"),
        (1, 0, "c"),
        (1, 0, "c"),
        (1, 1, "a"),
        (1, 1, "b"),
    ];
    let mut world = World::new(&places).shares(&[("a", 2), ("b", 2), ("c", 1)]);
    for method in every_method().into_iter().skip(3) {
        world.method(method);
        // All of the first priority is fit enough to carry everything, but `a` is not.
        let without = |gone: usize| {
            let mut fitness = [Healthy; 8];
            fitness[gone] = Unhealthy;
            fitness
        };
        for gone in 0..6 {
            let (mut before, mut after) = (world.balancer(), world.balancer());
            let mut hashes = numbers(5);
            let part = &world.endpoints[gone].2;
            for _ in 0..2000 {
                let hash = Some(hashes());
                let old = pick(&mut before, hash, &mut || 0, &[Healthy; 8], &[])
                    .unwrap()
                    .at;
                let new = pick(&mut after, hash, &mut || 0, &without(gone), &[])
                    .unwrap()
                    .at;
                assert!(new != gone);
                assert!(
                    old == new || world.endpoints[old].2 == *part,
                    "{old} to {new}"
                );
            }
        }
    }
}

#[test]
fn spilling_moves_only_the_keys_that_spill() {
    let mut world = World::priorities(&[4, 4]);
    for method in every_method().into_iter().skip(3) {
        world.method(method);
        let (mut before, mut after) = (world.balancer(), world.balancer());
        let mut hashes = numbers(6);
        let (mut stayed, mut moved, mut spilt) = (0, 0, 0);
        for _ in 0..PICKS {
            let hash = Some(hashes());
            let old = pick(&mut before, hash, &mut || 0, &unfit(0, 0), &[])
                .unwrap()
                .at;
            let new = pick(&mut after, hash, &mut || 0, &unfit(2, 0), &[])
                .unwrap()
                .at;
            match (old, new) {
                (_, 4..) => spilt += 1,
                (0 | 1, _) => moved += 1,
                _ => {
                    assert_eq!(old, new);
                    stayed += 1;
                }
            }
        }
        assert!(stayed > 0 && moved > 0);
        assert_percentages(&[spilt], &[30.0]);
    }
}

fn any_fitness() -> impl Strategy<Value = HealthStatus> {
    prop::sample::select(vec![Healthy, Probation, Degraded, Unhealthy])
}

proptest! {
    /// Of the classes of endpoints the best one that there is; without panic nobody who is unfit.
    #[test]
    fn the_order_of_preference_holds(
        method in prop::sample::select(every_method().to_vec()),
        endpoints in prop::collection::vec((0..3u32, 0..3u32, any_fitness(), any::<bool>()), 0..10),
        local in any::<bool>(),
        requests in prop::collection::vec((any::<Option<u64>>(), any::<u64>()), 1..6),
    ) {
        let places: Vec<_> = endpoints
            .iter()
            .enumerate()
            .map(|(at, one)| (one.0, one.1, ["a", "b"][at % 2]))
            .collect();
        let mut world = World::new(&places);
        if local {
            world = world.shares(&[("a", 2), ("b", 1)]);
        }
        world.method(method);
        let fitness: Vec<HealthStatus> = endpoints.iter().map(|one| one.2).collect();
        let tried: Vec<usize> = (0..endpoints.len()).filter(|&at| endpoints[at].3).collect();
        let class = |at: usize| match (fitness[at], tried.contains(&at)) {
            (Healthy, false) => Some(0),
            (Healthy, true) => Some(1),
            (Degraded, false) => Some(2),
            (Degraded, true) => Some(3),
            (Probation | Unhealthy, _) => None,
        };
        let weighted = (0..endpoints.len()).filter(|&at| endpoints[at].0 > 0);
        let best = weighted.filter_map(class).min();
        let mut balancer = world.balancer();
        for (hash, seed) in requests {
            let choice = pick(&mut balancer, hash, &mut numbers(seed), &fitness, &tried);
            prop_assert_eq!(choice.and_then(|choice| class(choice.at)), best);
            prop_assert_eq!(choice.is_some(), best.is_some());
            prop_assert!(choice.is_none_or(|choice| !choice.panic && endpoints[choice.at].0 > 0));
        }
    }

    /// With a threshold of 100 % somebody is always there.
    #[test]
    fn in_panic_there_is_always_somebody(
        endpoints in prop::collection::vec((0..3u32, 0..3u32, any_fitness()), 1..10),
        seed in any::<u64>(),
    ) {
        let places: Vec<_> = endpoints.iter().map(|one| (one.0, one.1, "")).collect();
        let world = World::new(&places).panic(100.0);
        let fitness: Vec<HealthStatus> = endpoints.iter().map(|one| one.2).collect();
        let choice = pick(&mut world.balancer(), None, &mut numbers(seed), &fitness, &[]);
        let somebody = endpoints.iter().any(|one| one.0 > 0);
        // One on trial counts as fit, and a priority of such needs no panic.
        let trials = endpoints.iter().any(|one| one.0 > 0 && one.2 == Probation);
        prop_assert!(choice.is_some() || !somebody || trials);
        prop_assert!(choice.is_none_or(|choice| endpoints[choice.at].0 > 0));
    }
}
