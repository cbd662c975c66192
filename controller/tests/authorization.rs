//! Who may ask for what: which policies apply where, and what their tests become in a protocol.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

mod common;

use common::load_text;
use meltemi_config::{Authorization, Clause, Config, Policy, PolicyRule, Severity, ValueMatch};
use meltemi_controller::Outcome;

/// Two gateways in two namespaces; a Dubbo, a Thrift and a Redis service.
const MESH: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: web}
spec:
  selector: {app: edge, tier: front}
  servers:
  - {port: {number: 1, name: tcp-dubbo}}
  - {port: {number: 2, name: tcp-thrift}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: store, namespace: data}
spec: {selector: {app: store}, servers: [{port: {number: 3, name: tcp-redis}}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: greeter, namespace: web}
spec: {hosts: [greeter], resolution: STATIC, endpoints: [{address: 10.0.0.1}], ports: [{number: 1, name: tcp-dubbo}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: maths, namespace: web}
spec: {hosts: [maths.web.svc.cluster.local], resolution: STATIC, endpoints: [{address: 10.0.0.2}], ports: [{number: 2, name: tcp-thrift}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cache, namespace: data}
spec: {hosts: [cache], resolution: STATIC, endpoints: [{address: 10.0.0.3}], ports: [{number: 3, name: tcp-redis}]}
---
";

const ISTIO: &str = "security.istio.io/v1/AuthorizationPolicy";
const OWN: &str = "meltemi.io/v1alpha1/AuthorizationPolicy";
const DUBBO: &str = "dubbo.aeraki.io/v1alpha1/DubboAuthorizationPolicy";

/// A policy with this spec, which stands on its fourth line.
fn policy(kind: &str, place: &str, spec: &str) -> String {
    let (version, kind) = kind.rsplit_once('/').unwrap();
    let (namespace, name) = place.split_once('/').unwrap();
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
    )
}

/// The same whose methods are operations.
fn annotated(place: &str, spec: &str) -> String {
    policy(ISTIO, place, spec).replace(
        "}\nspec",
        ", annotations: {meltemi.io/operations: \"true\"}}\nspec",
    )
}

fn with(document: &str) -> Outcome {
    load_text(&format!("{MESH}{document}"))
}

#[track_caller]
fn config(outcome: &Outcome) -> &Config {
    let config = outcome.config.as_ref();
    config.unwrap_or_else(|| panic!("{:?}", outcome.problems))
}

/// A configuration that is loaded without a problem.
#[track_caller]
fn clean(document: &str) -> Outcome {
    let outcome = with(document);
    let problems: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    outcome
}

fn names(policies: Option<&Authorization>) -> String {
    let Some(all) = policies else {
        return String::new();
    };
    let list = |policies: &[Policy]| -> String {
        let names = policies.iter();
        let names: Vec<&str> = names
            .filter_map(|one| one.name.rsplit('/').next())
            .collect();
        names.join(",")
    };
    format!(
        "deny {} allow {} audit {}",
        list(&all.deny),
        list(&all.allow),
        list(&all.audit)
    )
}

/// `protocol: policies of the listener; policies of its routes`.
fn applied(outcome: &Outcome) -> Vec<String> {
    let listeners = config(outcome).listeners().iter();
    let served = listeners.flat_map(|listener| &listener.served);
    served
        .map(|served| {
            let routes = served.routes.iter();
            let routes: Vec<String> = routes
                .map(|one| names(one.authorization.as_deref()))
                .collect();
            format!(
                "{}: {}; {}",
                served.protocol.spec().name,
                names(served.authorization.as_deref()),
                routes.join(" | ")
            )
        })
        .collect()
}

fn clause(clause: &Clause) -> String {
    let values: Vec<String> = clause
        .values
        .iter()
        .map(|value| match value {
            ValueMatch::Present => "*".to_owned(),
            ValueMatch::Exact(text) => text.clone(),
            ValueMatch::Prefix(text) => format!("{text}*"),
            ValueMatch::Suffix(text) => format!("*{text}"),
            ValueMatch::Block(block) => {
                format!("block {}", block.contains("10.1.2.3".parse().unwrap()))
            }
        })
        .collect();
    let not = if clause.not { " not" } else { "" };
    format!("{:?}{not} {}", clause.subject, values.join(" "))
}

fn rule(rule: &PolicyRule) -> String {
    let all = |clauses: &[Clause]| clauses.iter().map(clause).collect::<Vec<_>>().join(" & ");
    let any = |groups: &[Vec<Clause>]| {
        let groups: Vec<String> = groups.iter().map(|group| all(group)).collect();
        groups.join(" or ")
    };
    format!(
        "from [{}] to [{}] when [{}]",
        any(&rule.from),
        any(&rule.to),
        all(&rule.when)
    )
}

/// The rules of the first policy of a protocol's listener.
#[track_caller]
fn rules(outcome: &Outcome, protocol: &str) -> Vec<String> {
    let mut served = config(outcome)
        .listeners()
        .iter()
        .flat_map(|one| &one.served);
    let served = served
        .find(|one| one.protocol.spec().name == protocol)
        .unwrap();
    let all = served.authorization.as_ref().unwrap();
    let first = all
        .deny
        .iter()
        .chain(&all.allow)
        .chain(&all.audit)
        .next()
        .unwrap();
    first.rules.iter().map(rule).collect()
}

#[test]
fn without_a_policy_nobody_is_asked() {
    assert_eq!(
        applied(&clean("")),
        ["dubbo: ; ", "thrift: ; ", "redis: ; "]
    );
}

#[test]
fn what_a_policy_is_for() {
    let here = |deny: &str| format!("deny {deny} allow  audit ");
    let cases: &[(String, [String; 3])] = &[
        (
            policy(ISTIO, "web/p", "{action: DENY, rules: [{}]}"),
            [
                format!("dubbo: {}; ", here("p")),
                format!("thrift: {}; ", here("p")),
                "redis: ; ".into(),
            ],
        ),
        (
            policy(ISTIO, "istio-system/p", "{action: DENY, rules: [{}]}"),
            ["dubbo", "thrift", "redis"].map(|name| format!("{name}: {}; ", here("p"))),
        ),
        (
            policy(
                OWN,
                "web/p",
                "{action: DENY, selector: {matchLabels: {tier: front}}, rules: [{}]}",
            ),
            [
                format!("dubbo: {}; ", here("p")),
                format!("thrift: {}; ", here("p")),
                "redis: ; ".into(),
            ],
        ),
        (
            policy(
                ISTIO,
                "istio-system/p",
                "{action: DENY, selector: {matchLabels: {app: store}}, rules: [{}]}",
            ),
            [
                "dubbo: ; ".into(),
                "thrift: ; ".into(),
                format!("redis: {}; ", here("p")),
            ],
        ),
        (
            policy(
                ISTIO,
                "data/p",
                "{action: DENY, targetRefs: [{kind: Gateway, group: networking.istio.io, name: store}], rules: [{}]}",
            ),
            [
                "dubbo: ; ".into(),
                "thrift: ; ".into(),
                format!("redis: {}; ", here("p")),
            ],
        ),
        (
            policy(
                ISTIO,
                "web/p",
                "{action: DENY, targetRef: {kind: ServiceEntry, name: greeter}, rules: [{}]}",
            ),
            [
                format!("dubbo: ; {}", here("p")),
                "thrift: ; ".into(),
                "redis: ; ".into(),
            ],
        ),
        (
            policy(
                OWN,
                "web/p",
                "{action: DENY, targetRefs: [{kind: Service, name: maths}, {kind: ServiceEntry, name: cache}], rules: [{}]}",
            ),
            [
                "dubbo: ; ".into(),
                format!("thrift: ; {}", here("p")),
                format!("redis: ; {}", here("p")),
            ],
        ),
        (
            policy(DUBBO, "web/p", "{action: DENY, rules: [{}]}"),
            [
                format!("dubbo: {}; ", here("p")),
                "thrift: ; ".into(),
                "redis: ; ".into(),
            ],
        ),
    ];
    for (document, expected) in cases {
        assert_eq!(applied(&clean(document)), *expected, "{document}");
    }
}

#[test]
fn policies_of_a_service_are_those_of_its_router_s_routes() {
    let router = "apiVersion: metaprotocol.aeraki.io/v1alpha1\nkind: MetaRouter\nmetadata: {name: r, namespace: web}\n\
                  spec: {hosts: [maths], routes: [{match: {attributes: {method: {exact: a}}}, route: &r [{destination: {host: maths}}]}, {route: *r}]}\n---\n";
    let one = policy(
        ISTIO,
        "web/p",
        "{action: DENY, targetRefs: [{kind: Service, name: maths}], rules: [{}]}",
    );
    let found = applied(&clean(&format!("{router}{one}")));
    assert_eq!(
        found[1],
        "thrift: ; deny p allow  audit  | deny p allow  audit "
    );
}

#[test]
fn policies_of_a_service_hold_at_its_clusters() {
    // The route is of another host, in weighted parts and with a copy.
    let spare = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: spare, namespace: web}\n\
                 spec: {hosts: [spare], resolution: STATIC, endpoints: [{address: 10.0.0.9}], ports: [{number: 2, name: tcp-thrift}]}\n---\n";
    let router = |destinations: &str| {
        format!(
            "{spare}apiVersion: meltemi.io/v1alpha1\nkind: MetaRouter\nmetadata: {{name: r, namespace: web}}\n\
             spec: {{hosts: [maths], routes: [{{{destinations}}}]}}\n---\n"
        )
    };
    let policy = policy(
        ISTIO,
        "web/p",
        "{action: DENY, targetRefs: [{kind: ServiceEntry, name: spare}], rules: [{}]}",
    );
    for destinations in [
        "route: [{destination: {host: spare}}]",
        "route: [{destination: {host: maths}, weight: 1}, {destination: {host: spare}, weight: 1}]",
        "route: [{destination: {host: maths}}], mirrors: [{destination: {host: spare}, percentage: {value: 100}}]",
    ] {
        let outcome = clean(&format!("{}{policy}", router(destinations)));
        assert_eq!(applied(&outcome)[1], "thrift: ; ", "{destinations}");
        for cluster in config(&outcome).clusters() {
            let own = cluster.authorization.get("thrift");
            let expected = if cluster.name.ends_with("|spare") {
                "deny p allow  audit "
            } else {
                ""
            };
            let found = names(own.map(|own| &**own));
            assert_eq!(found, expected, "{destinations}: {}", cluster.name);
        }
    }
}

#[test]
fn actions_are_kept_apart_and_add_up() {
    let all = policy(ISTIO, "web/a", "{}")
        + &policy(ISTIO, "istio-system/b", "{action: ALLOW, rules: [{}]}")
        + &policy(ISTIO, "web/c", "{action: AUDIT, rules: [{}]}")
        + &policy(OWN, "web/d", "{action: DENY, rules: [{}]}");
    let outcome = clean(&all);
    assert_eq!(applied(&outcome)[1], "thrift: deny d allow a,b audit c; ");
    // The one without rules is there, and matches nothing: nobody is allowed by it.
    let served = &config(&outcome).listeners()[0].served[0];
    let allow = &served.authorization.as_ref().unwrap().allow;
    assert!(allow[0].rules.is_empty());
    assert_eq!(allow[1].rules, [PolicyRule::default()]);
    assert_eq!(allow[0].origin.line, MESH.lines().count() + 1);
}

#[test]
fn sources_ports_and_conditions_are_of_every_protocol() {
    let spec = "{rules: [{from: [{source: {principals: [cluster.local/ns/web/*], notPrincipals: ['*/sa/guest'], \
                namespaces: [web], notNamespaces: ['*'], trustDomains: [td], ipBlocks: [10.0.0.0/8], notIpBlocks: [10.1.2.3]}}, \
                {source: {serviceAccounts: [bookinfo, data/loader], remoteIpBlocks: ['::/0']}}], \
                to: [{operation: {ports: ['2'], notPorts: ['7']}}], \
                when: [{key: source.ip, values: [10.1.2.0/24]}, {key: remote.ip, notValues: [1.2.3.4]}, \
                {key: source.namespace, values: [a]}, {key: source.principal, values: ['*']}, \
                {key: source.serviceAccount, notValues: [x]}, {key: destination.port, values: ['2'], notValues: ['3']}]}]}";
    for kind in [ISTIO, OWN] {
        let found = rules(&clean(&policy(kind, "web/p", spec)), "thrift");
        assert_eq!(
            found,
            [
                "from [Principal cluster.local/ns/web/* & Principal not */sa/guest & Namespace web & Namespace not * \
              & TrustDomain td & SourceIp block true & SourceIp not block true or \
              ServiceAccount web/bookinfo data/loader & RemoteIp block false] \
              to [DestinationPort 2 & DestinationPort not 7] \
              when [SourceIp block true & RemoteIp not block false & Namespace a & Principal * & \
              ServiceAccount not web/x & DestinationPort 2 & DestinationPort not 3]"
            ],
            "{kind}"
        );
    }
}

#[test]
fn methods_mean_operations_where_the_annotation_says_so() {
    let spec = "{rules: [{to: [{operation: {methods: [get*], notPaths: [a.B]}}]}]}";
    let found = rules(&with(&annotated("web/p", spec)), "dubbo");
    assert_eq!(
        found,
        ["from [] to [Attribute(\"method\") get* & Attribute(\"interface\") not a.B] when []"]
    );
    let methods = "{rules: [{to: [{operation: {methods: [GET, SET]}}]}]}";
    let found = rules(&clean(&annotated("data/p", methods)), "redis");
    assert_eq!(
        found,
        ["from [] to [Attribute(\"command\") GET SET] when []"]
    );
    let dubbo = policy(
        DUBBO,
        "web/p",
        "{rules: [{from: [{source: {namespaces: [a]}}], to: [{operation: {interfaces: ['*.Greeter'], notMethods: [x]}}]}]}",
    );
    assert_eq!(
        rules(&clean(&dubbo), "dubbo"),
        [
            "from [Namespace a] to [Attribute(\"interface\") *.Greeter & Attribute(\"method\") not x & \
             Attribute(\"generic.method\") not x] when []"
        ]
    );
}

#[test]
fn a_generic_call_is_denied_by_what_it_stands_for() {
    let to = |action: &str, operation: &str| {
        let spec = format!("{{action: {action}, rules: [{{to: [{{operation: {operation}}}]}}]}}");
        let found = rules(&clean(&policy(DUBBO, "web/p", &spec)), "dubbo").join("");
        let found = found.replace("Attribute(\"", "").replace("\")", "");
        let inner = found
            .strip_prefix("from [] to [")
            .and_then(|rest| rest.strip_suffix("] when []"));
        inner.unwrap().to_owned()
    };
    let operation = "{interfaces: [a.B], methods: [get*], notMethods: [getX]}";
    assert_eq!(
        to("DENY", operation),
        "interface a.B & method get* & method not getX or \
         interface a.B & generic.method get* & generic.method not getX"
    );
    // `$invoke` is not among them.
    assert_eq!(
        to("ALLOW", operation),
        "interface a.B & method get* & method not getX & generic.method not getX"
    );
    // A generic call never means a generic call.
    assert_eq!(to("DENY", "{methods: [$invoke]}"), "method $invoke");
    assert_eq!(
        to(
            "DENY",
            "{methods: [$invoke, get*], notMethods: [$invokeAsync]}"
        ),
        "method $invoke get* & method not $invokeAsync or generic.method get*"
    );
    // Whatever the method is, and whatever it is not: a generic call is one of them already.
    for all in [
        "{methods: ['*']}",
        "{notMethods: [ping]}",
        "{interfaces: [a.B]}",
    ] {
        let found = to("DENY", all);
        assert!(!found.contains("generic"), "{found}");
    }
}

#[test]
fn our_own_kind_names_what_protocols_have() {
    let redis = policy(
        OWN,
        "data/p",
        "{rules: [{to: [{operation: {operations: [GET], keys: ['user:*'], notKeys: ['user:0']}}]}]}",
    );
    assert_eq!(
        rules(&clean(&redis), "redis"),
        [
            "from [] to [Attribute(\"command\") GET & Attribute(\"key\") user:* & Attribute(\"key\") not user:0] when []"
        ]
    );
    let dubbo = policy(
        OWN,
        "web/p",
        "{targetRefs: [{kind: ServiceEntry, name: greeter}], rules: [{to: [{operation: {services: [a.B], notOperations: [x], \
         attributes: {user: [ada], group: [g*]}, notAttributes: {debug: ['*']}}}], \
         when: [{key: 'attributes[tenant]', values: [t]}, {key: 'request.headers[zone]', notValues: [z]}]}]}",
    );
    let outcome = clean(&dubbo);
    let route = &config(&outcome).listeners()[0].served[0].routes[0];
    let all = route.authorization.as_ref().unwrap();
    assert_eq!(
        rule(&all.allow[0].rules[0]),
        "from [] to [Attribute(\"interface\") a.B & Attribute(\"method\") not x & Attribute(\"user\") ada & \
         Attribute(\"group\") g* & Attribute(\"debug\") not * & Attribute(\"generic.method\") not x] when [Attribute(\"tenant\") t & Attribute(\"zone\") not z]"
    );
    // A bare header is found behind the protocol's prefix.
    let thrift = policy(
        ISTIO,
        "web/p",
        "{targetRefs: [{kind: Service, name: maths}], rules: [{when: [{key: 'request.headers[zone]', values: [z]}]}]}",
    );
    let outcome = clean(&thrift);
    let route = &config(&outcome).listeners()[1].served[0].routes[0];
    let all = route.authorization.as_ref().unwrap();
    assert_eq!(
        rule(&all.allow[0].rules[0]),
        "from [] to [] when [Attribute(\"header.zone\") z]"
    );
}

#[test]
fn what_only_http_has_never_allows_and_always_denies() {
    let spec = |action: &str| {
        format!(
            "{{action: {action}, rules: [{{from: [{{source: {{namespaces: [web]}}}}], to: [{{operation: {{methods: [GET], ports: ['3']}}}}]}}, \
             {{when: [{{key: request.auth.principal, values: [a]}}]}}, {{to: [{{operation: {{ports: ['4']}}}}]}}]}}"
        )
    };
    let allow = with(&policy(ISTIO, "data/p", &spec("ALLOW")));
    assert_eq!(
        rules(&allow, "redis"),
        ["from [] to [DestinationPort 4] when []"]
    );
    for action in ["DENY", "AUDIT"] {
        let outcome = with(&policy(ISTIO, "data/p", &spec(action)));
        assert_eq!(
            rules(&outcome, "redis"),
            [
                "from [Namespace web] to [DestinationPort 3] when []",
                "from [] to [] when []",
                "from [] to [DestinationPort 4] when []",
            ],
            "{action}"
        );
    }
    // An attribute that the protocol does not have is as HTTP's own.
    let header = "{rules: [{when: [{key: 'request.headers[x]', values: [a]}]}, {when: [{key: 'attributes[method]', values: [a]}]}]}";
    let outcome = with(&policy(ISTIO, "data/p", header));
    assert!(rules(&outcome, "redis").is_empty());
    let denied = with(&policy(
        ISTIO,
        "data/p",
        &header.replacen('{', "{action: DENY, ", 1),
    ));
    assert_eq!(rules(&denied, "redis"), ["from [] to [] when []"; 2]);
}

#[test]
fn what_cannot_be_is_refused_at_its_line() {
    let source = |source: &str| format!("{{rules: [{{from: [{{source: {source}}}]}}]}}");
    let when = |when: &str| format!("{{rules: [{{when: [{when}]}}]}}");
    let cases: Vec<(&str, String, &str, &str)> = vec![
        (
            ISTIO,
            "{action: CUSTOM, provider: {name: x}, rules: [{}]}".into(),
            "spec.action",
            "asks a provider outside",
        ),
        (
            ISTIO,
            "{action: DENY}".into(),
            "spec.rules",
            "denies nothing; add rules",
        ),
        (
            DUBBO,
            "{action: DENY, rules: []}".into(),
            "spec.rules",
            "denies nothing",
        ),
        (
            DUBBO,
            "{action: AUDIT}".into(),
            "spec.action",
            "It can be ALLOW, DENY",
        ),
        (
            ISTIO,
            "{selector: {matchLabels: {app: edge}}, targetRefs: [{kind: Gateway, name: edge}]}"
                .into(),
            "spec.selector",
            "targetRefs are given",
        ),
        (
            ISTIO,
            "{targetRef: {kind: Gateway, name: edge}, targetRefs: [{kind: Gateway, name: edge}]}"
                .into(),
            "spec.targetRef",
            "targetRefs are given",
        ),
        (
            ISTIO,
            "{targetRefs: [{kind: Gateway, name: edge, namespace: data}]}".into(),
            "spec.targetRefs[0].namespace",
            "another namespace",
        ),
        (
            ISTIO,
            "{targetRefs: [{kind: Pod, name: edge}]}".into(),
            "spec.targetRefs[0].kind",
            "It can be Gateway",
        ),
        (
            ISTIO,
            "{rules: [{from: []}]}".into(),
            "spec.rules[0].from",
            "is empty",
        ),
        (
            ISTIO,
            "{rules: [{to: []}]}".into(),
            "spec.rules[0].to",
            "is empty",
        ),
        (
            ISTIO,
            "{rules: [{from: [{}]}]}".into(),
            "spec.rules[0].from[0].source",
            "is missing",
        ),
        (
            OWN,
            source("{}"),
            "spec.rules[0].from[0].source",
            "is empty",
        ),
        (
            OWN,
            source("{principals: []}"),
            "spec.rules[0].from[0].source",
            "is empty",
        ),
        (
            ISTIO,
            "{rules: [{to: [{operation: {}}]}]}".into(),
            "spec.rules[0].to[0].operation",
            "is empty",
        ),
        (
            ISTIO,
            source("{ipBlocks: [10.0.0.0/33]}"),
            "spec.rules[0].from[0].source.ipBlocks[0]",
            "not a block of addresses",
        ),
        (
            ISTIO,
            source("{notRemoteIpBlocks: [here]}"),
            "spec.rules[0].from[0].source.notRemoteIpBlocks[0]",
            "not a block of addresses",
        ),
        (
            ISTIO,
            source("{principals: ['']}"),
            "spec.rules[0].from[0].source.principals[0]",
            "`*` stands for any",
        ),
        (
            ISTIO,
            source("{serviceAccounts: ['a*']}"),
            "spec.rules[0].from[0].source.serviceAccounts[0]",
            "not a service account",
        ),
        (
            ISTIO,
            source("{serviceAccounts: [a], namespaces: [b]}"),
            "spec.rules[0].from[0].source.serviceAccounts",
            "namespaces are given",
        ),
        (
            ISTIO,
            "{rules: [{to: [{operation: {ports: ['0']}}]}]}".into(),
            "spec.rules[0].to[0].operation.ports[0]",
            "is not a port",
        ),
        (
            ISTIO,
            when("{key: source.ipp, values: [a]}"),
            "spec.rules[0].when[0].key",
            "did you mean `source.ip`?",
        ),
        (
            OWN,
            when("{key: connection.sni, values: [a]}"),
            "spec.rules[0].when[0].key",
            "is not a key that can be tested",
        ),
        (
            ISTIO,
            when("{key: source.ip}"),
            "spec.rules[0].when[0]",
            "has no values",
        ),
        (
            ISTIO,
            when("{key: source.ip, values: [a]}"),
            "spec.rules[0].when[0].values[0]",
            "not a block",
        ),
        (
            ISTIO,
            "{rules: [{to: [{operation: {operations: [a]}}]}]}".into(),
            "spec.rules[0].to[0].operation.operations",
            "the kind of this name in meltemi.io/v1alpha1 has more fields",
        ),
        (
            OWN,
            "{rules: [{to: [{operation: {keys: [a]}}]}]}".into(),
            "spec.rules[0].to[0].operation.keys",
            "dubbo has no key; it has interface, method",
        ),
        (
            OWN,
            "{rules: [{to: [{operation: {services: [a]}}]}]}".into(),
            "spec.rules[0].to[0].operation.services",
            "thrift has no service; it has method, header.<name>; name the listeners or services",
        ),
        (
            OWN,
            "{rules: [{to: [{operation: {attributes: {metod: [a]}}}]}]}".into(),
            "spec.rules[0].to[0].operation.attributes.metod",
            "thrift has no attribute `metod` on requests",
        ),
        (
            OWN,
            "{rules: [{to: [{operation: {attributes: {status: [a]}}}]}]}".into(),
            "spec.rules[0].to[0].operation.attributes.status",
            "dubbo has no attribute `status` on requests",
        ),
    ];
    for (kind, spec, field, what) in cases {
        expect(
            &with(&policy(kind, "web/p", &spec)),
            Severity::Error,
            field,
            what,
        );
    }
}

#[test]
fn what_is_not_as_it_seems_is_warned_of() {
    let methods = "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}";
    let at = "spec.rules[0].to[0].operation.methods";
    let cases: Vec<(String, &str, &str)> = vec![
        (
            policy(ISTIO, "web/p", methods),
            at,
            "dubbo has nothing of the kind, so it is passed over, and the rule denies whatever it is; with the annotation",
        ),
        (
            policy(ISTIO, "web/p", &methods.replace("DENY", "AUDIT")),
            at,
            "the rule sees whatever it is",
        ),
        (
            policy(ISTIO, "web/p", &methods.replace("DENY", "ALLOW")),
            at,
            "thrift has nothing of the kind, so this rule never matches",
        ),
        (
            annotated("web/p", "{rules: [{to: [{operation: {paths: [a]}}]}]}"),
            "spec.rules[0].to[0].operation.paths",
            "thrift has no service, so this rule never matches",
        ),
        (
            policy(ISTIO, "web/p", "{action: AUDIT}"),
            "spec.rules",
            "sees nothing",
        ),
        (
            policy(ISTIO, "web/p", "{selector: {matchLabels: {app: reviews}}}"),
            "spec.selector",
            "no Gateway of this namespace has these labels",
        ),
        (
            policy(ISTIO, "shop/p", "{}"),
            "spec",
            "no Gateway that is loaded is in the namespace shop",
        ),
        (
            policy(
                ISTIO,
                "web/p",
                "{targetRefs: [{kind: Gateway, name: gone}]}",
            ),
            "spec.targetRefs[0].name",
            "there is no Gateway web/gone; what this policy forbids is not forbidden",
        ),
        (
            policy(
                ISTIO,
                "web/p",
                "{targetRefs: [{kind: Service, name: gone}]}",
            ),
            "spec.targetRefs[0].name",
            "there is no Service web/gone",
        ),
        (
            policy(
                ISTIO,
                "web/p",
                "{targetRefs: [{kind: GatewayClass, name: x}]}",
            ),
            "spec.targetRefs[0].name",
            "there is no GatewayClass",
        ),
        (
            policy(
                ISTIO,
                "web/p",
                "{rules: [{from: [{source: {principals: ['a*b']}}]}]}",
            ),
            "spec.rules[0].from[0].source.principals[0]",
            "this `*` stands for itself",
        ),
        (
            policy(
                ISTIO,
                "web/p",
                "{targetRefs: [{kind: ServiceEntry, name: greeter}], rules: [{when: [{key: 'attributes[metod]', values: [a]}]}]}",
            ),
            "spec.rules[0].when[0].values",
            "did you mean `method`?",
        ),
    ];
    for (document, field, what) in cases {
        expect(&with(&document), Severity::Warning, field, what);
    }
}

#[track_caller]
fn expect(outcome: &Outcome, severity: Severity, field: &str, what: &str) {
    let line = MESH.lines().count() + 4;
    let found = outcome.problems.iter().any(|problem| {
        problem.severity == severity
            && problem.origin.line == line
            && problem.field == field
            && problem.to_string().contains(what)
    });
    let all: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(
        found,
        "no {severity:?} at {line}, {field}, with `{what}`, but {all:#?}"
    );
    assert_eq!(outcome.config.is_none(), severity == Severity::Error);
}
