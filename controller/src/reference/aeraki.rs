//! Aeraki's kinds (metaprotocol.aeraki.io, redis.aeraki.io, dubbo.aeraki.io).

use super::common::{
    COUNT, DESTINATION, DURATION, EXPORT_TO, FLAG, PERCENTAGE, PORT, RATE_LIMIT_BUCKET,
    STRING_MATCH, TCP_POOL, TEXT, TEXTS, WEIGHT,
};
use super::rules::{DENY_ON_FAIL, DESCRIPTOR, DOMAIN, REQUEST_TIMEOUT};
use crate::schema::{Field, Kind, Reader, Shape};

const V1ALPHA1: &[&str] = &["v1alpha1"];

pub(super) static META_ROUTER: Kind = Kind {
    group: "metaprotocol.aeraki.io",
    versions: V1ALPHA1,
    name: "MetaRouter",
    doc: "Routes of a host, whatever its protocol. The first that matches wins. Without routes everything goes to \
          the host.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            HOSTS,
            GATEWAYS,
            Field::new("routes", &Shape::List(&ROUTE), "The routes."),
            LOCAL_RATE_LIMIT,
            GLOBAL_RATE_LIMIT,
            EXPORT_TO,
        ]),
        "The router.",
    )
    .required()],
    reader: Reader::MetaRouter,
};

pub(super) const HOSTS: Field = Field::new(
    "hosts",
    &TEXTS,
    "The hosts whose requests are routed, as their ServiceEntries have them.",
)
.required();
pub(super) const GATEWAYS: Field = Field::new(
    "gateways",
    &TEXTS,
    "Gateways (`namespace/name` or `name`) whose listeners of the host's protocol take the routes. None, or \
     `mesh`: any listener of the protocol, those with the service's port number before others.",
);

static ROUTE: Shape = Shape::Object(&[
    NAME,
    Field::new(
        "match",
        &Shape::Object(&[Field::new(
            "attributes",
            &Shape::Map(&STRING_MATCH),
            "Tests of attributes, by name; all must pass. Empty: present.",
        )]),
        "Which requests; none: all.",
    ),
    DESTINATIONS,
    MIRROR,
    MIRROR_PERCENTAGE,
    Field::new(
        "requestMutation",
        &Shape::List(&KEY_VALUE),
        "Attributes to set on requests.",
    ),
    Field::new(
        "responseMutation",
        &Shape::List(&KEY_VALUE),
        "Attributes to set on responses.",
    ),
]);

pub(super) const NAME: Field = Field::new("name", &TEXT, "A name for metrics and logs.");
static WEIGHTED: Shape = Shape::List(&Shape::Object(&[
    Field::new("destination", &DESTINATION, "Where to.").required(),
    WEIGHT,
]));
pub(super) const DESTINATIONS: Field =
    Field::new("route", &WEIGHTED, "Where matching requests go.").required();
pub(super) const MIRROR: Field = Field::new(
    "mirror",
    &DESTINATION,
    "A copy of requests, whose answers reach nobody.",
);
pub(super) const MIRROR_PERCENTAGE: Field =
    Field::new("mirrorPercentage", &PERCENTAGE, "The share that is copied.").default("100");

pub(super) static KEY_VALUE: Shape = Shape::Object(&[
    Field::new(
        "key",
        &TEXT,
        "The attribute. A name that is not declared is a header, with the protocol's prefix put before it.",
    )
    .required(),
    Field::new("value", &TEXT, "Its value.").required(),
]);

static LIMIT_MATCH: Shape = Shape::Object(&[Field::new(
    "attributes",
    &Shape::Map(&STRING_MATCH),
    "Tests of attributes; all must pass.",
)]);

static LOCAL_LIMIT: Shape = Shape::Object(&[
    Field::new(
        "tokenBucket",
        &RATE_LIMIT_BUCKET,
        "The bucket of requests that no condition takes.",
    ),
    Field::new(
        "conditions",
        &Shape::List(&Shape::Object(&[
            Field::new("tokenBucket", &RATE_LIMIT_BUCKET, "The bucket.").required(),
            Field::new("match", &LIMIT_MATCH, "Which requests; none: all."),
        ])),
        "Buckets of requests that match; the first counts.",
    ),
]);
const LOCAL_RATE_LIMIT: Field = Field::new(
    "localRateLimit",
    &LOCAL_LIMIT,
    "Limits in each process, for all its workers together.",
);
static GLOBAL_LIMIT: Shape = Shape::Object(&[
    DOMAIN,
    Field::new("match", &LIMIT_MATCH, "Which requests; none: all."),
    Field::new(
        "rateLimitService",
        &TEXT,
        "The cluster of the service, which speaks Envoy's `RateLimitService` v3: `outbound|<port>||<host>`.",
    )
    .required(),
    REQUEST_TIMEOUT,
    DENY_ON_FAIL,
    Field::new(
        "descriptors",
        &Shape::List(&Shape::Object(DESCRIPTOR)),
        "What is told to it: each attribute is a descriptor by itself. One of which the attribute is absent is left out.",
    )
    .required(),
]);
const GLOBAL_RATE_LIMIT: Field = Field::new(
    "globalRateLimit",
    &GLOBAL_LIMIT,
    "Limits kept by a service.",
);

pub(super) static APPLICATION_PROTOCOL: Kind = Kind {
    group: "metaprotocol.aeraki.io",
    versions: V1ALPHA1,
    name: "ApplicationProtocol",
    doc: "A name for a protocol, and the codec that speaks it.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new(
                "protocol",
                &TEXT,
                "The name, as in the port name `tcp-metaprotocol-<name>-x`.",
            )
            .required(),
            Field::new(
                "codec",
                &TEXT,
                "A codec that is built in: `aeraki.meta_protocol.codec.<name>` or its name.",
            )
            .required(),
        ]),
        "The protocol.",
    )
    .required()],
    reader: Reader::ApplicationProtocol,
};

