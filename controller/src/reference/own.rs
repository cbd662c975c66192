//! Meltemi's own kinds (meltemi.io), and the Kubernetes Secret.

use super::aeraki::{DESTINATIONS, GATEWAYS, HOSTS, KEY_VALUE, MIRROR, MIRROR_PERCENTAGE, NAME};
use super::common::{
    ANY, COUNT, DURATION, DURATION_OR_ZERO, EXPORT_TO, FLAG, LABELS, PERCENT, PORT, POSITIVE,
    TESTS, TEXT, TEXTS,
};
use super::fitness::{HEALTH_CHECK, OUTLIER, RETRY_BUDGET, WARMUP};
use super::rules::{FAULTS, GLOBAL_RATE_LIMIT, LOCAL_RATE_LIMIT, MIRRORS, RETRIES, TRACING};
use crate::schema::{Field, Kind, Reader, Shape};

/// The API group of our own kinds.
pub(crate) const GROUP: &str = "meltemi.io";
const V1ALPHA1: &[&str] = &["v1alpha1"];

pub(super) static META_ROUTER: Kind = Kind {
    group: GROUP,
    versions: V1ALPHA1,
    name: "MetaRouter",
    doc: "Aeraki's MetaRouter, with more tests, timeouts, retries, faults, several mirrors, limits of single routes, and \
          changes that add, remove, and are made of attributes.",
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

static MUTATION: Shape = Shape::ListOr(
    &KEY_VALUE,
    &[
        Field::new("set", &LABELS, "The attribute has this value and no other."),
        Field::new("add", &LABELS, "The message gains this value."),
        Field::new("remove", &TEXTS, "The attribute is gone."),
    ],
);

const CALLER_TIMEOUT: Field = Field::new(
    "callerTimeout",
    &FLAG,
    "true: the timeout in a request is looked for behind its arguments, too, which costs reading them, and counts if \
     it is shorter. It makes every request of the listener's protocol be read so far. Without it, it counts where \
     it is found on the way.",
)
.default("false");

static ROUTE: Shape = Shape::Object(&[
    NAME,
    Field::new(
        "match",
        &Shape::Object(&[Field::new(
            "attributes",
            &TESTS,
            "Tests of attributes, by name; all must pass. Empty: present.",
        )]),
        "Which requests; none: all.",
    ),
    DESTINATIONS,
    Field::new(
        "timeout",
        &DURATION_OR_ZERO,
        "How long a request may take; 0s: for ever.",
    )
    .default("60s"),
    CALLER_TIMEOUT,
    RETRIES,
    FAULTS,
    MIRROR,
    MIRROR_PERCENTAGE,
    MIRRORS,
    LOCAL_RATE_LIMIT,
    Field::new(
        "requestMutation",
        &MUTATION,
        "Changes on requests: `[{key, value}]`, or an object. In values `%name%` stands for an attribute, `%%` for a \
         percent sign, and upper-case names for facts of the connection.",
    ),
    Field::new(
        "responseMutation",
        &MUTATION,
        "Changes on responses, in the same way; their attributes are those of the response.",
    ),
]);

pub(super) static APPLICATION_PROTOCOL: Kind = Kind {
    group: GROUP,
    versions: V1ALPHA1,
    name: "ApplicationProtocol",
    doc: "Aeraki's ApplicationProtocol, or a protocol that is described here and needs no code.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new(
                "protocol",
                &TEXT,
                "The name, as in the port name `tcp-<name>-x`.",
            )
            .required(),
            Field::new("codec", &TEXT, "A codec that is built in."),
            Field::new("declarative", &ANY, "The description of the protocol."),
        ]),
        "The protocol: `codec` or `declarative`.",
    )
    .required()],
    reader: Reader::ApplicationProtocol,
};

