//! Several equal servers that hold data: what the configuration has to say of them.

#![allow(clippy::panic, reason = "a panic is a failed test")]

mod common;

use common::load_text;

/// The warnings of a host with these endpoints, behind a listener, with further documents.
fn warnings(protocol: &str, endpoints: &[&str], more: &str) -> Vec<String> {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|rest| format!("{{address: 127.0.0.1{rest}}}"))
        .collect();
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: g}}\n\
         spec: {{servers: [{{port: {{number: 1, name: tcp-{protocol}}}, hosts: ['*']}}]}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: data}}\n\
         spec: {{hosts: [data], resolution: STATIC, endpoints: [{}], \
         ports: [{{number: 1, name: tcp-{protocol}}}]}}\n---\n\
         apiVersion: meltemi.io/v1alpha1\nkind: MetaRouter\nmetadata: {{name: r}}\n\
         spec: {{hosts: [data], gateways: [g], routes: [{{name: r, route: [{{destination: {{host: data}}}}]}}]}}\n{more}",
        endpoints.join(", ")
    );
    let outcome = load_text(&text);
    assert!(outcome.config.is_some(), "{:?}", outcome.problems);
    outcome.warnings().map(ToString::to_string).collect()
}

const TWO: [&str; 2] = [", ports: {tcp-redis: 7}", ", ports: {tcp-redis: 8}"];

#[test]
fn several_servers_that_hold_data_need_a_word() {
    let found = warnings("redis", &TWO, "");
    let [only] = &*found else {
        panic!("{found:?}");
    };
    assert!(
        only.contains("redis servers hold data") && only.contains("has 2 of them"),
        "{only}"
    );
    assert!(only.contains("replicas: true"), "{only}");
}

#[test]
fn replicas_and_shards_are_no_surprise() {
    let replicas = "---\napiVersion: meltemi.io/v1alpha1\nkind: DestinationPolicy\nmetadata: {name: p}\n\
                    spec: {host: data, replicas: true}\n";
    let shards = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\n\
                  spec: {host: data, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: key}}}}\n";
    for more in [replicas, shards] {
        assert_eq!(warnings("redis", &TWO, more), [""; 0], "{more}");
    }
    assert_eq!(warnings("redis", &TWO[..1], ""), [""; 0]);
    let two = [", ports: {tcp-thrift: 7}", ", ports: {tcp-thrift: 8}"];
    assert_eq!(warnings("thrift", &two, ""), [""; 0]);
}