static AUTH: Shape = Shape::Object(&[
    Field::new(
        "plain",
        &Shape::Object(&[
            Field::new("username", &TEXT, "The user."),
            Field::new("password", &TEXT, "The password.")
                .required()
                .secret(),
        ]),
        "Written here.",
    ),
    Field::new(
        "secret",
        &Shape::Object(&[
            Field::new("name", &TEXT, "A Secret in this namespace.").required(),
            Field::new("passwordField", &TEXT, "The key of the password in it.")
                .default("password, or else token"),
            Field::new("usernameField", &TEXT, "The key of the user in it."),
        ]),
        "Taken from a Secret; spaces around the values are dropped.",
    ),
]);

pub(super) static REDIS_SERVICE: Kind = Kind {
    group: "redis.aeraki.io",
    versions: V1ALPHA1,
    name: "RedisService",
    doc: "Routes of a Redis host by key. The longest prefix wins; a route without a match takes the rest.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new("host", &TEXTS, "The hosts that the routes are for.").required(),
            Field::new(
                "settings",
                &Shape::Object(&[
                    Field::new("auth", &AUTH, "What clients must present."),
                    Field::new("opTimeout", &DURATION, "How long a command may take.").default("60s"),
                    Field::new("caseInsensitive", &FLAG, "Prefixes match whatever the case.").later(),
                    Field::new("enableCommandStats", &FLAG, "Commands are counted anyway.").unused(),
                    Field::new("enableHashtagging", &FLAG, "Key hash tags.").later(),
                    Field::new("enableRedirection", &FLAG, "Follow MOVED and ASK.").later(),
                    Field::new("maxBufferSizeBeforeFlush", &COUNT, "Output is flushed once per turn here.").unused(),
                    Field::new("bufferFlushTimeout", &DURATION, "Output is flushed once per turn here.").unused(),
                    Field::new("maxUpstreamUnknownConnections", &COUNT, "Connections to redirect targets.").later(),
                    Field::new(
                        "readPolicy",
                        &Shape::Choice(&["MASTER", "PREFER_MASTER", "REPLICA", "PREFER_REPLICA", "ANY"]),
                        "Which servers are read from. All commands go to any endpoint of the cluster for now.",
                    )
                    .default("MASTER"),
                ]),
                "Settings.",
            ),
            Field::new(
                "redis",
                &Shape::List(&Shape::Object(&[
                    Field::new(
                        "match",
                        &Shape::Object(&[Field::new(
                            "key",
                            &Shape::Object(&[
                                Field::new("prefix", &TEXT, "The key starts with this."),
                                Field::new("removePrefix", &FLAG, "Take it off on the way.").default("false").later(),
                            ]),
                            "The key.",
                        )]),
                        "Which commands; none: the rest.",
                    ),
                    Field::new("route", &REDIS_ROUTE, "Where to.").required(),
                    Field::new(
                        "mirror",
                        &Shape::List(&Shape::Object(&[
                            Field::new("route", &REDIS_ROUTE, "Where to.").required(),
                            Field::new("percentage", &PERCENTAGE, "The share that is copied.").default("100"),
                            Field::new("excludeReadCommands", &FLAG, "Commands that change nothing are not copied.")
                                .default("false"),
                        ])),
                        "Copies, whose answers reach nobody.",
                    ),
                ])),
                "The routes. None: everything goes to the host.",
            ),
            Field::new("faults", &Shape::List(&REDIS_FAULT), "Faults on purpose, on every route."),
        ]),
        "The service.",
    )
    .required()],
    reader: Reader::RedisService,
};

static REDIS_FAULT: Shape = Shape::Object(&[
    Field::new(
        "type",
        &Shape::Choice(&["DELAY", "ERROR"]),
        "Commands wait before they are sent, or are answered with an error and not sent.",
    )
    .required(),
    Field::new("percentage", &PERCENTAGE, "How many.").default("100"),
    Field::new("delay", &DURATION, "How long they wait."),
    Field::new(
        "commands",
        &TEXTS,
        "Only these commands; none: all. Never AUTH and PING.",
    ),
]);

static REDIS_ROUTE: Shape = Shape::Object(&[
    Field::new("host", &TEXT, "The host, short or full.").required(),
    Field::new(
        "port",
        &PORT,
        "Its port. It may be left out if the host has one Redis port.",
    ),
]);

pub(super) static REDIS_DESTINATION: Kind = Kind {
    group: "redis.aeraki.io",
    versions: V1ALPHA1,
    name: "RedisDestination",
    doc: "How a Redis host is used.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new("host", &TEXT, "The host, short or full.").required(),
            Field::new(
                "trafficPolicy",
                &Shape::Object(&[Field::new(
                    "connectionPool",
                    &Shape::Object(&[
                        Field::new("tcp", &TCP_POOL, "Connections."),
                        Field::new(
                            "redis",
                            &Shape::Object(&[
                                Field::new("auth", &AUTH, "What every connection to it presents."),
                                Field::new(
                                    "mode",
                                    &Shape::Choice(&["PROXY", "CLUSTER"]),
                                    "CLUSTER: the endpoints are a Redis Cluster; clients see its MOVED replies for now.",
                                )
                                .default("PROXY"),
                                Field::new("discoveryEndpoints", &TEXTS, "Where the cluster's map is asked for.").later(),
                            ]),
                            "Redis.",
                        ),
                    ]),
                    "Connections.",
                )]),
                "How it is used.",
            ),
        ]),
        "The destination.",
    )
    .required()],
    reader: Reader::RedisDestination,
};
