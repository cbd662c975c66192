//! Policies, held to their definition word for word. No protocol is known here but the fixture's.

use std::net::SocketAddr;

use meltemi_config::Origin;
use proptest::prelude::*;

use super::*;
use crate::fixture::{message, spec};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

fn peer(source: &str, principal: Option<&str>) -> Peer {
    let source: SocketAddr = format!("{source}:999").parse().unwrap();
    let remote = [192, 168, 0, 7].into();
    Peer::new(source, remote, 20880, principal.map(Into::into))
}

fn clause(subject: Subject, values: Vec<ValueMatch>) -> Clause {
    Clause {
        subject,
        values,
        not: false,
    }
}

fn exact(text: &str) -> ValueMatch {
    ValueMatch::Exact(text.to_owned())
}

fn policy(name: &str, rules: Vec<PolicyRule>) -> Plain {
    Plain {
        name: name.to_owned(),
        rules,
        undetermined: Undetermined::Deny,
        origin: Origin::default(),
    }
}

fn when(clauses: Vec<Clause>) -> PolicyRule {
    PolicyRule {
        when: clauses,
        ..PolicyRule::default()
    }
}

fn attribute(name: &str, value: &str) -> Clause {
    clause(Subject::Attribute(name.to_owned()), vec![exact(value)])
}

fn compile(authorization: &Authorization) -> Authorizer {
    Authorizer::compile(authorization, &spec()).0
}

#[test]
fn deny_comes_before_allow_and_an_allow_denies_the_rest() {
    let authorizer = compile(&Authorization {
        deny: vec![policy("deny", vec![when(vec![attribute("method", "set")])])],
        allow: vec![policy("allow", vec![when(vec![attribute("service", "a")])])],
        audit: vec![policy("audit", vec![when(vec![])])],
    });
    let peer = peer("10.0.0.1", None);
    let decide = |attributes| {
        let message = message(attributes);
        let audits: Vec<String> = authorizer
            .audits(&message, &peer)
            .map(str::to_owned)
            .collect();
        assert_eq!(audits, ["audit"]);
        match authorizer.decide(&message, &peer) {
            Access::Allowed => "allowed".to_owned(),
            Access::Denied { policy, .. } => policy.unwrap_or("nobody").to_owned(),
        }
    };
    assert_eq!(decide(&[("service", "a"), ("method", "set")]), "deny");
    assert_eq!(decide(&[("service", "a"), ("method", "get")]), "allowed");
    assert_eq!(decide(&[("service", "b")]), "nobody");
}

#[test]
fn a_policy_without_rules_never_matches() {
    let none = Authorization::default();
    let with = |allow: Vec<Plain>, deny: Vec<Plain>| {
        let authorization = Authorization {
            deny,
            allow,
            ..none.clone()
        };
        let authorizer = compile(&authorization);
        authorizer.decide(&message(&[]), &peer("10.0.0.1", None)) == Access::Allowed
    };
    assert!(with(vec![], vec![]) && with(vec![], vec![policy("d", vec![])]));
    assert!(!with(vec![policy("a", vec![])], vec![]));
    // A rule that asks for nothing matches everything.
    assert!(with(vec![policy("a", vec![PolicyRule::default()])], vec![]));
}

