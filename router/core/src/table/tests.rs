//! The route table, held to a scan of all routes in their written order.

use std::cell::Cell;
use std::time::Duration;

use meltemi_config::{AttributeMatch, Change, Matcher, Mutation, Route, WholeRegex};
use proptest::prelude::*;

use super::*;
use crate::fixture::{config, exact, message, route, served, target, test};

thread_local! {
    /// How many routes were tested on this thread.
    pub(super) static TESTED: Cell<usize> = const { Cell::new(0) };
}

fn table(routes: Vec<Route>) -> Table {
    let config = config(routes.clone());
    Table::compile(&served(routes), &config, &LimitStore::new(0))
}

/// What `find` must agree with.
fn first_by_scan(table: &Table, message: &Message<'_>) -> Option<usize> {
    table
        .routes()
        .iter()
        .position(|route| route.matches(message))
}

/// What `find` says, and how many routes it tested.
fn find_counted(table: &Table, attributes: &[(&str, &str)]) -> (Option<usize>, usize) {
    let message = message(attributes);
    TESTED.set(0);
    let found = table.find(&message);
    (found, TESTED.get())
}

fn not(mut rule: AttributeMatch) -> AttributeMatch {
    rule.negate = true;
    rule
}

#[test]
fn the_first_route_that_matches_wins() {
    let table = table(vec![
        route(
            "canary",
            vec![exact("service", "users"), exact("header.tenant", "beta")],
        ),
        route("users", vec![exact("service", "users")]),
        route(
            "reads",
            vec![test("method", Matcher::Prefix("get".to_owned()))],
        ),
        route("rest", vec![]),
    ]);
    let find = |attributes: &[(&str, &str)]| {
        let position = table.find(&message(attributes)).unwrap();
        table.routes()[position].name.to_string()
    };
    assert_eq!(
        find(&[("service", "users"), ("header.tenant", "beta")]),
        "canary"
    );
    assert_eq!(find(&[("service", "users"), ("method", "getAll")]), "users");
    assert_eq!(find(&[("service", "shop"), ("method", "getAll")]), "reads");
    assert_eq!(find(&[]), "rest");
}

#[test]
fn no_route_may_match() {
    assert_eq!(table(vec![]).find(&message(&[])), None);
    let table = table(vec![route("users", vec![exact("service", "users")])]);
    assert_eq!(table.find(&message(&[("service", "Users")])), None);
}

#[test]
fn one_of_many_values_is_enough() {
    let table = table(vec![route(
        "x",
        vec![exact("keys", "b"), exact("keys", "c")],
    )]);
    let many = [("keys", "a"), ("keys", "b"), ("keys", "c")];
    assert_eq!(table.find(&message(&many)), Some(0));
    assert_eq!(table.find(&message(&many[..2])), None);
}

#[test]
fn an_absent_attribute_fails_every_test_and_so_passes_every_negated_one() {
    let present = table(vec![route("x", vec![test("method", Matcher::Present)])]);
    assert_eq!(present.find(&message(&[])), None);
    assert_eq!(present.find(&message(&[("method", "")])), Some(0));
    let other = table(vec![route("x", vec![not(exact("header.a", "1"))])]);
    assert_eq!(other.find(&message(&[])), Some(0));
    assert_eq!(other.find(&message(&[("header.a", "2")])), Some(0));
    assert_eq!(
        other.find(&message(&[("header.a", "2"), ("header.a", "1")])),
        None
    );
}

#[test]
fn codecs_look_only_as_deep_as_the_routes_need() {
    let interest = |route: Route| {
        let table = table(vec![route]);
        (table.interest(), table.response_interest())
    };
    let edited = |request: &[&str], response: &[&str]| {
        let remove = |names: &[&str]| {
            names
                .iter()
                .map(|&name| Change::Remove(name.to_owned()))
                .collect()
        };
        let mut edited = route("x", vec![]);
        edited.mutation = Mutation {
            request: remove(request),
            response: remove(response),
        };
        edited
    };
    use Interest::{Body, Headers, Route as Cheap};
    assert_eq!(
        interest(route("x", vec![exact("method", "a")])),
        (Cheap, Cheap)
    );
    assert_eq!(
        interest(route("x", vec![exact("header.a", "a")])),
        (Headers, Cheap)
    );
    assert_eq!(
        interest(route("x", vec![not(exact("note", "a"))])),
        (Body, Cheap)
    );
    assert_eq!(interest(edited(&["header.a"], &[])), (Headers, Cheap));
    assert_eq!(interest(edited(&["note"], &["header.a"])), (Body, Headers));
    assert_eq!(interest(edited(&[], &["result"])), (Cheap, Body));
}

