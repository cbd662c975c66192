//! A mesh that is in order, to which tests add documents of their own.

#![allow(dead_code, reason = "not every test binary uses all of it")]

use meltemi_config::{Config, Problem, Route, Severity};
use meltemi_controller::Outcome;

/// A service of each protocol, one to copy to, and one of rate limits.
pub(crate) const MESH: &str = "\
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
  ports: [{number: 20880, name: tcp-dubbo}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: maths}
spec:
  hosts: [maths]
  ports: [{number: 9090, name: tcp-thrift}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cache}
spec:
  hosts: [cache]
  ports: [{number: 6379, name: tcp-redis}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: copy}
spec:
  hosts: [copy.example]
  ports:
  - {number: 20881, name: tcp-dubbo}
  - {number: 6380, name: tcp-redis}
  resolution: STATIC
  endpoints: [{address: 127.0.0.2}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: limits}
spec:
  hosts: [limits.example]
  ports:
  - {number: 8081, name: grpc}
  - {number: 9102, name: http}
  resolution: STATIC
  endpoints: [{address: 127.0.0.3}]
";

/// The mesh together with a document.
pub(crate) fn with(document: &str) -> Outcome {
    crate::common::load_text(&format!("{MESH}---\n{document}"))
}

/// Where the document starts behind the mesh.
pub(crate) fn offset() -> usize {
    MESH.lines().count() + 1
}

/// A document of one kind, its spec given as YAML that starts on line 5 of it. `Aeraki/MetaRouter` is Aeraki's.
pub(crate) fn document(kind: &str, spec: &str) -> String {
    let (group, kind) = match kind {
        "Aeraki/MetaRouter" => ("metaprotocol.aeraki.io/v1alpha1", "MetaRouter"),
        "RedisService" => ("redis.aeraki.io/v1alpha1", kind),
        "MetaRouter" | "ListenerPolicy" => ("meltemi.io/v1alpha1", kind),
        _ => ("networking.istio.io/v1", kind),
    };
    format!("apiVersion: {group}\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n{spec}")
}

/// The problem at a line of the whole text.
#[track_caller]
pub(crate) fn find<'o>(
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

/// The configuration, of which nothing is warned.
#[track_caller]
pub(crate) fn clean(outcome: Outcome) -> Config {
    let said: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{said:#?}");
    outcome.config.unwrap()
}

/// The routes on a port.
pub(crate) fn routes(config: &Config, port: u16) -> Vec<Route> {
    let listener = config
        .listeners()
        .iter()
        .find(|listener| listener.address.port() == port)
        .unwrap();
    listener.served.first().unwrap().routes.clone()
}