#[test]
fn every_subject_is_tested() {
    let passes = |subject: Subject, value: &str, peer: &Peer| {
        let value = match (value.strip_suffix('*'), IpBlock::parse(value)) {
            (Some(""), _) => ValueMatch::Present,
            (Some(prefix), _) => ValueMatch::Prefix(prefix.to_owned()),
            (None, Some(block)) if value.contains('/') => ValueMatch::Block(block),
            _ => exact(value),
        };
        let rule = when(vec![clause(subject, vec![value])]);
        let authorizer = compile(&Authorization {
            allow: vec![policy("a", vec![rule])],
            ..Authorization::default()
        });
        let message = message(&[("header.ip", "10.1.2.3"), ("keys", "a"), ("keys", "b")]);
        authorizer.decide(&message, peer) == Access::Allowed
    };
    let web = peer("10.0.0.1", Some(WEB));
    assert!(passes(
        Subject::Principal,
        "cluster.local/ns/shop/sa/web",
        &web
    ));
    assert!(!passes(Subject::Principal, WEB, &web));
    assert!(passes(Subject::Namespace, "shop", &web) && !passes(Subject::Namespace, "sho", &web));
    assert!(passes(Subject::ServiceAccount, "shop/web", &web));
    assert!(passes(Subject::TrustDomain, "cluster.*", &web));
    assert!(passes(Subject::SourceIp, "10.0.0.0/8", &web));
    assert!(passes(Subject::SourceIp, "10.0.0.1", &web));
    assert!(passes(Subject::SourceIp, "10.0.*", &web));
    assert!(passes(Subject::RemoteIp, "192.168.0.0/16", &web));
    assert!(!passes(Subject::RemoteIp, "10.0.0.0/8", &web));
    assert!(passes(Subject::DestinationPort, "20880", &web));
    assert!(!passes(Subject::DestinationPort, "2088", &web));
    let keys = || Subject::Attribute("keys".to_owned());
    assert!(passes(keys(), "*", &web) && !passes(keys(), "b", &web));
    let header = || Subject::Attribute("header.ip".to_owned());
    assert!(passes(header(), "10.1.0.0/16", &web) && !passes(header(), "10.2.0.0/16", &web));
    let unknown = Subject::Attribute("nowhere".to_owned());
    assert!(!passes(unknown, "*", &web));
    let nobody = peer("10.0.0.1", None);
    for subject in [
        Subject::Principal,
        Subject::Namespace,
        Subject::ServiceAccount,
        Subject::TrustDomain,
    ] {
        assert!(!passes(subject.clone(), "*", &nobody) && passes(subject, "*", &web));
    }
    let mapped = Peer::new(
        "[::ffff:10.0.0.1]:9".parse().unwrap(),
        [0, 0, 0, 0].into(),
        1,
        None,
    );
    assert!(passes(Subject::SourceIp, "10.0.0.1", &mapped));
    assert!(passes(Subject::SourceIp, "10.0.0.0/8", &mapped));
}

#[test]
fn of_several_values_every_one_is_allowed_and_any_is_denied() {
    let clause = |prefix: &str, not: bool| Clause {
        not,
        ..clause(
            Subject::Attribute("keys".to_owned()),
            vec![ValueMatch::Prefix(prefix.to_owned())],
        )
    };
    let peer = peer("10.0.0.1", None);
    let decide = |allow: bool, not: bool, keys: &[&str]| {
        let policies = vec![policy("p", vec![when(vec![clause("user:", not)])])];
        let mut authorization = Authorization::default();
        if allow {
            authorization.allow = policies;
        } else {
            authorization.deny = policies;
        }
        let pairs: Vec<(&str, &str)> = keys.iter().map(|key| ("keys", *key)).collect();
        compile(&authorization).decide(&message(&pairs), &peer) == Access::Allowed
    };
    let (own, mixed, foreign) = (
        ["user:1", "user:2"],
        ["user:1", "secret:1"],
        ["secret:1", "secret:2"],
    );
    let all = |allow, not| [&own[..], &mixed, &foreign, &[]].map(|keys| decide(allow, not, keys));
    assert_eq!(all(true, false), [true, false, false, false]);
    assert_eq!(all(true, true), [false, false, true, true]);
    assert_eq!(all(false, false), [false, false, true, true]);
    assert_eq!(all(false, true), [true, false, false, false]);
}

#[test]
fn policies_tell_how_deep_to_look() {
    let interest = |name: &str| {
        let rule = PolicyRule {
            to: vec![vec![attribute(name, "x")]],
            ..PolicyRule::default()
        };
        let authorization = Authorization {
            audit: vec![policy("a", vec![rule])],
            ..Authorization::default()
        };
        Authorizer::compile(&authorization, &spec()).1
    };
    assert_eq!(interest("method"), Interest::Route);
    assert_eq!(interest("header.a"), Interest::Headers);
    assert_eq!(interest("note"), Interest::Body);
}

#[test]
fn what_cannot_be_determined_is_denied_and_not_allowed() {
    let peer = peer("10.0.0.1", None);
    let Lookup::Slot(method) = spec().lookup("method").unwrap().0 else {
        panic!("`method` has a slot")
    };
    let mut hidden = message(&[("service", "a")]);
    hidden.attributes.set_undetermined(method);
    let not = |mut clause: Clause| {
        clause.not = true;
        clause
    };
    let present = clause(
        Subject::Attribute("method".to_owned()),
        vec![ValueMatch::Present],
    );
    let secret = attribute("method", "secret");
    for clause in [
        secret.clone(),
        not(secret.clone()),
        present.clone(),
        not(present),
    ] {
        let rules = || vec![policy("p", vec![when(vec![clause.clone()])])];
        let deny = Authorization {
            deny: rules(),
            audit: rules(),
            ..Authorization::default()
        };
        let deny = compile(&deny);
        let denied = Access::Denied {
            policy: Some("p"),
            undetermined: Some("method"),
        };
        assert_eq!(deny.decide(&hidden, &peer), denied);
        assert_eq!(deny.audits(&hidden, &peer).count(), 1);
        let allow = Authorization {
            allow: rules(),
            ..Authorization::default()
        };
        let denied = Access::Denied {
            policy: None,
            undetermined: Some("method"),
        };
        assert_eq!(compile(&allow).decide(&hidden, &peer), denied);
    }
    // What is known decides: the rule is about another service.
    let other = Authorization {
        deny: vec![policy(
            "p",
            vec![when(vec![secret, attribute("service", "b")])],
        )],
        ..Authorization::default()
    };
    assert_eq!(compile(&other).decide(&hidden, &peer), Access::Allowed);
}

