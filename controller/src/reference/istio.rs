//! Istio's kinds (networking.istio.io, security.istio.io).

use super::common::{
    ANY, COUNT, DESTINATION, DURATION, DURATION_OR_ZERO, EXPORT_TO, FLAG, LABELS, PERCENTAGE, PORT,
    PORT_NUMBER, POSITIVE, STRING_MATCH, TCP_POOL, TEXT, TEXTS, WEIGHT,
};
use crate::schema::{Field, Kind, Shape};

const NETWORKING: &str = "networking.istio.io";
const VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];

pub(super) static GATEWAY: Kind = Kind {
    group: NETWORKING,
    versions: VERSIONS,
    name: "Gateway",
    doc: "Each server is a listener. The name of its port tells the protocol: `tcp-<protocol>-x`, \
          `tcp-metaprotocol-<protocol>-x`, `<protocol>` or `<protocol>-x`; `auto` or `tcp-auto-x` detects \
          it among those that the attached services speak. All Gateways that are loaded are served.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new(
                "selector",
                &LABELS,
                "Pods that serve the gateway; here, this program does.",
            )
            .unused(),
            Field::new("servers", &Shape::List(&SERVER), "The listeners.").required(),
        ]),
        "The gateway.",
    )
    .required()],
    enforced: true,
};

static SERVER: Shape = Shape::Object(&[
    Field::new(
        "port",
        &Shape::Object(&[
            Field::new("number", &PORT, "The port to listen on.").required(),
            Field::new("name", &TEXT, "Its name, which tells the protocol.").required(),
            Field::new(
                "protocol",
                &TEXT,
                "TCP, or the protocol if the name does not tell it.",
            ),
            Field::new("targetPort", &PORT, "Deprecated in Istio.").unused(),
        ]),
        "The port.",
    )
    .required(),
    Field::new("bind", &TEXT, "The IP address to listen on.").default("0.0.0.0"),
    Field::new(
        "hosts",
        &TEXTS,
        "The hosts whose routers attach: `*`, `host`, `*.suffix`, `namespace/host`, `./host`.",
    )
    .default("*"),
    Field::new(
        "tls",
        &ANY,
        "TLS towards clients. Refused for now, so that nothing secret is served in clear.",
    ),
    Field::new("name", &TEXT, "A name for people.").unused(),
    Field::new("defaultEndpoint", &TEXT, "Not in use in Istio either.").unused(),
]);

pub(super) static SERVICE_ENTRY: Kind = Kind {
    group: NETWORKING,
    versions: VERSIONS,
    name: "ServiceEntry",
    doc: "A service: its host, its ports and where its endpoints are. The name of a port tells its \
          protocol, as on a Gateway; ports of other protocols are left alone. The annotation `interface` \
          names the Dubbo interface that the host stands for.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new("hosts", &TEXTS, "The names of the service.").required(),
            Field::new(
                "ports",
                &Shape::List(&Shape::Object(&[
                    Field::new("number", &PORT, "The port that clients name.").required(),
                    Field::new("name", &TEXT, "Its name, which tells the protocol.").required(),
                    Field::new("protocol", &TEXT, "TCP, or the protocol if the name does not tell it."),
                    Field::new("targetPort", &PORT, "The endpoints' port.").default("number"),
                ])),
                "The ports.",
            )
            .required(),
            Field::new(
                "resolution",
                &Shape::Choice(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]),
                "STATIC: endpoints are IP addresses. DNS, DNS_ROUND_ROBIN: endpoints, or else the hosts, \
                 are names. NONE and DYNAMIC_DNS have no endpoints here.",
            )
            .default("NONE"),
            Field::new("endpoints", &Shape::List(&WORKLOAD), "Where the endpoints are."),
            Field::new(
                "workloadSelector",
                &Shape::Object(&[Field::new("labels", &LABELS, "Labels that a WorkloadEntry must have.")]),
                "Endpoints are the WorkloadEntries of the namespace with these labels.",
            ),
            Field::new("addresses", &TEXTS, "Virtual addresses, for transparent capture.").unused(),
            Field::new(
                "location",
                &Shape::Choice(&["MESH_EXTERNAL", "MESH_INTERNAL"]),
                "Inside or outside of the mesh.",
            )
            .unused(),
            Field::new("subjectAltNames", &TEXTS, "Names that the endpoints' certificates must have.").later(),
            EXPORT_TO,
        ]),
        "The service.",
    )
    .required()],
    enforced: true,
};

