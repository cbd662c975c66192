//! Everything that is wrong is said in one go, with its line, its field and a remedy.

#![allow(clippy::panic, reason = "a panic is a failed test")]

mod common;

use common::load_text;
use meltemi_config::{Problem, Severity};
use meltemi_controller::Outcome;

/// A mesh that is in order: its lines are counted on below.
const MESH: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: local}
spec:
  servers:
  - port: {number: 20880, name: tcp-dubbo}
  - port: {number: 9090, name: tcp-thrift}
  - port: {number: 6379, name: tcp-redis}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop]
  ports:
  - {number: 20880, name: tcp-dubbo}
  - {number: 9090, name: tcp-thrift}
  - {number: 6379, name: tcp-redis}
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, labels: {version: v1}}]
";

fn with(document: &str) -> Outcome {
    load_text(&format!("{MESH}---\n{document}"))
}

/// Where `document` starts behind the mesh.
fn offset() -> usize {
    MESH.lines().count() + 1
}

fn service(ports: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec:\n  \
         hosts: [s]\n  resolution: STATIC\n  endpoints: [{{address: 127.0.0.1}}]\n  ports: {ports}\n"
    )
}

/// A document of one kind, its spec given as YAML that starts on line 5 of it.
fn document(kind: &str, spec: &str) -> String {
    let group = match kind {
        "MetaRouter" | "DestinationPolicy" | "ListenerPolicy" | "ApplicationProtocol" => {
            "meltemi.io/v1alpha1"
        }
        "RedisService" | "RedisDestination" => "redis.aeraki.io/v1alpha1",
        _ => "networking.istio.io/v1",
    };
    format!("apiVersion: {group}\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n{spec}")
}

#[track_caller]
fn find<'o>(
    outcome: &'o Outcome,
    severity: Severity,
    line: usize,
    field: &str,
    what: &str,
) -> &'o Problem {
    outcome
        .problems
        .iter()
        .find(|problem| {
            problem.severity == severity
                && problem.origin.line == line
                && problem.field == field
                && problem.to_string().contains(what)
        })
        .unwrap_or_else(|| {
            let all: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
            panic!("no {severity:?} at line {line}, {field}, with `{what}`, but {all:#?}")
        })
}

#[test]
fn the_mesh_itself_is_in_order() {
    let outcome = load_text(MESH);
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    assert_eq!(outcome.config.unwrap().listeners().len(), 3);
}

#[test]
fn problems_read_like_compilers_write() {
    let outcome = with(&document(
        "MetaRouter",
        "  hosts: [shop]\n  routes:\n  - match: {attributes: {method: {exakt: x}}}\n    route: [{destination: {host: shop, port: {number: 9090}}}]\n",
    ));
    assert_eq!(
        outcome.errors().next().unwrap().to_string(),
        "mesh.yaml:28: error: MetaRouter default/x: spec.routes[0].match.attributes.method.exakt = `x`: \
         MetaRouter has no such field; did you mean `exact`? Known here: exact, prefix, suffix, regex, range, present, not"
    );
    assert!(outcome.config.is_none());
}