#[test]
fn clusters_are_chosen_exactly_by_weight() {
    let mut split = route("x", vec![]);
    split.clusters = vec![target("a", 1), target("b", 0), target("c", 6)];
    let table = table(vec![split]);
    let route = &table.routes()[0];
    assert_eq!(
        route.targets().collect::<Vec<_>>(),
        [(0, 1), (1, 0), (2, 6)]
    );
    let mut counts = [0; 3];
    for part in 0..7000u64 {
        counts[route.choose(u64::MAX / 7000 * part + 1000)] += 1;
    }
    assert_eq!(counts, [1000, 0, 6000]);
    assert_eq!((route.choose(0), route.choose(u64::MAX)), (0, 2));
}

#[test]
fn only_clusters_that_hash_have_a_hash() {
    let mut split = route("x", vec![]);
    split.clusters = vec![target("a", 1), target("c", 1)];
    split.timeout = Some(Duration::from_secs(3));
    let table = table(vec![split]);
    let route = &table.routes()[0];
    let source = [10, 0, 0, 1].into();
    let call = message(&[("method", "say")]);
    assert_eq!(route.hash(0, &call, source), None);
    assert_eq!(
        route.hash(2, &call, source),
        Some(crate::stable_hash(b"say"))
    );
    assert_eq!(route.hash(2, &message(&[]), source), None);
    assert_eq!(
        route.hash(1, &call, source),
        None,
        "not a target of this route"
    );
    assert_eq!(route.timeout, Some(Duration::from_secs(3)));
}

fn ten_thousand(rule: impl Fn(usize) -> Vec<AttributeMatch>) -> Vec<Route> {
    (0..10_000)
        .map(|n| route(&format!("r{n}"), rule(n)))
        .collect()
}

#[test]
fn ten_thousand_exact_routes_cost_no_more_than_a_few() {
    let routes = ten_thousand(|n| {
        vec![
            exact("service", &format!("s{}", n / 100)),
            exact("method", &format!("m{}", n % 100)),
        ]
    });
    let table = table(routes);
    for (service, method, expected) in [
        ("s0", "m0", Some(0)),
        ("s99", "m99", Some(9999)),
        ("s50", "m7", Some(5007)),
        ("s50", "x", None),
    ] {
        let (found, tested) = find_counted(&table, &[("service", service), ("method", method)]);
        assert_eq!(found, expected);
        assert!(tested <= 2, "{tested} routes tested");
    }
    let (found, tested) = find_counted(&table, &[("service", "s1")]);
    assert_eq!((found, tested), (None, 0));
}

#[test]
fn the_index_holds_among_routes_of_other_kinds() {
    let mut routes = vec![route("odd", vec![not(test("method", Matcher::Present))])];
    routes.extend(ten_thousand(|n| match n % 4 {
        0 => vec![exact("service", &format!("s{n}"))],
        1 => vec![exact("service", &format!("s{n}")), exact("method", "m")],
        2 => vec![
            exact("header.tenant", &format!("t{n}")),
            test("method", Matcher::Present),
        ],
        _ => vec![
            exact("service", "s"),
            exact("keys", &format!("k{n}")),
            exact("header.a", "b"),
        ],
    }));
    routes.push(route("rest", vec![]));
    let table = table(routes);
    for attributes in [
        &[("service", "s9996"), ("method", "m")][..],
        &[("service", "s9997"), ("method", "m")],
        &[
            ("header.tenant", "t9998"),
            ("header.tenant", "t2"),
            ("method", "m"),
        ],
        &[
            ("service", "s"),
            ("method", "m"),
            ("header.a", "b"),
            ("keys", "x"),
            ("keys", "k9999"),
        ],
        &[("method", "m")],
    ] {
        let (found, tested) = find_counted(&table, attributes);
        assert_eq!(found, first_by_scan(&table, &message(attributes)));
        assert!(
            found.is_some() && tested <= 5,
            "{attributes:?}: {tested} routes tested"
        );
    }
}

#[test]
fn many_sets_of_attributes_do_not_become_many_lookups() {
    // Each route names a service and some of ten headers: a thousand different sets.
    let routes = ten_thousand(|n| {
        let headers = (0..10).filter(|bit| n >> bit & 1 == 1);
        let mut rules: Vec<_> = headers
            .map(|bit| exact(&format!("header.h{bit}"), "1"))
            .collect();
        rules.push(exact("service", &format!("s{n}")));
        rules
    });
    let table = table(routes);
    let mut attributes: Vec<(String, &str)> =
        (0..10).map(|bit| (format!("header.h{bit}"), "1")).collect();
    attributes.push(("service".to_owned(), "s9999"));
    let attributes: Vec<(&str, &str)> = attributes.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    let (found, tested) = find_counted(&table, &attributes);
    assert_eq!(found, Some(9999));
    assert!(tested <= 3, "{tested} routes tested");
}

