//! Shares, and what a table makes of rules.

use std::time::Duration;

use meltemi_config::{
    Abort, Bucket, Clause, Descriptor, DescriptorEntry, DescriptorValue, FaultRule, LocalLimit,
    Mirror, Origin, Policy, PolicyRule, Route, Served, Subject, Undetermined, ValueMatch,
};
use meltemi_frame::{Bind, Head, Kind, Reason, Safety};
use proptest::prelude::*;

use super::*;
use crate::Table;
use crate::fixture::{config, exact, message, route, served};

/// A good enough source of random numbers (SplitMix64).
fn numbers(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

const DRAWS: u32 = 10_000;

/// Whether so many of [`DRAWS`] are within five standard deviations.
fn is_likely(hits: u32, share: Share) -> bool {
    let part = f64::from(share.as_millionths()) / 1e6;
    let mean = f64::from(DRAWS) * part;
    (f64::from(hits) - mean).abs() <= 5.0 * (mean * (1.0 - part)).sqrt()
}

fn table(route: Route) -> Table {
    let config = config(vec![route.clone()]);
    Table::compile(&served(vec![route]), &config, &LimitStore::new(0))
}

fn extras(table: &Table) -> &OptionalRules {
    table.routes()[0].rules.extras().unwrap()
}

fn fault(delay: Option<(u64, u32)>, abort: Option<u32>) -> FaultRule {
    FaultRule {
        matches: vec![],
        delay: delay.map(|(ms, share)| (Duration::from_millis(ms), Share::millionths(share))),
        abort: abort.map(|share| Abort {
            reason: Reason::Unavailable,
            text: "on purpose".to_owned(),
            share: Share::millionths(share),
        }),
        origin: Origin::default(),
    }
}

fn mirror(cluster: &str, share: u32) -> Mirror {
    Mirror {
        cluster: cluster.to_owned(),
        share: Share::millionths(share),
        writes_only: false,
        compare: false,
        origin: Origin::default(),
    }
}

#[test]
fn shares_are_exact() {
    // Evenly spaced numbers hit exactly as often as the share says.
    for millionths in [1, 10, 250_000, 333_333, 999_999] {
        let step = u64::MAX / 1_000_000;
        let hit = |part: u64| {
            hits(Share::millionths(millionths), &mut || {
                step * part + step / 2
            })
        };
        let count = (0..1_000_000).filter(|&part| hit(part)).count();
        assert_eq!(count, millionths as usize);
    }
    let mut none = || panic!("not needed");
    assert!(hits(Share::ALL, &mut none) && !hits(Share::NONE, &mut none));
}

#[test]
fn faults_are_drawn_in_order_until_an_abort() {
    let mut with = route("x", vec![]);
    with.faults = vec![
        fault(Some((10, 1_000_000)), None),
        fault(Some((20, 1_000_000)), Some(1_000_000)),
        fault(Some((40, 1_000_000)), Some(1_000_000)),
    ];
    with.faults[0].matches = vec![exact("header.a", "x")];
    let table = table(with);
    assert_eq!(table.interest(), Interest::Headers);
    let faults = extras(&table).faults.as_ref().unwrap();
    let mut random = numbers(1);
    let drawn = faults.draw(&message(&[("header.a", "x")]), &mut random);
    assert_eq!(drawn.delay, Some(Duration::from_millis(30)));
    assert_eq!(
        drawn.abort.map(|abort| abort.reason),
        Some(Reason::Unavailable)
    );
    let drawn = faults.draw(&message(&[]), &mut random);
    assert_eq!(drawn.delay, Some(Duration::from_millis(20)));
    assert_eq!(faults.matching(&message(&[])).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn copies_go_where_they_may() {
    let mut with = route("x", vec![]);
    with.mirrors = vec![mirror("a", 1_000_000), mirror("c", 1_000_000)];
    with.mirrors[0].writes_only = true;
    with.mirrors[1].compare = true;
    let table = table(with);
    let mirrors = extras(&table).mirrors.as_ref().unwrap();
    let copies = |kind, safety, bind| {
        let mut head = Head::new(kind, None);
        (head.safety, head.bind) = (safety, bind);
        let mut random = numbers(1);
        let drawn = mirrors.draw(&head, &mut random);
        drawn
            .map(|target| (target.cluster, target.compare))
            .collect::<Vec<_>>()
    };
    let (a, c) = ((0, false), (2, true));
    assert_eq!(copies(Kind::Request, Safety::Unknown, Bind::Free), [a, c]);
    assert_eq!(
        copies(Kind::OneWay, Safety::Idempotent, Bind::Dedicated),
        [a, c]
    );
    assert_eq!(copies(Kind::Request, Safety::Read, Bind::Free), [c]);
    assert_eq!(copies(Kind::Request, Safety::Unknown, Bind::Pin), []);
    assert_eq!(copies(Kind::Request, Safety::Unknown, Bind::Session), []);
    assert_eq!(copies(Kind::Ping, Safety::Unknown, Bind::Free), []);
    // A mirror that hashes has a hash of its own.
    let call = message(&[("method", "say")]);
    let source = [10, 0, 0, 1].into();
    let hashes: Vec<_> = mirrors
        .taking(&call.head)
        .map(|target| target.hash(&call, source))
        .collect();
    assert_eq!(hashes, [None, Some(crate::stable_hash(b"say"))]);
}

#[test]
fn a_route_without_rules_has_none() {
    let table = table(route("x", vec![]));
    assert!(table.policies().is_none() && table.routes()[0].rules.extras().is_none());
    assert_eq!(table.interest(), Interest::Route);
}

fn limit(matches: &str, per: &str) -> Arc<LocalLimits> {
    Arc::new(LocalLimits {
        name: "l".to_owned(),
        rules: vec![LocalLimit {
            matches: vec![exact(matches, "x")],
            per: vec![per.to_owned()],
            values: 1,
            bucket: Bucket {
                size: 1,
                fill: 1,
                interval: Duration::from_secs(1),
            },
            origin: Origin::default(),
        }],
        origin: Origin::default(),
    })
}

#[test]
fn codecs_look_as_deep_as_every_rule_needs() {
    let interest = |change: &dyn Fn(&mut Route, &mut Served)| {
        let mut route = route("x", vec![]);
        let mut served = served(vec![]);
        change(&mut route, &mut served);
        served.routes = vec![route];
        let table = Table::compile(&served, &config(vec![]), &LimitStore::new(0));
        (table.interest(), table.response_interest())
    };
    use Interest::{Body, Headers, Route as Cheap};
    let deny = |name: &str| {
        let clause = Clause {
            subject: Subject::Attribute(name.to_owned()),
            values: vec![ValueMatch::Present],
            not: false,
        };
        let rule = PolicyRule {
            when: vec![clause],
            ..PolicyRule::default()
        };
        let policy = Policy {
            name: "p".to_owned(),
            rules: vec![rule],
            undetermined: Undetermined::Deny,
            origin: Origin::default(),
        };
        Some(Arc::new(Authorization {
            deny: vec![policy],
            ..Authorization::default()
        }))
    };
    let asks = |name: &str| {
        let entry = DescriptorEntry {
            key: "k".to_owned(),
            value: DescriptorValue::Attribute(name.to_owned()),
        };
        Arc::new(GlobalLimit {
            name: "g".to_owned(),
            matches: vec![],
            domain: "d".to_owned(),
            descriptors: vec![Descriptor {
                entries: vec![entry],
            }],
            cluster: "a".to_owned(),
            timeout: Duration::from_millis(1),
            deny_on_failure: false,
            origin: Origin::default(),
        })
    };
    assert_eq!(interest(&|_, _| {}), (Cheap, Cheap));
    let listener = interest(&|_, served| served.authorization = deny("header.a"));
    assert_eq!(listener, (Headers, Cheap));
    let route = interest(&|route, _| route.authorization = deny("note"));
    assert_eq!(route, (Body, Cheap));
    let limits = interest(&|_, served| served.local_limits = vec![limit("method", "header.a")]);
    assert_eq!(limits, (Headers, Cheap));
    let limits = interest(&|route, _| route.local_limits = vec![limit("note", "source.ip")]);
    assert_eq!(limits, (Body, Cheap));
    let service = interest(&|_, served| served.global_limits = vec![asks("header.a")]);
    assert_eq!(service, (Headers, Cheap));
    let service = interest(&|route, _| route.global_limits = vec![asks("note")]);
    assert_eq!(service, (Body, Cheap));
    let retry = interest(&|route, _| route.retry.statuses = vec![exact("result", "x")]);
    assert_eq!(retry, (Cheap, Body));
}

#[test]
fn routes_that_share_a_limit_share_its_tokens() {
    let shared = limit("method", "source.ip");
    let mut routes = vec![route("x", vec![]), route("y", vec![])];
    for route in &mut routes {
        route.local_limits = vec![Arc::clone(&shared)];
    }
    let (config, store) = (config(routes.clone()), LimitStore::new(0));
    let tables = [0, 1].map(|_| Table::compile(&served(routes.clone()), &config, &store));
    let call = message(&[("method", "x")]);
    let mut passed = 0;
    for table in &tables {
        for route in table.routes() {
            let policies = route.rules.extras().unwrap().policies.as_ref().unwrap();
            let passes = policies.local()[0].take(&call, [10, 0, 0, 1].into(), 5);
            passed += u32::from(passes);
        }
    }
    assert_eq!(passed, 1);
}

#[test]
fn an_authorization_without_policies_is_none() {
    let mut with = route("x", vec![]);
    with.authorization = Some(Arc::default());
    assert!(table(with).routes()[0].rules.extras().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn faults_and_mirrors_hit_their_shares(
        delay in 0..=1_000_000u32,
        abort in 0..=1_000_000u32,
        copies in prop::array::uniform2(0..=1_000_000u32),
        seed in any::<u64>(),
    ) {
        let mut with = route("x", vec![]);
        with.faults = vec![fault(Some((1, delay)), None), fault(None, Some(abort))];
        with.mirrors = vec![mirror("a", copies[0]), mirror("b", copies[1])];
        let table = table(with);
        let extras = extras(&table);
        let (faults, mirrors) = (extras.faults.as_ref().unwrap(), extras.mirrors.as_ref().unwrap());
        let call = message(&[]);
        let mut random = numbers(seed);
        let (mut delays, mut aborts, mut both, mut copied) = (0, 0, 0, [0; 2]);
        for _ in 0..DRAWS {
            let drawn = faults.draw(&call, &mut random);
            delays += u32::from(drawn.delay.is_some());
            aborts += u32::from(drawn.abort.is_some());
            both += u32::from(drawn.delay.is_some() && drawn.abort.is_some());
            for target in mirrors.draw(&call.head, &mut random) {
                copied[target.cluster] += 1;
            }
        }
        prop_assert!(is_likely(delays, Share::millionths(delay)), "{delays} delays");
        prop_assert!(is_likely(aborts, Share::millionths(abort)), "{aborts} aborts");
        // Each is drawn by itself.
        let product = u64::from(delay) * u64::from(abort) / 1_000_000;
        let product = u32::try_from(product).unwrap();
        prop_assert!(is_likely(both, Share::millionths(product)), "{both} of both");
        for (count, share) in copied.into_iter().zip(copies) {
            prop_assert!(is_likely(count, Share::millionths(share)), "{count} copies");
        }
    }

    #[test]
    fn requests_are_split_by_weight(weights in prop::array::uniform3(0..100u32), seed in any::<u64>()) {
        let sum: u32 = weights.iter().sum();
        prop_assume!(sum > 0);
        let mut split = route("x", vec![]);
        split.clusters = ["a", "b", "c"]
            .iter()
            .zip(weights)
            .map(|(name, weight)| crate::fixture::target(name, weight))
            .collect();
        let table = table(split);
        let mut random = numbers(seed);
        let mut counts = [0; 3];
        for _ in 0..DRAWS {
            counts[table.routes()[0].choose(random())] += 1;
        }
        for (count, weight) in counts.into_iter().zip(weights) {
            let share = Share::percent(f64::from(weight) * 100.0 / f64::from(sum));
            prop_assert!(is_likely(count, share), "{counts:?} of {weights:?}");
        }
    }
}