static WORKLOAD_FIELDS: [Field; 7] = [
    Field::new(
        "address",
        &TEXT,
        "An IP address, or a name where the resolution is DNS.",
    )
    .required(),
    Field::new(
        "ports",
        &Shape::Map(&PORT),
        "Its port for each of the service's port names.",
    )
    .default("the service's targetPort"),
    Field::new("labels", &LABELS, "Its labels, which subsets choose by."),
    Field::new(
        "weight",
        &COUNT,
        "Its share, relative to the other endpoints. 0: none.",
    )
    .default("1"),
    Field::new("locality", &TEXT, "`region/zone/subzone`."),
    Field::new("network", &TEXT, "Networks are not told apart.").unused(),
    Field::new("serviceAccount", &TEXT, "Identities are not checked.").unused(),
];
static WORKLOAD: Shape = Shape::Object(&WORKLOAD_FIELDS);

pub(super) static WORKLOAD_ENTRY: Kind = Kind {
    group: NETWORKING,
    versions: VERSIONS,
    name: "WorkloadEntry",
    doc: "An endpoint that ServiceEntries of its namespace choose by labels. The labels of its \
          metadata count, too.",
    fields: &[Field::new("spec", &WORKLOAD, "The endpoint.").required()],
    enforced: true,
};

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
    enforced: true,
};

static POLICY: Shape = Shape::Object(&[
    Field::new("loadBalancer", &BALANCER, "How an endpoint is chosen."),
    Field::new("connectionPool", &POOL, "Limits."),
    Field::new(
        "portLevelSettings",
        &Shape::List(&PORT_POLICY),
        "Policies of single ports.",
    ),
    Field::new("outlierDetection", &ANY, "Ejection of failing endpoints.").later(),
    Field::new(
        "tls",
        &TLS,
        "TLS towards endpoints. Only DISABLE for now: nothing secret is sent in clear.",
    ),
    Field::new("tunnel", &ANY, "Tunnels.").later(),
    Field::new("proxyProtocol", &ANY, "The PROXY protocol.").later(),
    Field::new("retryBudget", &ANY, "A limit on retries.").later(),
]);

static PORT_POLICY: Shape = Shape::Object(&[
    Field::new("port", &PORT_NUMBER, "The port.").required(),
    Field::new("loadBalancer", &BALANCER, "How an endpoint is chosen."),
    Field::new("connectionPool", &POOL, "Limits."),
    Field::new("outlierDetection", &ANY, "Ejection of failing endpoints.").later(),
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
    Field::new("localityLbSetting", &ANY, "Locality preferences.").later(),
    Field::new("zoneAwareLbSetting", &ANY, "Zone preferences.").later(),
    Field::new("warmup", &ANY, "Slow start.").later(),
    Field::new("warmupDurationSecs", &DURATION, "Slow start.").later(),
]);

/// Envoy's own ceiling; a ring is memory.
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
                "Requests that wait for a connection, per worker. 0: the default.",
            )
            .default("1024"),
            Field::new(
                "http2MaxRequests",
                &COUNT,
                "Requests in flight, per worker. 0: the default.",
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
            Field::new("maxRetries", &COUNT, "Retries in flight.").later(),
            Field::new("maxConcurrentStreams", &COUNT, "HTTP/2 streams.").later(),
            Field::new("h2UpgradePolicy", &TEXT, "HTTP only.").later(),
            Field::new("useClientProtocol", &FLAG, "HTTP only.").later(),
            Field::new("http2KeepAlive", &ANY, "HTTP only.").later(),
        ]),
        "Requests.",
    ),
]);

pub(super) static VIRTUAL_SERVICE: Kind = Kind {
    group: NETWORKING,
    versions: VERSIONS,
    name: "VirtualService",
    doc: "Routes. As in Aeraki, `http` holds the routes of RPC protocols: `method` is the method, `headers` are \
          attributes. The first rule that matches wins.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new("hosts", &TEXTS, "The hosts that the routes are for.").required(),
            Field::new(
                "gateways",
                &TEXTS,
                "Gateways (`namespace/name` or `name`) that they attach to; `mesh`: to any.",
            )
            .default("mesh"),
            Field::new("http", &Shape::List(&HTTP_ROUTE), "The routes."),
            Field::new("tcp", &ANY, "Routes by connection.").later(),
            Field::new("tls", &ANY, "Routes by SNI.").later(),
            EXPORT_TO,
        ]),
        "The routes.",
    )
    .required()],
    enforced: true,
};