#[test]
fn a_policy_may_take_the_best_guess() {
    let peer = peer("10.0.0.1", None);
    let Lookup::Slot(method) = spec().lookup("method").unwrap().0 else {
        panic!("`method` has a slot")
    };
    let guesses = |value: &str| {
        vec![Plain {
            undetermined: Undetermined::BestGuess,
            ..policy("p", vec![when(vec![attribute("method", value)])])
        }]
    };
    let mut hidden = message(&[("method", "get")]);
    hidden.attributes.set_undetermined(method);
    for (value, matches) in [("get", true), ("secret", false)] {
        let deny = compile(&Authorization {
            deny: guesses(value),
            ..Authorization::default()
        });
        let allow = compile(&Authorization {
            allow: guesses(value),
            ..Authorization::default()
        });
        let denied = |policy| Access::Denied {
            policy,
            undetermined: None,
        };
        if matches {
            assert_eq!(deny.decide(&hidden, &peer), denied(Some("p")));
            assert_eq!(allow.decide(&hidden, &peer), Access::Allowed);
        } else {
            assert_eq!(deny.decide(&hidden, &peer), Access::Allowed);
            assert_eq!(allow.decide(&hidden, &peer), denied(None));
        }
    }
}

/// What the compiled policies must agree with: the definition, word for word.
mod naive {
    use super::*;

    fn seen(
        subject: &Subject,
        attributes: &[(&str, String)],
        peer: &Peer,
        spiffe: Option<&str>,
    ) -> Vec<String> {
        let part = |at: usize| spiffe.map(|uri| uri.split('/').nth(at).unwrap().to_owned());
        match subject {
            Subject::Attribute(name) => attributes
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
                .collect(),
            Subject::Principal => spiffe
                .map(|uri| uri.replace("spiffe://", ""))
                .into_iter()
                .collect(),
            Subject::TrustDomain => part(2).into_iter().collect(),
            Subject::Namespace => part(4).into_iter().collect(),
            Subject::ServiceAccount => part(4)
                .map(|ns| format!("{ns}/{}", part(6).unwrap()))
                .into_iter()
                .collect(),
            Subject::SourceIp => vec![peer.source.ip().to_string()],
            Subject::RemoteIp => vec![peer.remote.to_string()],
            Subject::DestinationPort => vec![peer.port.to_string()],
        }
    }

    pub(super) fn allowed(
        authorization: &Authorization,
        attributes: &[(&str, String)],
        undetermined: &[&str],
        peer: &Peer,
        spiffe: Option<&str>,
    ) -> bool {
        let value = |matcher: &ValueMatch, value: &String| match matcher {
            ValueMatch::Present => true,
            ValueMatch::Exact(text) => value == text,
            ValueMatch::Prefix(text) => value.starts_with(text),
            ValueMatch::Suffix(text) => value.ends_with(text),
            ValueMatch::Block(block) => value.parse().is_ok_and(|ip| block.contains(ip)),
        };
        let clause = |clause: &Clause, allows: bool| {
            let hidden = |name: &String| undetermined.contains(&name.as_str());
            if matches!(&clause.subject, Subject::Attribute(name) if hidden(name)) {
                return !allows;
            }
            let seen = seen(&clause.subject, attributes, peer, spiffe);
            // A value by itself; one that is absent matches nothing.
            let passes = |seen: Option<&String>| {
                let one = |matcher| seen.is_some_and(|seen| value(matcher, seen));
                clause.values.iter().any(one) != clause.not
            };
            match (seen.as_slice(), allows) {
                ([], _) => passes(None),
                (seen, true) => seen.iter().all(|one| passes(Some(one))),
                (seen, false) => seen.iter().any(|one| passes(Some(one))),
            }
        };
        let matches = |policy: &Plain, allows: bool| {
            let all = |clauses: &Vec<Clause>| clauses.iter().all(|one| clause(one, allows));
            policy.rules.iter().any(|rule| {
                (rule.from.is_empty() || rule.from.iter().any(all))
                    && (rule.to.is_empty() || rule.to.iter().any(all))
                    && all(&rule.when)
            })
        };
        let any = |policies: &[Plain], allows| policies.iter().any(|one| matches(one, allows));
        !any(&authorization.deny, false)
            && (authorization.allow.is_empty() || any(&authorization.allow, true))
    }
}

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a",
        "ab",
        "b",
        "shop",
        "web",
        "shop/web",
        "td",
        "td/ns/shop/sa/web",
        "10.0.0.1",
        "10.9.0.1",
        "80",
        "",
    ])
    .prop_map(str::to_owned)
}

