//! What is wrong with rules of routes and listeners is said at its line, with a remedy.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

mod common;
#[path = "common/mesh.rs"]
mod mesh;

use meltemi_config::Severity;
use mesh::{document, find, offset, with};

/// A case: kind, spec, the line in the document, the field, a part of the text.
type Case<'c> = (&'c str, String, usize, &'c str, &'c str);

#[track_caller]
fn check(severity: Severity, cases: &[Case<'_>]) {
    for (kind, spec, line, field, what) in cases {
        let outcome = with(&document(kind, spec));
        assert_eq!(
            outcome.config.is_none(),
            severity == Severity::Error,
            "{spec}{:?}",
            outcome.problems
        );
        let problem = find(&outcome, severity, offset() + line, field, what);
        assert!(
            !problem.remedy.is_empty()
                || problem.what.contains("must be")
                || problem.what.contains("only"),
            "{problem} has no remedy"
        );
    }
}

/// A MetaRouter with one route of a host; its fields start on line 8.
fn route(host: &str, fields: &str) -> String {
    format!(
        "  hosts: [{host}]\n  routes:\n  - route: [{{destination: {{host: {host}}}}}]\n{fields}"
    )
}

fn http(host: &str, fields: &str) -> String {
    route(host, fields).replace("routes:", "http:")
}

fn redis(faults: &str) -> String {
    format!("  host: [cache]\n  faults:\n{faults}")
}

/// A MetaRouter without routes; the field starts on line 6.
fn whole(host: &str, field: &str) -> String {
    format!("  hosts: [{host}]\n{field}")
}

const RETRIES: &str = "spec.routes[0].retries";
const HTTP: &str = "spec.http[0]";

#[test]
fn retries_that_contradict_themselves() {
    let own = |line: &str| route("shop", &format!("    retries:\n      {line}\n"));
    let istio = |line: &str| http("shop", &format!("    retries:\n      {line}\n"));
    let at = |field: &str| format!("{RETRIES}.{field}");
    check(
        Severity::Error,
        &[
            (
                "MetaRouter",
                own("attempts: 0\n      on: [reset]"),
                9,
                &at("attempts"),
                "turns retries off",
            ),
            (
                "VirtualService",
                istio("attempts: 0\n      perTryTimeout: 1s"),
                9,
                &format!("{HTTP}.retries.attempts"),
                "turns retries off",
            ),
            (
                "MetaRouter",
                own("on: [rest]"),
                9,
                &at("on[0]"),
                "did you mean reset?",
            ),
            (
                "MetaRouter",
                own("on: [injected]"),
                9,
                &at("on[0]"),
                "It can be no_route, no_endpoint, connect, reset, timeout, overload, rate_limited, draining, \
                 bad_response, application, server",
            ),
            (
                "MetaRouter",
                own("backoff: {base: 50ms, max: 20ms}"),
                9,
                &at("backoff.max"),
                "is shorter than the first pause, 50ms",
            ),
            (
                "MetaRouter",
                own("statuses: [{attributes: {status: {exact: a}, result: {exact: b}}}]"),
                9,
                &at("statuses[0].attributes"),
                "must test one attribute",
            ),
            (
                "MetaRouter",
                own("statuses: [{attributes: {method: {exact: a}}}]"),
                9,
                &at("statuses[0].attributes.method"),
                "dubbo has `method` on requests only, and this is for responses",
            ),
            (
                "VirtualService",
                istio("retryOn: reset,gateway-eror"),
                9,
                &format!("{HTTP}.retries.retryOn"),
                "`gateway-eror` is no reason to retry; did you mean `gateway-error`? There are 5xx, gateway-error, ",
            ),
        ],
    );
    check(
        Severity::Warning,
        &[
            (
                "MetaRouter",
                route(
                    "shop",
                    "    timeout: 1s\n    retries: {perTryTimeout: 2s}\n",
                ),
                9,
                &at("perTryTimeout"),
                "never ends an attempt: the request may take 1s in all",
            ),
            (
                "VirtualService",
                http("maths", "    retries: {retryOn: '418'}\n"),
                8,
                &format!("{HTTP}.retries.retryOn"),
                "responses of thrift have no status, so none is ever 418",
            ),
            (
                "VirtualService",
                istio("retryOn: retriable-4xx"),
                9,
                &format!("{HTTP}.retries.retryOn"),
                "`retriable-4xx` is about HTTP",
            ),
            (
                "VirtualService",
                istio("retryRemoteLocalities: true"),
                9,
                &format!("{HTTP}.retries.retryRemoteLocalities"),
                "accepted, not enforced yet",
            ),
        ],
    );
}

#[test]
fn a_fault_that_cannot_be_read_is_one_problem() {
    let own = |fault: &str| {
        document(
            "MetaRouter",
            &route("shop", &format!("    faults: [{fault}]\n")),
        )
    };
    let istio = |fault: &str| {
        document(
            "VirtualService",
            &http("shop", &format!("    fault: {fault}\n")),
        )
    };
    for text in [
        own("{abort: {reason: unavailible}}"),
        own("{abort: {message: no}}"),
        own("{abort: {}}"),
        own("{delay: {duration: soon}}"),
        own("{delay: {}}"),
        own("{delay: {duration: soon}, abort: {reason: timeout}}"),
        istio("{delay: {fixedDelay: soon}}"),
        istio("{delay: {}}"),
        istio("{abort: {grpcStatus: UNAVAILIBLE}}"),
        istio("{abort: {}}"),
    ] {
        let outcome = with(&text);
        let said: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 1, "{text}{said:#?}");
        assert!(outcome.config.is_none(), "{said:?}");
    }
}