#[test]
fn errors_by_document() {
    // Document, line within it, field, part of the text.
    let cases: &[(String, usize, &str, &str)] = &[
        // The text.
        ("a: [1\n".into(), 2, "document", "not YAML"),
        ("- a\n".into(), 1, "document", "is not a resource"),
        (
            "kind: Gateway\napiversion: v1\n".into(),
            1,
            "apiVersion",
            "is `apiversion` meant to be it?",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nkind: Gateway\n".into(),
            3,
            "kind",
            "on line 2",
        ),
        // The kind.
        (
            "apiVersion: networking.istio.io/v9\nkind: Gateway\n".into(),
            1,
            "apiVersion",
            "no such version",
        ),
        (
            "apiVersion: meltemi.io/v1alpha1\nkind: Nonsense\n".into(),
            2,
            "kind",
            "there is no such kind",
        ),
        (
            "apiVersion: metaprotocol.aeraki.io/v1alpha1\nkind: MetaRoute\n".into(),
            2,
            "kind",
            "did you mean MetaRouter?",
        ),
        (
            "apiVersion: networking.istio.op/v1\nkind: Gateway\n".into(),
            2,
            "kind",
            "did you mean networking.istio.io?",
        ),
        // Shapes.
        (
            document("DestinationRule", "  hots: shop\n"),
            5,
            "spec.hots",
            "did you mean `host`?",
        ),
        (
            document("DestinationRule", "  subsets: []\n"),
            4,
            "spec.host",
            "is missing",
        ),
        (
            document("Gateway", "  servers: 5\n"),
            5,
            "spec.servers",
            "must be a list",
        ),
        (
            document(
                "Gateway",
                "  servers:\n  - port:\n      number: 70000\n      name: a\n",
            ),
            7,
            "spec.servers[0].port.number",
            "from 1 to 65535",
        ),
        (
            document(
                "VirtualService",
                "  hosts: [shop]\n  http:\n  - timeout: 5\n    route: [{destination: {host: shop}}]\n",
            ),
            7,
            "spec.http[0].timeout",
            "must be a duration",
        ),
        (
            document(
                "DestinationRule",
                "  host: shop\n  trafficPolicy:\n    loadBalancer: {simple: ROUND_ROBBIN}\n",
            ),
            7,
            "spec.trafficPolicy.loadBalancer.simple",
            "did you mean ROUND_ROBIN?",
        ),
        (
            document(
                "MetaRouter",
                "  hosts: [shop]\n  routes:\n  - match:\n      attributes:\n        method: {regex: 'a('}\n    route: [{destination: {host: shop, port: {number: 9090}}}]\n",
            ),
            9,
            "spec.routes[0].match.attributes.method.regex",
            "not a regular expression",
        ),
        (
            document(
                "MetaRouter",
                "  hosts: [shop]\n  routes:\n  - match:\n      attributes:\n        method: {exact: a, prefix: b}\n    route: [{destination: {host: shop, port: {number: 9090}}}]\n",
            ),
            9,
            "spec.routes[0].match.attributes.method",
            "has exact and prefix at once",
        ),
        (
            document(
                "MetaRouter",
                "  hosts: [shop]\n  routes:\n  - match:\n      attributes:\n        method: {range: {start: 2, end: 2}}\n    route: [{destination: {host: shop, port: {number: 9090}}}]\n",
            ),
            9,
            "spec.routes[0].match.attributes.method.range",
            "holds no number",
        ),
        (
            document("MetaRouter", "  hosts: [shop]\n  routes:\n  - name: a\n"),
            7,
            "spec.routes[0].route",
            "is missing",
        ),
        (
            document(
                "MetaRouter",
                "  hosts: [shop]\n  routes:\n  - name: a\n    route: []\n",
            ),
            8,
            "spec.routes[0].route",
            "no destination",
        ),
        (
            document(
                "MetaRouter",
                "  hosts: [shop]\n  routes:\n  - route:\n    - destination: {host: shop, port: {number: 9090}}\n      weight: 0\n    - destination: {host: shop, port: {number: 9090}}\n      weight: 0\n",
            ),
            7,
            "spec.routes[0].route",
            "sum to zero",
        ),
        // Listeners.
        (
            document(
                "Gateway",
                "  servers:\n  - port: {number: 1, name: tcp-metaprotocol-duboo}\n",
            ),
            6,
            "spec.servers[0].port.name",
            "did you mean `dubbo`?",
        ),
        (
            document(
                "Gateway",
                "  servers:\n  - port: {number: 9090, name: tcp-dubbo}\n",
            ),
            6,
            "spec.servers[0].port",
            "listened on already, by the server at mesh.yaml:7",
        ),
        (
            document(
                "Gateway",
                "  servers:\n  - port: {number: 1, name: tcp-dubbo}\n    bind: here\n",
            ),
            7,
            "spec.servers[0].bind",
            "not an IP address",
        ),
        (
            document(
                "Gateway",
                "  servers:\n  - port: {number: 1, name: tcp-dubbo}\n    tls: {mode: SIMPLE}\n",
            ),
            7,
            "spec.servers[0].tls",
            "in clear",
        ),
        // Services.
        (
            service("[{number: 1, name: a}, {number: 1, name: b}]"),
            8,
            "spec.ports[1].number",
            "two ports",
        ),
        (
            document(
                "ServiceEntry",
                "  hosts: [s]\n  ports: [{number: 1, name: a}]\n  resolution: STATIC\n  endpoints:\n  - address: example.com\n",
            ),
            9,
            "spec.endpoints[0].address",
            "is not an IP address",
        ),
        (
            document("WorkloadEntry", "  address: unix:///tmp/x\n"),
            5,
            "spec.address",
            "neither an IP address nor a host name",
        ),
        (
            document(
                "DestinationRule",
                "  host: shop\n  trafficPolicy:\n    tls: {mode: SIMPLE}\n",
            ),
            7,
            "spec.trafficPolicy.tls.mode",
            "in clear",
        ),
        (
            document(
                "DestinationRule",
                "  host: shop\n  subsets:\n  - {name: a}\n  - {name: a}\n",
            ),
            8,
            "spec.subsets[1].name",
            "two subsets",
        ),
        (
            document(
                "DestinationRule",
                "  host: shop\n  trafficPolicy:\n    loadBalancer:\n      consistentHash: {useSourceIp: false}\n",
            ),
            8,
            "spec.trafficPolicy.loadBalancer.consistentHash",
            "must hash one thing",
        ),
        (
            document(
                "DestinationRule",
                "  host: shop\n  trafficPolicy:\n    loadBalancer:\n      consistentHash: {attribute: metod}\n",
            ),
            8,
            "spec.trafficPolicy.loadBalancer.consistentHash.attribute",
            "did you mean `method`? it has method, header.<name>",
        ),
        (
            document(
                "DestinationRule",
                "  host: shop\n  trafficPolicy:\n    loadBalancer:\n      consistentHash: {useSourceIp: true, maglev: {tableSize: 10}}\n",
            ),
            8,
            "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
            "not a prime",
        ),
        (
            document(
                "DestinationPolicy",
                "  host: shop\n  sharing: multiplexed\n",
            ),
            6,
            "spec.sharing",
            "redis has no id",
        ),
        // Protocols.
        (
            document(
                "ApplicationProtocol",
                "  protocol: a\n  codec: aeraki.meta_protocol.codec.tript\n",
            ),
            6,
            "spec.codec",
            "did you mean `thrift`? The codecs are dubbo, redis, thrift",
        ),
        (
            document(
                "ApplicationProtocol",
                "  protocol: a\n  declarative:\n    fields:\n    - size: 1\n    - size: x\n",
            ),
            9,
            "spec.declarative.fields[1].size",
            "must be a number",
        ),
        (
            document("ApplicationProtocol", "  protocol: a\n"),
            4,
            "spec",
            "neither codec nor declarative",
        ),
        // Redis.
        (
            document(
                "RedisService",
                "  host: [shop]\n  settings:\n    auth:\n      secret:\n        name: gone\n",
            ),
            9,
            "spec.settings.auth.secret.name",
            "there is no Secret default/gone",
        ),
        (
            document(
                "RedisService",
                "  host: [shop]\n  settings:\n    auth: {}\n",
            ),
            7,
            "spec.settings.auth",
            "names no credentials",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  password: '!!'\n".into(),
            5,
            "data.password",
            "is not text in base64",
        ),
    ];
    for (document, line, field, what) in cases {
        let outcome = with(document);
        assert!(outcome.config.is_none(), "{document}");
        find(&outcome, Severity::Error, offset() + line, field, what);
    }
}