fn value_match() -> impl Strategy<Value = ValueMatch> {
    let block = prop::sample::select(vec!["10.0.0.0/16", "0.0.0.0/0", "10.9.0.1"]);
    prop_oneof![
        6 => value().prop_map(ValueMatch::Exact),
        1 => Just(ValueMatch::Present),
        2 => value().prop_map(ValueMatch::Prefix),
        2 => value().prop_map(ValueMatch::Suffix),
        2 => block.prop_map(|block| ValueMatch::Block(IpBlock::parse(block).unwrap())),
    ]
}

const NAMES: [&str; 4] = ["service", "method", "keys", "header.a"];

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        6 => prop::sample::select(&NAMES[..]).prop_map(|name| Subject::Attribute(name.to_owned())),
        1 => Just(Subject::Attribute("unknown".to_owned())),
        5 => prop::sample::select(vec![
            Subject::Principal,
            Subject::Namespace,
            Subject::ServiceAccount,
            Subject::TrustDomain,
        ]),
        3 => prop::sample::select(vec![
            Subject::SourceIp,
            Subject::RemoteIp,
            Subject::DestinationPort,
        ]),
    ]
}

fn clauses() -> impl Strategy<Value = Vec<Clause>> {
    // Sometimes so many values that they are hashed.
    let values = prop_oneof![
        4 => prop::collection::vec(value_match(), 0..4),
        1 => prop::collection::vec(value_match(), 12..24),
    ];
    let clause = (subject(), values, prop::bool::weighted(0.3));
    let clause = clause.prop_map(|(subject, values, not)| Clause {
        subject,
        values,
        not,
    });
    prop::collection::vec(clause, 0..3)
}

fn policies() -> impl Strategy<Value = Vec<Plain>> {
    let alternatives = || prop::collection::vec(clauses(), 0..3);
    let rule = (alternatives(), alternatives(), clauses());
    let rule = rule.prop_map(|(from, to, when)| PolicyRule { from, to, when });
    let policy = prop::collection::vec(rule, 0..3).prop_map(|rules| policy("p", rules));
    prop::collection::vec(policy, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn compiled_policies_agree_with_the_definition(
        deny in policies(),
        allow in policies(),
        attributes in prop::collection::vec((prop::sample::select(&NAMES[..]), value()), 0..4),
        hidden in prop::sample::subsequence(vec!["service", "method", "keys", "header.a"], 0..3),
        address in prop::sample::select(vec!["10.0.0.1", "10.9.0.1"]),
        identity in prop::option::of((
            prop::sample::select(vec!["td", "other"]),
            prop::sample::select(vec!["shop", "a"]),
            prop::sample::select(vec!["web", "b"]),
        )),
    ) {
        let spiffe = identity.map(|(td, ns, sa)| format!("spiffe://{td}/ns/{ns}/sa/{sa}"));
        let mut peer = peer(address, spiffe.as_deref());
        peer.port = 80;
        let authorization = Authorization { deny, allow, audit: vec![] };
        let mut attributes = attributes;
        // A slot has one value: the last.
        for name in ["service", "method"] {
            let last = attributes.iter().rev().find(|(known, _)| *known == name).cloned();
            attributes.retain(|(known, _)| *known != name);
            attributes.extend(last);
        }
        let pairs: Vec<(&str, &str)> =
            attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // Open entries are undetermined together.
        let mut hidden = hidden;
        if hidden.iter().any(|name| ["keys", "header.a"].contains(name)) {
            hidden.extend(["keys", "header.a"]);
        }
        let mut message = message(&pairs);
        for name in &hidden {
            match spec().lookup(name).unwrap().0 {
                Lookup::Slot(key) => message.attributes.set_undetermined(key),
                Lookup::Open(_) => message.attributes.set_open_undetermined(),
            }
        }
        let authorizer = compile(&authorization);
        let decided = authorizer.decide(&message, &peer);
        let expected = naive::allowed(&authorization, &attributes, &hidden, &peer, spiffe.as_deref());
        prop_assert_eq!(decided == Access::Allowed, expected);
        if hidden.is_empty() {
            let named = matches!(decided, Access::Denied { undetermined: Some(_), .. });
            prop_assert!(!named);
        }
    }
}