#[test]
fn faults_that_cannot_be_injected() {
    let own = |fault: &str| route("shop", &format!("    faults:\n    - {fault}\n"));
    let abort = |status: &str| http("shop", &format!("    fault:\n      abort: {status}\n"));
    let at = "spec.routes[0].faults[0]";
    let istio = "spec.http[0].fault";
    check(
        Severity::Error,
        &[
            (
                "MetaRouter",
                own("{match: {}}"),
                9,
                at,
                "neither delays nor aborts",
            ),
            (
                "VirtualService",
                http("shop", "    fault: {}\n"),
                8,
                istio,
                "neither delays nor aborts",
            ),
            (
                "MetaRouter",
                own("{match: {attributes: {status: {exact: a}}}, delay: {duration: 1s}}"),
                9,
                &format!("{at}.match.attributes.status"),
                "dubbo has `status` on responses only, and this is for requests",
            ),
            (
                "MetaRouter",
                own("{abort: {reason: unavailible}}"),
                9,
                &format!("{at}.abort.reason"),
                "did you mean unavailable?",
            ),
            (
                "MetaRouter",
                own("{abort: {message: no}}"),
                9,
                &format!("{at}.abort.reason"),
                "is missing",
            ),
            (
                "MetaRouter",
                own("{delay: {duration: 1s, percentage: {}}}"),
                9,
                &format!("{at}.delay.percentage.value"),
                "is missing",
            ),
            (
                "MetaRouter",
                own("{delay: {duration: 1s, percentage: {value: 101}}}"),
                9,
                &format!("{at}.delay.percentage.value"),
                "must be a number from 0 to 100",
            ),
            (
                "VirtualService",
                abort("{httpStatus: 500, grpcStatus: INTERNAL}"),
                9,
                &format!("{istio}.abort"),
                "must name one status",
            ),
            (
                "VirtualService",
                abort("{percentage: {value: 1}}"),
                9,
                &format!("{istio}.abort"),
                "must name one status",
            ),
            (
                "VirtualService",
                abort("{httpStatus: 204}"),
                9,
                &format!("{istio}.abort.httpStatus"),
                "is no failure",
            ),
            (
                "VirtualService",
                abort("{grpcStatus: OK}"),
                9,
                &format!("{istio}.abort.grpcStatus"),
                "is no failure",
            ),
            (
                "VirtualService",
                abort("{grpcStatus: UNAVAILBLE}"),
                9,
                &format!("{istio}.abort.grpcStatus"),
                "is no status of gRPC; did you mean UNAVAILABLE?",
            ),
            (
                "RedisService",
                redis("  - {type: DELAY}\n"),
                7,
                "spec.faults[0].delay",
                "is missing",
            ),
            (
                "RedisService",
                redis("  - {type: ABORT}\n"),
                7,
                "spec.faults[0].type",
                "It can be DELAY, ERROR",
            ),
        ],
    );
    check(
        Severity::Warning,
        &[
            (
                "MetaRouter",
                own("{delay: {duration: 1s, percentage: {value: 0}}}"),
                9,
                at,
                "never happens: its percentage is 0",
            ),
            (
                "RedisService",
                redis("  - {type: ERROR, delay: 1s}\n"),
                7,
                "spec.faults[0].delay",
                "an error is answered at once",
            ),
            (
                "RedisService",
                redis("  - type: ERROR\n    commands: [get, AUTH]\n"),
                8,
                "spec.faults[0].commands[1]",
                "is never failed or delayed on purpose",
            ),
        ],
    );
}