const NEVER: &str = "Nothing here can be matched by it: a match that asks for it is never met.";
static HEADER_MATCHES: Shape = Shape::Map(&STRING_MATCH);

static HTTP_ROUTE: Shape = Shape::Object(&[
    Field::new("name", &TEXT, "A name for metrics and logs."),
    Field::new(
        "match",
        &Shape::List(&Shape::Object(&[
            Field::new("name", &TEXT, "A name for people.").unused(),
            Field::new("method", &STRING_MATCH, "Tests the method."),
            Field::new(
                "headers",
                &HEADER_MATCHES,
                "Tests attributes; all must pass. Empty: present.",
            ),
            Field::new(
                "withoutHeaders",
                &HEADER_MATCHES,
                "Tests attributes; all must fail.",
            ),
            Field::new("port", &PORT, "Only on listeners with this port."),
            Field::new("gateways", &TEXTS, "Only on these of the rule's gateways."),
            Field::new("uri", &STRING_MATCH, NEVER),
            Field::new("scheme", &STRING_MATCH, NEVER),
            Field::new("authority", &STRING_MATCH, NEVER),
            Field::new("queryParams", &HEADER_MATCHES, NEVER),
            Field::new("sourceLabels", &LABELS, NEVER),
            Field::new("sourceNamespace", &TEXT, NEVER),
            Field::new("ignoreUriCase", &FLAG, "HTTP only.").unused(),
            Field::new("statPrefix", &TEXT, "HTTP only.").unused(),
        ])),
        "The route is taken if one of these passes; none: always.",
    ),
    Field::new(
        "route",
        &Shape::List(&Shape::Object(&[
            Field::new("destination", &DESTINATION, "Where to.").required(),
            WEIGHT,
            Field::new("headers", &ANY, "Changes for one destination.").later(),
        ])),
        "Where matching requests go.",
    ),
    Field::new(
        "timeout",
        &DURATION_OR_ZERO,
        "How long a request may take; 0s: for ever.",
    )
    .default("60s"),
    Field::new(
        "headers",
        &Shape::Object(&[
            Field::new("request", &HEADER_EDITS, "On requests."),
            Field::new("response", &HEADER_EDITS, "On responses."),
        ]),
        "Changes to attributes.",
    ),
    Field::new("retries", &ANY, "Retries.").later(),
    Field::new("fault", &ANY, "Faults on purpose.").later(),
    Field::new("mirror", &DESTINATION, "A copy of requests.").later(),
    Field::new("mirrors", &ANY, "Copies of requests.").later(),
    Field::new("mirrorPercentage", &PERCENTAGE, "The share that is copied.").later(),
    Field::new("mirror_percent", &ANY, "Deprecated in Istio.").later(),
    Field::new("mirrorPercent", &ANY, "Deprecated in Istio.").later(),
    Field::new("delegate", &ANY, "Routes of another VirtualService.").later(),
    Field::new("redirect", &ANY, "HTTP only.").later(),
    Field::new("rewrite", &ANY, "HTTP only.").later(),
    Field::new("directResponse", &ANY, "HTTP only.").later(),
    Field::new("corsPolicy", &ANY, "HTTP only.").later(),
]);

static HEADER_EDITS: Shape = Shape::Object(&[
    Field::new("set", &LABELS, "The attribute has this value and no other."),
    Field::new("add", &LABELS, "The message gains this value."),
    Field::new("remove", &TEXTS, "The attribute is gone."),
]);

pub(super) static AUTHORIZATION_POLICY: Kind = later_kind(
    "security.istio.io",
    &["v1", "v1beta1"],
    "AuthorizationPolicy",
);
pub(super) static PEER_AUTHENTICATION: Kind = later_kind(
    "security.istio.io",
    &["v1", "v1beta1"],
    "PeerAuthentication",
);

/// A kind that is accepted, with a warning.
pub(super) const fn later_kind(
    group: &'static str,
    versions: &'static [&'static str],
    name: &'static str,
) -> Kind {
    Kind {
        group,
        versions,
        name,
        doc: "Accepted, not enforced yet.",
        fields: &[],
        enforced: false,
    }
}
