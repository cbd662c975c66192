//! Envoy's configuration: one listener with one filter, one cluster with one endpoint.

use std::net::SocketAddr;

use meltemi_bench::wire::{INTERFACE, LANE, Protocol};
use serde_json::{Value, json};

/// Which of Envoy's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Bytes: no protocol.
    Tcp,
    /// The protocol's own proxy.
    Own,
    /// The same, with Thrift's payload handed on unread.
    Passthrough,
    /// The common proxy with the Dubbo codec.
    Generic,
}

/// The whole configuration, as JSON.
pub(crate) fn config(
    protocol: Protocol,
    filter: Filter,
    listen: SocketAddr,
    backend: SocketAddr,
) -> String {
    let listener = json!({
        "name": "bench",
        "address": address(listen),
        "filter_chains": [{"filters": [{"name": "bench", "typed_config": proxy(protocol, filter)}]}],
    });
    // Breakers must not open: 64 clients with 16 requests are as many as their default.
    let most = 1_000_000;
    let threshold = json!({
        "max_connections": most,
        "max_pending_requests": most,
        "max_requests": most,
    });
    let endpoint = json!({"endpoint": {"address": address(backend)}});
    let cluster = json!({
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [threshold]},
        "load_assignment": {
            "cluster_name": "backend",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    });
    json!({"static_resources": {"listeners": [listener], "clusters": [cluster]}}).to_string()
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

const PREFIX: &str = "type.googleapis.com/envoy.extensions.filters.network";

fn proxy(protocol: Protocol, filter: Filter) -> Value {
    match (filter, protocol) {
        (Filter::Tcp, _) => json!({
            "@type": format!("{PREFIX}.tcp_proxy.v3.TcpProxy"),
            "stat_prefix": "bench",
            "cluster": "backend",
        }),
        (Filter::Generic, _) => generic(),
        (_, Protocol::Redis) => json!({
            "@type": format!("{PREFIX}.redis_proxy.v3.RedisProxy"),
            "stat_prefix": "bench",
            "settings": {"op_timeout": "60s"},
            "prefix_routes": {"catch_all_route": {"cluster": "backend"}},
        }),
        (_, Protocol::Thrift) => json!({
            "@type": format!("{PREFIX}.thrift_proxy.v3.ThriftProxy"),
            "stat_prefix": "bench",
            "transport": "FRAMED",
            "protocol": "BINARY",
            "payload_passthrough": filter == Filter::Passthrough,
            "route_config": {
                "name": "bench",
                "routes": [{"match": {"method_name": LANE}, "route": {"cluster": "backend"}}],
            },
        }),
        (_, Protocol::Dubbo) => json!({
            "@type": format!("{PREFIX}.dubbo_proxy.v3.DubboProxy"),
            "stat_prefix": "bench",
            "multiple_route_config": {
                "name": "bench",
                "route_config": [{
                    "name": "bench",
                    "interface": INTERFACE,
                    "routes": [{
                        "match": {"method": {"name": {"exact": LANE}}},
                        "route": {"cluster": "backend"},
                    }],
                }],
            },
        }),
    }
}

fn generic() -> Value {
    let part = |name: &str| format!("{PREFIX}.generic_proxy.{name}");
    let test = |input: &str, value: &str| {
        json!({"single_predicate": {
            "input": {"name": "input", "typed_config": {"@type": part(input)}},
            "value_match": {"exact": value},
        }})
    };
    let both = [
        test("matcher.v3.PathMatchInput", INTERFACE),
        test("matcher.v3.MethodMatchInput", LANE),
    ];
    let action = json!({
        "@type": part("action.v3.RouteAction"),
        "name": "bench",
        "cluster": "backend",
        "timeout": "60s",
    });
    let matcher = json!({
        "predicate": {"and_matcher": {"predicate": both}},
        "on_match": {"action": {"name": "route", "typed_config": action}},
    });
    json!({
        "@type": part("v3.GenericProxy"),
        "stat_prefix": "bench",
        "codec_config": {
            "name": "dubbo",
            "typed_config": {"@type": part("codecs.dubbo.v3.DubboCodecConfig")},
        },
        "filters": [{"name": "router", "typed_config": {"@type": part("router.v3.Router")}}],
        "route_config": {
            "name": "bench",
            "routes": {"matcher_list": {"matchers": [matcher]}},
        },
    })
}