#[test]
fn mirrors_to_nowhere() {
    let own = |fields: &str| route("shop", fields);
    check(
        Severity::Warning,
        &[
            (
                "MetaRouter",
                own("    mirror: {host: gone}\n"),
                8,
                "spec.routes[0].mirror.host",
                "mirrors to nowhere",
            ),
            (
                "MetaRouter",
                own("    mirrors: [{destination: {host: gone}}]\n"),
                8,
                "spec.routes[0].mirrors[0].destination.host",
                "mirrors to nowhere",
            ),
            (
                "RedisService",
                "  host: [cache]\n  redis:\n  - route: {host: cache}\n    mirror:\n    - route: {host: gone}\n".into(),
                9,
                "spec.redis[0].mirror[0].route.host",
                "mirrors to nowhere",
            ),
            (
                "Aeraki/MetaRouter",
                own("    mirror: {host: copy.example}\n    mirrorPercentage: {value: 0}\n"),
                8,
                "spec.routes[0].mirror",
                "no request is copied",
            ),
            (
                "MetaRouter",
                own("    mirrorPercentage: {value: 5}\n"),
                8,
                "spec.routes[0].mirrorPercentage",
                "there is no mirror beside it",
            ),
        ],
    );
    check(
        Severity::Error,
        &[
            (
                "VirtualService",
                http(
                    "shop",
                    "    mirror: {host: copy.example}\n    mirrors: [{destination: {host: copy.example}}]\n",
                ),
                9,
                "spec.http[0].mirrors",
                "mirror is given, too",
            ),
            (
                "MetaRouter",
                own("    mirror: {host: cache, port: {number: 6379}}\n"),
                8,
                "spec.routes[0].mirror.port",
                "one protocol is not translated",
            ),
        ],
    );
}