#[test]
fn attributes_that_the_protocol_does_not_have() {
    let route = |host: &str, attribute: &str| {
        format!(
            "{}---\n{}",
            service("[{number: 9090, name: tcp-thrift}]"),
            document(
                "MetaRouter",
                &format!(
                    "  hosts: [{host}]\n  routes:\n  - match:\n      attributes:\n        {attribute}: {{exact: a}}\n    route: [{{destination: {{host: {host}}}}}]\n"
                )
            )
        )
    };
    let outcome = with(&route("s", "metod"));
    let line = offset() + 9 + 9;
    let field = "spec.routes[0].match.attributes.metod";
    let problem = find(
        &outcome,
        Severity::Error,
        line,
        field,
        "thrift has no attribute `metod`",
    );
    assert_eq!(
        problem.remedy,
        "did you mean `method`? it has method, header.<name>"
    );
    // Open metadata takes any name: a near miss is worth a warning.
    let dubbo = route("s", "metod").replace("9090, name: tcp-thrift", "20880, name: tcp-dubbo");
    let outcome = with(&dubbo);
    assert!(outcome.config.is_some(), "{:?}", outcome.problems);
    find(
        &outcome,
        Severity::Warning,
        line,
        field,
        "did you mean `method`?",
    );
    let responses = dubbo.replace("metod", "status");
    let field = "spec.routes[0].match.attributes.status";
    find(
        &with(&responses),
        Severity::Error,
        line,
        field,
        "on responses only",
    );
}