#[test]
fn a_message_that_repeats_a_value_does_not_repeat_the_tests() {
    let mut routes: Vec<Route> = (0..10)
        .map(|n| route("other", vec![exact("header.a", &n.to_string())]))
        .collect();
    let same = || {
        vec![
            exact("header.a", "x"),
            test("method", Matcher::Prefix("get".to_owned())),
        ]
    };
    routes.extend((0..100).map(|_| route("same", same())));
    let table = table(routes);
    let mut attributes = vec![("header.a", "x"); 1000];
    assert!(find_counted(&table, &attributes).1 <= 400);
    attributes.push(("header.a", "7"));
    assert_eq!(find_counted(&table, &attributes).0, Some(7));
    attributes.push(("method", "get"));
    assert_eq!(find_counted(&table, &attributes).0, Some(7));
}

#[test]
fn explanations_name_the_test_that_failed_and_what_was_seen() {
    let table = table(vec![
        route(
            "canary",
            vec![exact("service", "users"), exact("header.tenant", "beta")],
        ),
        route(
            "reads",
            vec![test(
                "method",
                Matcher::Regex(WholeRegex::new("get.*").unwrap()),
            )],
        ),
        route("others", vec![not(exact("method", "set"))]),
        route("rest", vec![]),
        route("unreachable", vec![]),
    ]);
    let call = message(&[
        ("service", "users"),
        ("method", "set"),
        ("header.tenant", "a"),
        ("header.tenant", "b"),
    ]);
    let told: Vec<String> = table
        .explain(&call)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "route 0 `canary`: no: `header.tenant` should be: is `beta`; it is `a`, `b`",
            "route 1 `reads`: no: `method` should be: matches `get.*`; it is `set`",
            "route 2 `others`: no: `method` should be: not: is `set`; it is `set`",
            "route 3 `rest`: yes",
        ]
    );
}

const NAMES: [&str; 6] = ["service", "method", "note", "keys", "header.a", "header.b"];

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0..9u8).prop_map(|n| n.to_string()),
        1 => Just(String::new()),
        1 => Just("1234567890".repeat(30)),
    ]
}

fn rule() -> impl Strategy<Value = AttributeMatch> {
    let matcher = prop_oneof![
        12 => value().prop_map(Matcher::Exact),
        1 => Just(Matcher::Present),
        1 => value().prop_map(Matcher::Prefix),
        1 => value().prop_map(Matcher::Suffix),
        1 => (0..9i64, 0..9i64).prop_map(|(start, end)| Matcher::Range { start, end }),
        1 => prop::sample::select(vec!["[0-4]", "1.*", ""])
            .prop_map(|pattern| Matcher::Regex(WholeRegex::new(pattern).unwrap())),
    ];
    (
        prop::sample::select(&NAMES[..]),
        matcher,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(name, matcher, negate)| AttributeMatch {
            name: name.to_owned(),
            matcher,
            negate,
        })
}

#[test]
fn a_caller_s_timeout_is_worth_a_deeper_look_where_that_is_said() {
    let plain = || route("a", vec![exact("service", "a")]);
    assert_eq!(table(vec![plain()]).interest(), Interest::Route);
    let mut asks = plain();
    asks.caller_timeout = true;
    assert_eq!(table(vec![plain(), asks]).interest(), Interest::Headers);
}

/// Tables of routes that mostly test the same few attributes, as real ones do, or any.
fn routes() -> impl Strategy<Value = Vec<Route>> {
    let any_rules = prop::collection::vec(rule(), 0..4);
    let same_rules =
        (value(), value(), prop::option::weighted(0.2, rule())).prop_map(|(a, b, more)| {
            [exact("service", &a), exact("header.a", &b)]
                .into_iter()
                .chain(more)
                .collect::<Vec<_>>()
        });
    let rules = prop_oneof![any_rules, same_rules];
    prop::collection::vec(rules.prop_map(|rules| route("x", rules)), 0..150)
}

fn attributes() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    prop::collection::vec((prop::sample::select(&NAMES[..]), value()), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The index changes the cost, and nothing else.
    #[test]
    fn the_index_agrees_with_a_scan(
        routes in routes(),
        messages in prop::collection::vec(attributes(), 1..30),
    ) {
        let table = table(routes);
        for attributes in &messages {
            let pairs: Vec<(&str, &str)> =
                attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let message = message(&pairs);
            let found = table.find(&message);
            prop_assert_eq!(found, first_by_scan(&table, &message));
            let explained = table.explain(&message);
            let won = explained.last().filter(|verdict| verdict.failed.is_none());
            prop_assert_eq!(found, won.map(|verdict| verdict.position));
        }
    }

    /// Every random number leads to a cluster of positive weight.
    #[test]
    fn whatever_is_chosen_has_a_weight(weights in prop::array::uniform3(0..5u32), random in any::<u64>()) {
        prop_assume!(weights.iter().any(|&weight| weight > 0));
        let mut split = route("x", vec![]);
        split.clusters = ["a", "b", "c"].iter().zip(weights).map(|(name, weight)| target(name, weight)).collect();
        let chosen = table(vec![split]).routes()[0].choose(random);
        prop_assert!(weights[chosen] > 0);
    }
}