#[test]
fn values_that_stand_for_nothing() {
    let set = |host: &str, value: &str| {
        route(
            host,
            &format!("    requestMutation:\n      set:\n        a: '{value}'\n"),
        )
    };
    let field = "spec.routes[0].requestMutation.set.a";
    check(
        Severity::Error,
        &[
            (
                "MetaRouter",
                set("shop", "50%"),
                10,
                field,
                "cannot be read as text with attributes in it; a `%` has no second one; write `%%` for a percent sign",
            ),
            (
                "MetaRouter",
                route(
                    "shop",
                    "    requestMutation:\n    - key: a\n      value: '%PROTOCOL%'\n",
                ),
                10,
                "spec.routes[0].requestMutation[0].value",
                "there is no `%PROTOCOL%`; there are `%DOWNSTREAM_REMOTE_ADDRESS%`",
            ),
            (
                "VirtualService",
                http("shop", "    headers: {request: {add: {a: '%REQ(x)%'}}}\n"),
                8,
                "spec.http[0].headers.request.add.a",
                "there is no `%REQ(x)%`",
            ),
            (
                "MetaRouter",
                set("maths", "%metod%"),
                10,
                field,
                "thrift has no attribute `metod`; did you mean `method`? it has method, header.<name>",
            ),
            (
                "MetaRouter",
                set("shop", "%status%"),
                10,
                field,
                "dubbo has `status` on responses only, and this is for requests",
            ),
        ],
    );
    check(
        Severity::Warning,
        &[(
            "MetaRouter",
            set("shop", "%metod%"),
            10,
            field,
            "did you mean `method`?",
        )],
    );
}

const BUCKET: &str = "tokenBucket: {maxTokens: 1, fillInterval: 1s}";

#[test]
fn local_limits_that_limit_nothing() {
    let local =
        |host: &str, fields: &str| whole(host, &format!("  localRateLimit:\n    {fields}\n"));
    let at = |field: &str| format!("spec.localRateLimit{field}");
    let policy = |fields: &str| format!("  gateway: local\n  localRateLimit:\n    {fields}\n");
    check(
        Severity::Error,
        &[
            (
                "MetaRouter",
                whole("shop", "  localRateLimit: {}\n"),
                6,
                &at(""),
                "limits nothing",
            ),
            (
                "MetaRouter",
                local("shop", "tokenBucket: {maxTokens: 0, fillInterval: 1s}"),
                7,
                &at(".tokenBucket.maxTokens"),
                "must be a whole number from 1",
            ),
            (
                "MetaRouter",
                local("shop", "tokenBucket: {maxTokens: 1, fillInterval: 0s}"),
                7,
                &at(".tokenBucket.fillInterval"),
                "must be a duration",
            ),
            (
                "MetaRouter",
                local("maths", &format!("{BUCKET}\n    per: [source.ip, user]")),
                8,
                &at(".per[1]"),
                "thrift has no attribute `user`; it has method, header.<name>",
            ),
            (
                "Aeraki/MetaRouter",
                local(
                    "maths",
                    &format!(
                        "conditions:\n    - {BUCKET}\n      match: {{attributes: {{metod: {{exact: a}}}}}}"
                    ),
                ),
                9,
                &at(".conditions[0].match.attributes.metod"),
                "did you mean `method`?",
            ),
            (
                "MetaRouter",
                route(
                    "maths",
                    &format!("    localRateLimit: {{{BUCKET}, per: [user]}}\n"),
                ),
                8,
                "spec.routes[0].localRateLimit.per[0]",
                "thrift has no attribute `user`",
            ),
            // Of the protocols of the listeners one has it, and others do not.
            (
                "ListenerPolicy",
                policy(&format!("{BUCKET}\n    per: [interface]")),
                8,
                &at(".per[0]"),
                "redis has no attribute `interface`",
            ),
            (
                "Aeraki/MetaRouter",
                local("shop", &format!("{BUCKET}\n    per: [source.ip]")),
                8,
                &at(".per"),
                "the kind of this name in meltemi.io/v1alpha1 has more fields",
            ),
        ],
    );
    let conditions = |first: &str, second: &str| {
        local(
            "shop",
            &format!(
                "conditions:\n    - match: {{attributes: {{{first}}}}}\n      {BUCKET}\n    - match: {{attributes: {{{second}}}}}\n      {BUCKET}\n    {BUCKET}"
            ),
        )
    };
    check(
        Severity::Warning,
        &[
            (
                "MetaRouter",
                conditions(
                    "method: {exact: a}",
                    "method: {exact: a}, interface: {exact: b}",
                ),
                11,
                &at(".conditions[1].tokenBucket"),
                "comes first and has fewer of the same tests",
            ),
            (
                "Aeraki/MetaRouter",
                conditions("method: {exact: a}", "method: {exact: a}"),
                11,
                &at(".conditions[1].tokenBucket"),
                "comes first and has the same tests",
            ),
            (
                "MetaRouter",
                conditions("", "method: {exact: a}"),
                12,
                &at(".tokenBucket"),
                "comes first and takes every request",
            ),
            (
                "MetaRouter",
                local("shop", &format!("{BUCKET}\n    values: 5")),
                8,
                &at(".values"),
                "means nothing without `per`",
            ),
        ],
    );
}