#[test]
fn edits_that_the_protocol_cannot_carry() {
    let text = format!(
        "{}---\n{}",
        service("[{number: 9090, name: tcp-thrift}]"),
        document(
            "MetaRouter",
            "  hosts: [s]\n  routes:\n  - route: [{destination: {host: s}}]\n    requestMutation:\n    - key: method\n      value: x\n    responseMutation:\n      set: {a: b}\n"
        )
    );
    let outcome = with(&text);
    let start = offset() + 9;
    let field = "spec.routes[0].requestMutation[0].key";
    find(
        &outcome,
        Severity::Error,
        start + 9,
        field,
        "it can change header.<name>",
    );
    let field = "spec.routes[0].responseMutation.set.a";
    find(
        &outcome,
        Severity::Error,
        start + 12,
        field,
        "nothing in it can be changed",
    );
}

#[test]
fn all_errors_come_in_one_go_and_in_order() {
    let outcome = with(&format!(
        "{}---\n{}---\n{}",
        document("DestinationRule", "  hots: a\n"),
        document(
            "Gateway",
            "  servers: [{port: {number: 0, name: tcp-dubbo}}]\n"
        ),
        "x: [\n"
    ));
    let lines: Vec<usize> = outcome
        .errors()
        .map(|problem| problem.origin.line)
        .collect();
    assert!(lines.len() >= 4, "{:?}", outcome.problems);
    assert!(lines.is_sorted());
}

#[test]
fn warnings_do_not_refuse() {
    let cases: &[(String, usize, &str, &str)] = &[
        (
            "apiVersion: networking.istio.io/v1\nkind: EnvoyFilter\n".into(),
            2,
            "kind",
            "passed over",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n".into(),
            2,
            "kind",
            "not enforced yet",
        ),
        (
            document("DestinationRule", "  host: shop\n  trafficPolicy:\n    tunnel: {protocol: CONNECT}\n"),
            7,
            "spec.trafficPolicy.tunnel",
            "accepted, not enforced yet",
        ),
        (document("DestinationRule", "  host: elsewhere\n"), 5, "spec.host", "elsewhere.default.svc.cluster.local"),
        (
            document("Gateway", "  servers:\n  - port: {number: 80, name: http}\n"),
            6,
            "spec.servers[0].port.name",
            "names no protocol of ours",
        ),
        (
            document("Gateway", "  servers:\n  - port: {number: 1, name: tcp-dubbo}\n    hosts: [elsewhere]\n"),
            6,
            "spec.servers[0]",
            "every request fails",
        ),
        (
            document("MetaRouter", "  hosts: [elsewhere]\n"),
            5,
            "spec.hosts",
            "attaches nowhere",
        ),
        (
            document("ListenerPolicy", "  gateway: local\n  port: 1\n  limits: {}\n"),
            5,
            "spec.gateway",
            "no Gateway",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: local}\nspec: {servers: []}\n".into(),
            1,
            "metadata.name",
            "replaces the document of this name at mesh.yaml:1",
        ),
        (
            service("[{number: 1, name: tcp-metaprotocol-brpc}]"),
            8,
            "spec.ports[0].name",
            "names a protocol that is not there",
        ),
    ];
    for (document, line, field, what) in cases {
        let outcome = with(document);
        assert!(outcome.config.is_some(), "{document}{:?}", outcome.problems);
        find(&outcome, Severity::Warning, offset() + line, field, what);
    }
}