pub(super) static DESTINATION_POLICY: Kind = Kind {
    group: GROUP,
    versions: V1ALPHA1,
    name: "DestinationPolicy",
    doc: "What a DestinationRule cannot say of a host. It goes before the DestinationRule.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new("host", &TEXT, "The host, short or full.").required(),
            Field::new(
                "sharing",
                &Shape::Choice(&["exclusive", "pipelined", "multiplexed"]),
                "How requests share connections: one at a time, many answered in order, many told apart by id. Where servers may call their clients (Dubbo), `exclusive` gives each client a connection of its own for each endpoint, over which they can.",
            )
            .default("as the protocol declares"),
            Field::new(
                "replicas",
                &FLAG,
                "The endpoints hold the same data (replicas, or proxies in front of it), so that any of them can serve \
                 a request. Without it `check` warns of several endpoints where servers hold data, unless a \
                 consistent hash makes shards of them.",
            )
            .default("false"),
            Field::new(
                "keepalive",
                &DURATION_OR_ZERO,
                "How often a silent connection is asked whether it is there, where the protocol can ask; 0s: never.",
            )
            .default("60s"),
            Field::new(
                "sessionIdleTimeout",
                &DURATION_OR_ZERO,
                "How long a connection that is in a session of clients (user, database, name) may stay without a \
                 request, once no such client is connected; 0s: as long as any other, which is the DestinationRule's \
                 idleTimeout.",
            )
            .default("60s"),
            Field::new("dnsRefresh", &DURATION, "How often names are resolved again.").default("5s"),
            Field::new(
                "limits",
                &Shape::Object(&[
                    Field::new("sharedConnections", &POSITIVE, "Connections to one endpoint that requests share.")
                        .default("2"),
                    Field::new("connections", &POSITIVE, "Connections to the cluster.").default("1024"),
                    Field::new("pending", &COUNT, "Requests that wait for a connection.").default("1024"),
                    Field::new("requests", &POSITIVE, "Requests in flight.").default("65536"),
                    Field::new("retries", &COUNT, "Requests under retry.").default("1024"),
                    Field::new("output", &POSITIVE, "Bytes that wait to be written to one upstream.").default("1048576"),
                ]),
                "Limits of the whole process; sharedConnections is of each worker.",
            ),
            Field::new(
                "subsetFallback",
                &Shape::ChoiceOr(&["none", "any"], &LABELS),
                "What a subset has whose labels no endpoint has: no endpoint, all of the host's, or those with \
                 these labels.",
            )
            .default("none"),
            Field::new("healthCheck", &HEALTH_CHECK, "Endpoints are probed. None, unless it is written."),
            Field::new(
                "outlier",
                &OUTLIER,
                "Endpoints that fail are left alone for a while. What is not written here is as in the \
                 DestinationRule's outlierDetection.",
            ),
            Field::new(
                "panicThreshold",
                &PERCENT,
                "If less of the endpoints is fit, all count as fit. 0: never. It goes before minHealthPercent.",
            )
            .default("0"),
            Field::new(
                "retryBudget",
                &RETRY_BUDGET,
                "How many requests may be under retry at once, besides limits.retries.",
            ),
            Field::new(
                "warmup",
                &WARMUP,
                "A new endpoint, or one that is let in again, gets its full share after a while.",
            ),
        ]),
        "The policy.",
    )
    .required()],
    reader: Reader::DestinationPolicy,
};

pub(super) static LISTENER_POLICY: Kind = Kind {
    group: GROUP,
    versions: V1ALPHA1,
    name: "ListenerPolicy",
    doc: "The limits of a Gateway's listeners. What a policy for a port says goes before what one for the whole \
          Gateway says.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new("gateway", &TEXT, "The Gateway: `namespace/name` or `name`.").required(),
            Field::new(
                "port",
                &PORT,
                "The port of the server; none: all of the Gateway's.",
            ),
            Field::new(
                "limits",
                &Shape::Object(&[
                    Field::new(
                        "frame",
                        &POSITIVE,
                        "The largest message that is held, and the largest request, in bytes. Unless it is set, a Redis request that is not held may be as large as Redis allows.",
                    )
                    .default("16777216"),
                    Field::new(
                        "hold",
                        &COUNT,
                        "Up to this many bytes messages are always held whole.",
                    )
                    .default("65536"),
                    Field::new(
                        "depth",
                        &Shape::Number { min: 1, max: 1024 },
                        "How deep values may nest.",
                    )
                    .default("64"),
                    Field::new(
                        "entries",
                        &POSITIVE,
                        "Headers or attachments of one message.",
                    )
                    .default("512"),
                    Field::new("connections", &POSITIVE, "Clients at once.").default("65536"),
                    Field::new("inFlight", &POSITIVE, "Unanswered requests of one client.")
                        .default("1024"),
                    Field::new(
                        "output",
                        &POSITIVE,
                        "Bytes that wait for one client until it is not read any more.",
                    )
                    .default("1048576"),
                    Field::new(
                        "outputCutOff",
                        &POSITIVE,
                        "Bytes that wait for one client until it is cut off.",
                    )
                    .default("33554432"),
                    Field::new(
                        "slowFrame",
                        &DURATION,
                        "How long a message may take from first to last byte.",
                    )
                    .default("30s"),
                    Field::new(
                        "idle",
                        &DURATION_OR_ZERO,
                        "How long a client may stay silent; 0s: for ever.",
                    )
                    .default("1h"),
                    Field::new(
                        "detect",
                        &DURATION,
                        "How long protocol detection waits for bytes.",
                    )
                    .default("10s"),
                ]),
                "The limits.",
            ),
            LOCAL_RATE_LIMIT,
            GLOBAL_RATE_LIMIT,
            TRACING,
            CALLER_TIMEOUT,
        ]),
        "The policy.",
    )
    .required()],
    reader: Reader::ListenerPolicy,
};

pub(super) static SECRET: Kind = Kind {
    group: "",
    versions: &["v1"],
    name: "Secret",
    doc: "Credentials that a RedisService or a RedisDestination names.",
    fields: &[
        Field::new("type", &TEXT, "Not looked at.").unused(),
        Field::new("data", &LABELS, "Values in base64.").secret(),
        Field::new(
            "stringData",
            &LABELS,
            "Values as they are; they go before `data`.",
        )
        .secret(),
        Field::new("immutable", &FLAG, "Kubernetes' own.").unused(),
    ],
    reader: Reader::Secret,
};