#[test]
fn limits_of_routes_that_a_router_s_makes_idle() {
    let said = |router: &str, route: &str| {
        let outcome = with(&document(
            "MetaRouter",
            &format!(
                "  hosts: [shop]\n  localRateLimit: {router}\n  routes:\n  - route: [{{destination: {{host: shop}}}}]\n    \
                 localRateLimit: {route}\n"
            ),
        ));
        assert!(outcome.config.is_some(), "{:?}", outcome.problems);
        let line = offset() + 9;
        let idle = |problem: &&meltemi_config::Problem| problem.what.contains("refuses nothing");
        let found: Vec<usize> = outcome
            .problems
            .iter()
            .filter(idle)
            .map(|one| one.origin.line)
            .collect();
        assert!(found.is_empty() || found == [line], "{found:?}");
        assert_eq!(
            found.len(),
            outcome.problems.len(),
            "{:?}",
            outcome.problems
        );
        !found.is_empty()
    };
    let bucket = |size: u32, fill: u32, interval: &str| {
        format!(
            "tokenBucket: {{maxTokens: {size}, tokensPerFill: {fill}, fillInterval: {interval}}}"
        )
    };
    let whole = |bucket: String| format!("{{{bucket}}}");
    let router = whole(bucket(10, 10, "1s"));
    assert!(said(&router, &whole(bucket(10, 20, "2s"))));
    assert!(said(
        &router,
        &whole(bucket(11, 1, "1ms") + ", per: [x-user]")
    ));
    assert!(!said(&router, &whole(bucket(9, 10, "1s"))));
    assert!(!said(&router, &whole(bucket(10, 10, "1001ms"))));
    // It counts each value by itself, or not every request.
    assert!(!said(
        &whole(bucket(10, 10, "1s") + ", per: [x-user]"),
        &router
    ));
    let some = format!(
        "{{conditions: [{{match: {{attributes: {{method: {{exact: a}}}}}}, {}}}]}}",
        bucket(1, 1, "1s")
    );
    assert!(!said(&some, &router));
}

#[test]
fn mirrors_to_services_and_subsets_without_endpoints() {
    let entry = document(
        "ServiceEntry",
        "  hosts: [none.example]\n  ports: [{number: 20880, name: tcp-dubbo}]\n  resolution: STATIC\n  workloadSelector: {labels: {a: b}}\n",
    );
    let subsets = document(
        "DestinationRule",
        "  host: copy.example\n  subsets: [{name: v9, labels: {version: v9}}]\n",
    );
    let mirrors = "    mirrors:\n    - destination: {host: none.example}\n    - destination: {host: copy.example, port: {number: 20881}, subset: v9}\n";
    let router = document("MetaRouter", &route("shop", mirrors));
    let outcome = with(&format!("{entry}---\n{subsets}---\n{router}"));
    assert!(outcome.config.is_some(), "{:?}", outcome.problems);
    let start = offset() + 9 + 7;
    let at = |mirror: &str| format!("spec.routes[0].mirrors{mirror}");
    for (line, field, what) in [
        (
            9,
            at("[0].destination"),
            "has no endpoints, so every request to it fails",
        ),
        (
            10,
            at("[1].destination.subset"),
            "no endpoint of copy.example has the labels of this subset",
        ),
    ] {
        find(&outcome, Severity::Warning, start + line, &field, what);
    }
}