#[test]
fn a_listener_does_not_close_because_of_a_slip() {
    let gateway = |port: &str| {
        document(
            "Gateway",
            &format!("  servers:\n  - port: {{number: 80, {port}}}\n"),
        )
    };
    for port in [
        "name: tcp-rediz",
        "name: rediz",
        "name: tcp-rediz-cache, protocol: TCP",
        "name: web, protocol: TCP",
        "name: web, protocol: rediz",
        "name: tcp-metaprotocol-rediz",
        "name: tcp-metaprotocol",
    ] {
        let outcome = with(&gateway(port));
        let at = "spec.servers[0].port.name";
        let what = "names a protocol that is not there";
        find(&outcome, Severity::Error, offset() + 6, at, what);
        assert!(outcome.config.is_none(), "{port}");
    }
    // Others serve these; whoever closes a listener by them learns where it is still written.
    for port in [
        "name: http",
        "name: tcp",
        "name: grpc-web",
        "name: web, protocol: HTTPS",
    ] {
        let outcome = with(&gateway(port));
        assert!(outcome.config.is_some(), "{port}: {:?}", outcome.problems);
        let [(address, origin)] = outcome.unserved.as_slice() else {
            panic!("{port}: {:?}", outcome.unserved);
        };
        assert_eq!(address.to_string(), "0.0.0.0:80");
        assert_eq!(origin.line, offset() + 6);
    }
    // The same where a document takes the place of another.
    let gateway = gateway("name: tcp-dubbo").replace("name: x", "name: local");
    let outcome = with(&gateway);
    let ports: Vec<u16> = outcome.unserved.iter().map(|one| one.0.port()).collect();
    assert_eq!(ports, [20880, 9090, 6379]);
    assert_eq!(load_text(MESH).unserved, []);
    // Kinds that are not there do not make a Gateway disappear.
    for (version, kind, what) in [
        ("v1", "Gateway", "has no kind Gateway"),
        ("networking.k8s.io/v1", "Gateway", "has no kind Gateway"),
        ("networking.istio.io/v1", "Gtwy", "there is no such kind"),
        ("redis.aeraki.io/v1alpha1", "Gtwy", "there is no such kind"),
    ] {
        let outcome = load_text(
            &MESH
                .replacen("networking.istio.io/v1", version, 1)
                .replacen("kind: Gateway", &format!("kind: {kind}"), 1),
        );
        assert!(outcome.config.is_none(), "{version} {kind}");
        let said = outcome.errors().any(|one| one.to_string().contains(what));
        assert!(said, "{version} {kind}: {:?}", outcome.problems);
    }
}

#[test]
fn slips_in_the_ports_of_services_are_warned_of() {
    for (name, said) in [("tcp-rediz", true), ("tcp-postgres", false), ("web", false)] {
        let outcome = with(&service(&format!("[{{number: 1, name: {name}}}]")));
        let what = "names a protocol that is not there";
        let found = outcome.warnings().any(|one| one.to_string().contains(what));
        assert_eq!(found, said, "{name}: {:?}", outcome.problems);
    }
    // With Aeraki's prefix nothing else can be meant.
    let outcome = with(&service("[{number: 1, name: tcp-metaprotocol-rediz}]"));
    let at = "spec.ports[0].name";
    find(
        &outcome,
        Severity::Error,
        offset() + 8,
        at,
        "did you mean `redis`?",
    );
}

#[test]
fn what_belongs_to_the_cluster_is_passed_over() {
    for document in [
        "apiVersion: v1\nkind: ConfigMap\n",
        "apiVersion: apps/v1\nkind: Deployment\nspec: {anything: true}\n",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n",
        "# nothing\n",
        "",
    ] {
        let outcome = with(document);
        assert!(
            outcome.problems.is_empty(),
            "{document}{:?}",
            outcome.problems
        );
    }
}

