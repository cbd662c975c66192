//! DestinationRule (networking.istio.io).

use super::common::{
    ANY, COUNT, DURATION, DURATION_OR_ZERO, EXPORT_TO, FLAG, LABELS, PORT_NUMBER, POSITIVE,
    TCP_POOL, TEXT, TEXTS,
};
use super::fitness::{DETECTION, LOCALITIES, RETRY_BUDGET, WARMUP};
use super::istio::{NETWORKING, VERSIONS};
use crate::schema::{Field, Kind, Reader, Shape};

pub(super) static DESTINATION_RULE: Kind = Kind {
    group: NETWORKING,
    versions: VERSIONS,
    name: "DestinationRule",
    doc: "How a host is used, and its subsets. Of several rules for a host in one namespace the subsets add up, \
          and the first traffic policy counts. A subset's policy replaces the host's block by block; an entry of \
          portLevelSettings replaces it whole.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new(
                "host",
                &TEXT,
                "The host, short or full; `*.suffix` for many.",
            )
            .required(),
            Field::new("trafficPolicy", &POLICY, "How it is used."),
            Field::new(
                "subsets",
                &Shape::List(&Shape::Object(&[
                    Field::new("name", &TEXT, "The name that routes use.").required(),
                    Field::new(
                        "labels",
                        &LABELS,
                        "Labels that an endpoint must have, all of them.",
                    ),
                    Field::new("trafficPolicy", &POLICY, "How the subset is used."),
                ])),
                "Named parts of the host's endpoints.",
            ),
            Field::new(
                "workloadSelector",
                &ANY,
                "The clients that the rule is for.",
            )
            .later(),
            EXPORT_TO,
        ]),
        "The rule.",
    )
    .required()],
    reader: Reader::DestinationRule,
};

static POLICY: Shape = Shape::Object(&[
    Field::new("loadBalancer", &BALANCER, "How an endpoint is chosen."),
    Field::new("connectionPool", &POOL, "Limits."),
    Field::new(
        "portLevelSettings",
        &Shape::List(&PORT_POLICY),
        "Policies of single ports.",
    ),
    Field::new(
        "outlierDetection",
        &DETECTION,
        "Endpoints that fail are left alone for a while. None, unless it is written.",
    ),
    Field::new(
        "tls",
        &TLS,
        "TLS towards endpoints. Only DISABLE for now: nothing secret is sent in clear.",
    ),
    Field::new("tunnel", &ANY, "Tunnels.").later(),
    Field::new("proxyProtocol", &ANY, "The PROXY protocol.").later(),
    Field::new(
        "retryBudget",
        &RETRY_BUDGET,
        "How many requests may be under retry at once, besides connectionPool.http.maxRetries.",
    ),
]);

static PORT_POLICY: Shape = Shape::Object(&[
    Field::new("port", &PORT_NUMBER, "The port.").required(),
    Field::new("loadBalancer", &BALANCER, "How an endpoint is chosen."),
    Field::new("connectionPool", &POOL, "Limits."),
    Field::new(
        "outlierDetection",
        &DETECTION,
        "Endpoints that fail are left alone for a while. None, unless it is written.",
    ),
    Field::new("tls", &TLS, "As above."),
]);

static TLS: Shape = Shape::Object(&[
    Field::new(
        "mode",
        &Shape::Choice(&["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]),
        "The mode.",
    )
    .default("DISABLE"),
    Field::new("clientCertificate", &TEXT, "A file.").later(),
    Field::new("privateKey", &TEXT, "A file.").later(),
    Field::new("caCertificates", &TEXT, "A file.").later(),
    Field::new("caCrl", &TEXT, "A file.").later(),
    Field::new("credentialName", &TEXT, "A Secret.").later(),
    Field::new(
        "subjectAltNames",
        &TEXTS,
        "Names that the certificate must have.",
    )
    .later(),
    Field::new("sni", &TEXT, "The name to ask for.").later(),
    Field::new("insecureSkipVerify", &FLAG, "Trust anyone.").later(),
]);

static BALANCER: Shape = Shape::Object(&[
    Field::new(
        "simple",
        &Shape::Choice(&["UNSPECIFIED", "LEAST_CONN", "LEAST_REQUEST", "RANDOM", "ROUND_ROBIN", "PASSTHROUGH"]),
        "LEAST_REQUEST takes the better of two endpoints at random. LEAST_CONN means the same. PASSTHROUGH is \
         not possible here and falls back to LEAST_REQUEST.",
    )
    .default("LEAST_REQUEST"),
    Field::new(
        "consistentHash",
        &Shape::Object(&[
            Field::new("attribute", &TEXT, "Hash this attribute (Meltemi's own field)."),
            Field::new(
                "httpHeaderName",
                &TEXT,
                "Hash this attribute, as Aeraki has it: a declared one, or the name of a header.",
            ),
            Field::new("useSourceIp", &FLAG, "Hash the client's address."),
            Field::new("httpCookie", &ANY, "There are no cookies here.").later(),
            Field::new("httpQueryParameterName", &TEXT, "There are no queries here.").later(),
            Field::new(
                "ringHash",
                &Shape::Object(&[Field::new("minimumRingSize", &RING, "The least number of points on the ring.")
                    .default("1024")]),
                "On a ring. The default.",
            ),
            Field::new(
                "maglev",
                &Shape::Object(&[Field::new("tableSize", &POSITIVE, "The size of the table, a prime below 5000011.")
                    .default("65537")]),
                "In a Maglev table.",
            ),
            Field::new("minimumRingSize", &RING, "The older way to write ringHash.minimumRingSize."),
        ]),
        "The same attribute goes to the same endpoint.",
    ),
    Field::new(
        "localityLbSetting",
        &LOCALITIES,
        "What localities are for, seen from where this program stands (`--locality`). Without it, where \
         outliers are detected, endpoints that are near go before those that are far.",
    ),
    Field::new("zoneAwareLbSetting", &ANY, "Zone preferences.").later(),
    Field::new("warmup", &WARMUP, "A new endpoint, or one that is let in again, gets its full share after a while."),
    Field::new("warmupDurationSecs", &DURATION, "The older way to write warmup.duration."),
]);

/// Envoy's own maximum: a ring takes memory.
static RING: Shape = Shape::Number {
    min: 1,
    max: 8_388_608,
};

static POOL: Shape = Shape::Object(&[
    Field::new("tcp", &TCP_POOL, "Connections."),
    Field::new(
        "http",
        &Shape::Object(&[
            Field::new(
                "http1MaxPendingRequests",
                &COUNT,
                "Requests that wait for a connection. 0: the default.",
            )
            .default("1024"),
            Field::new(
                "http2MaxRequests",
                &COUNT,
                "Requests in flight. 0: the default.",
            )
            .default("65536"),
            Field::new(
                "idleTimeout",
                &DURATION_OR_ZERO,
                "As tcp.idleTimeout, before which it goes.",
            ),
            Field::new(
                "maxRequestsPerConnection",
                &COUNT,
                "Requests that one connection may carry.",
            )
            .later(),
            Field::new(
                "maxRetries",
                &COUNT,
                "Requests under retry. 0: the default.",
            )
            .default("1024"),
            Field::new("maxConcurrentStreams", &COUNT, "HTTP/2 streams.").later(),
            Field::new("h2UpgradePolicy", &TEXT, "HTTP only.").later(),
            Field::new("useClientProtocol", &FLAG, "HTTP only.").later(),
            Field::new("http2KeepAlive", &ANY, "HTTP only.").later(),
        ]),
        "Requests.",
    ),
]);