#[test]
fn limits_of_one_name() {
    let text = |kind: &str, tokens: u32| {
        let spec = whole(
            "shop",
            &format!(
                "  gateways: [local]\n  localRateLimit: {{tokenBucket: {{maxTokens: {tokens}, fillInterval: 1s}}}}\n"
            ),
        );
        document(kind, &spec)
    };
    let both = format!(
        "{}---\n{}",
        text("MetaRouter", 1),
        text("Aeraki/MetaRouter", 2)
    );
    let outcome = with(&both);
    find(
        &outcome,
        Severity::Error,
        offset() + 15,
        "localRateLimit",
        "have this name, too; give routers, and the routes of one router, names of their own",
    );
    assert!(outcome.config.is_none());
}

#[test]
fn services_of_global_limits_that_are_not_there() {
    let global = |service: &str, descriptors: &str| {
        whole(
            "shop",
            &format!(
                "  globalRateLimit:\n    domain: d\n    rateLimitService: {service}\n    descriptors: {descriptors}\n"
            ),
        )
    };
    let told = "[{property: method, descriptorKey: m}]";
    let known = "outbound|8081||limits.example";
    let to = |service: &str| global(service, told);
    let tell = |descriptors: &str| global(known, descriptors);
    let at = |field: &str| format!("spec.globalRateLimit.{field}");
    let service = at("rateLimitService");
    let tls = format!(
        "{}---\n{}",
        to(known),
        document(
            "DestinationRule",
            "  host: limits.example\n  trafficPolicy: {tls: {mode: SIMPLE}}\n"
        )
    );
    check(
        Severity::Error,
        &[
            (
                "Aeraki/MetaRouter",
                to("outbound|8081||gone.example"),
                8,
                &service,
                "no service that is loaded has the host gone.example; add a ServiceEntry for it, with its port and endpoints",
            ),
            (
                "MetaRouter",
                to("{host: gone, port: {number: 1}}"),
                8,
                &format!("{service}.host"),
                "gone.default.svc.cluster.local",
            ),
            (
                "Aeraki/MetaRouter",
                to("outbound|8082||limits.example"),
                8,
                &service,
                "limits.example has no port 8082; it has 8081, 9102",
            ),
            (
                "MetaRouter",
                to("{host: limits.example}"),
                8,
                &format!("{service}.port.number"),
                "has several ports, and none is named; add port: {number: …}; it has 8081, 9102",
            ),
            (
                "Aeraki/MetaRouter",
                to("limits.example:8081"),
                8,
                &service,
                "is not the name of a service's cluster; write outbound|<port>||<host>",
            ),
            (
                "MetaRouter",
                to("outbound|8081|v1|limits.example"),
                8,
                &service,
                "is not the name of a service's cluster",
            ),
            (
                "Aeraki/MetaRouter",
                to("{host: limits.example}"),
                8,
                &service,
                "must be text",
            ),
            (
                "MetaRouter",
                to("[a]"),
                8,
                &service,
                "must be text, or object",
            ),
            (
                "MetaRouter",
                tls,
                16,
                "spec.trafficPolicy.tls.mode",
                "in clear",
            ),
            (
                "MetaRouter",
                to(known).replace("domain: d", "domain: ''"),
                7,
                &at("domain"),
                "is empty",
            ),
            (
                "Aeraki/MetaRouter",
                tell("[]"),
                9,
                &at("descriptors"),
                "nothing is told",
            ),
            (
                "MetaRouter",
                tell("[[]]"),
                9,
                &at("descriptors[0]"),
                "has no entry",
            ),
            (
                "MetaRouter",
                tell("[[{key: a}]]"),
                9,
                &at("descriptors[0][0]"),
                "has no value",
            ),
            (
                "MetaRouter",
                tell("[[{key: a, value: b, attribute: method}]]"),
                9,
                &at("descriptors[0][0]"),
                "has attribute and value at once",
            ),
            (
                "MetaRouter",
                tell("[[{key: a, attribute: status}]]"),
                9,
                &at("descriptors[0][0].attribute"),
                "on responses only",
            ),
            (
                "Aeraki/MetaRouter",
                tell(told).replace("property: method", "property: status"),
                9,
                &at("descriptors[0].property"),
                "on responses only",
            ),
            (
                "Aeraki/MetaRouter",
                format!(
                    "{}    match: {{attributes: {{status: {{exact: a}}}}}}\n",
                    to(known)
                ),
                10,
                &at("match.attributes.status"),
                "on responses only",
            ),
        ],
    );
}