#[test]
fn destinations_that_lead_nowhere() {
    let route = |destination: &str| {
        format!(
            "{}---\n{}---\n{}",
            service("[{number: 9090, name: tcp-thrift}, {number: 1, name: http}]"),
            document(
                "DestinationRule",
                "  host: s\n  subsets: [{name: v1, labels: {version: v1}}]\n"
            ),
            document(
                "VirtualService",
                &format!(
                    "  hosts: [s]\n  http:\n  - route:\n    - destination:\n        {destination}\n"
                )
            )
        )
    };
    let line = offset() + 9 + 7 + 9;
    let at = "spec.http[0].route[0].destination";
    for (destination, field, what) in [
        (
            "host: gone",
            "host",
            "no service that is loaded has the host gone.default.svc",
        ),
        ("{host: s, subset: v2}", "subset", "it has v1"),
        (
            "{host: s, subset: v1}",
            "subset",
            "no endpoint of s has the labels",
        ),
        ("{host: s, port: {number: 5}}", "port", "it has 9090, 1"),
    ] {
        let outcome = with(&route(destination));
        let severity = match destination {
            "{host: s, subset: v2}" => Severity::Error,
            _ => Severity::Warning,
        };
        let problem = find(&outcome, severity, line, &format!("{at}.{field}"), what);
        if severity == Severity::Error {
            assert!(outcome.config.is_none());
            continue;
        }
        assert!(problem.to_string().contains("fail"), "{problem}");
        // The cluster is there, without endpoints, so that requests get an answer that names it.
        let config = outcome.config.unwrap();
        assert!(
            config
                .clusters()
                .iter()
                .any(|cluster| cluster.endpoints.is_empty())
        );
    }
    let wrong = with(&route("{host: shop, port: {number: 20880}}"));
    find(
        &wrong,
        Severity::Error,
        line,
        &format!("{at}.port"),
        "one protocol is not translated",
    );
}

#[test]
fn routes_that_no_request_reaches() {
    let outcome = with(&document(
        "MetaRouter",
        "  hosts: [shop]\n  gateways: [local]\n  routes:\n  - match: {attributes: {method: {exact: a}}}\n    route: &r [{destination: {host: shop, port: {number: 20880}}}]\n  - match: {attributes: {method: {exact: a}}}\n    route: *r\n  - route: *r\n  - match: {attributes: {method: {exact: b}}}\n    route: *r\n",
    ));
    let line = offset();
    find(
        &outcome,
        Severity::Warning,
        line + 10,
        "route",
        "has the same tests",
    );
    find(
        &outcome,
        Severity::Warning,
        line + 13,
        "route",
        "takes every request",
    );
}

#[test]
fn secrets_are_not_shown() {
    let text = document(
        "RedisDestination",
        "  host: shop\n  trafficPolicy: {connectionPool: {redis: {auth: {plain: {pasword: hunter2}}}}}\n",
    );
    let outcome = with(&text);
    assert!(outcome.errors().count() > 0);
    let secret = with(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: hunter2, b: [hunter2]}\n",
    );
    assert!(secret.errors().count() > 1);
    for problem in outcome.problems.iter().chain(&secret.problems) {
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}

#[test]
fn fields_of_our_own_are_pointed_out_in_aerakis_kind() {
    let outcome = with(
        "apiVersion: metaprotocol.aeraki.io/v1alpha1\nkind: MetaRouter\nmetadata: {name: a}\nspec:\n  hosts: [shop]\n  \
         routes:\n  - timeout: 1s\n    route: [{destination: {host: shop, port: {number: 9090}}}]\n",
    );
    let what = "the kind of this name in meltemi.io/v1alpha1 has more fields";
    find(
        &outcome,
        Severity::Error,
        offset() + 7,
        "spec.routes[0].timeout",
        what,
    );
}

#[test]
fn what_is_for_http_does_not_refuse_the_rest() {
    let http = [
        service("[{number: 80, name: http}]"),
        document(
            "DestinationRule",
            "  host: s\n  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 0s}}}}\n",
        ),
        document(
            "Gateway",
            "  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE}}]\n",
        ),
        document(
            "VirtualService",
            "  hosts: [s]\n  http:\n  - match: [{uri: {prefix: /}}]\n    redirect: {uri: /x}\n  - match: [{uri: {prefix: /y}, headers: {cookie: {regex: a}}}]\n    rewrite: {uri: /}\n    route: [{destination: {host: s}}]\n",
        ),
    ];
    let outcome = with(&http.join("---\n"));
    assert!(outcome.errors().next().is_none(), "{:?}", outcome.problems);
    assert!(outcome.warnings().count() > 4);
    assert_eq!(outcome.config.unwrap().listeners().len(), 3);
}