#[test]
fn a_service_without_endpoints_never_answers() {
    let entry = document(
        "ServiceEntry",
        "  hosts: [none.example]\n  ports: [{number: 1, name: grpc}]\n  resolution: STATIC\n  workloadSelector: {labels: {a: b}}\n",
    );
    let router = document(
        "MetaRouter",
        "  hosts: [shop]\n  globalRateLimit:\n    domain: d\n    rateLimitService: {host: none.example}\n    descriptors: [[{key: a, value: b}]]\n",
    );
    let outcome = with(&format!("{entry}---\n{router}"));
    assert!(outcome.config.is_some(), "{:?}", outcome.problems);
    find(
        &outcome,
        Severity::Warning,
        offset() + 9 + 8,
        "spec.globalRateLimit.rateLimitService",
        "has no endpoints, so it never answers and denyOnFail decides",
    );
}

#[test]
fn routes_behind_others_that_ask_for_less() {
    let outcome = with(&document(
        "MetaRouter",
        "  hosts: [shop]\n  routes:\n  - match: {attributes: {method: {exact: a}}}\n    route: &r [{destination: {host: shop}}]\n  \
         - match: {attributes: {x: {exact: b}, method: {exact: a}}}\n    route: *r\n  - match: {attributes: {x: {exact: b}}}\n    route: *r\n",
    ));
    let start = offset();
    let problem = find(
        &outcome,
        Severity::Warning,
        start + 9,
        "route",
        "comes first and has fewer of the same tests",
    );
    assert!(problem.what.contains(&format!("mesh.yaml:{}", start + 7)));
    assert_eq!(outcome.warnings().count(), 1, "{:?}", outcome.problems);
}

#[test]
fn rules_are_checked_where_no_listener_serves_them_too() {
    let outcome = with(&document(
        "MetaRouter",
        "  hosts: [shop]\n  gateways: [elsewhere]\n  localRateLimit:\n    tokenBucket: {maxTokens: 1, fillInterval: 1s}\n    \
         conditions: [{match: {attributes: {status: {exact: a}}}, tokenBucket: {maxTokens: 1, fillInterval: 1s}}]\n",
    ));
    find(
        &outcome,
        Severity::Error,
        offset() + 9,
        "spec.localRateLimit.conditions[0].match.attributes.status",
        "on responses only",
    );
}

#[test]
fn rules_of_http_services_are_none_of_ours() {
    let entry = document(
        "ServiceEntry",
        "  hosts: [web.example]\n  ports: [{number: 80, name: http}]\n  resolution: STATIC\n  endpoints: [{address: 127.0.0.1}]\n",
    );
    let routes = document(
        "VirtualService",
        "  hosts: [web.example]\n  http:\n  - route: [{destination: {host: web.example}}]\n    retries: {attempts: 2, retryOn: some-new-word}\n    \
         fault: {abort: {httpStatus: 200}}\n    headers: {request: {set: {x: '%REQ(y)%'}}}\n    mirror: {host: gone}\n",
    );
    let outcome = with(&format!("{entry}---\n{routes}"));
    assert!(outcome.config.is_some(), "{:?}", outcome.problems);
}
