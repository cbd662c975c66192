//! Shapes and fields that several kinds share.

use crate::schema::{Field, Shape};

pub(super) static TEXT: Shape = Shape::Text;
pub(super) static ANY: Shape = Shape::Any;
pub(super) static FLAG: Shape = Shape::Flag;
pub(super) static PERCENT: Shape = Shape::Percent;
pub(super) static FACTOR: Shape = Shape::Factor;
pub(super) static TEXTS: Shape = Shape::List(&TEXT);
pub(super) static LABELS: Shape = Shape::Map(&TEXT);
pub(super) static DURATION: Shape = Shape::Duration;
pub(super) static DURATION_OR_ZERO: Shape = Shape::DurationOrZero;
pub(super) static PATTERN: Shape = Shape::Pattern;
pub(super) static PORT: Shape = Shape::Number { min: 1, max: 65535 };
pub(super) static COUNT: Shape = Shape::Number {
    min: 0,
    max: u32::MAX as i64,
};
pub(super) static POSITIVE: Shape = Shape::Number {
    min: 1,
    max: u32::MAX as i64,
};
pub(super) static INTEGER: Shape = Shape::Number {
    min: i64::MIN,
    max: i64::MAX,
};

/// `metadata` of every kind.
pub(crate) static METADATA: &[Field] = &[
    Field::new("name", &TEXT, "The name; unique within kind and namespace."),
    Field::new("namespace", &TEXT, "The namespace.").default("default"),
    Field::new("labels", &LABELS, "Labels."),
    Field::new(
        "annotations",
        &LABELS,
        "Annotations. On a ServiceEntry `interface` names the Dubbo interface that the host stands for; on Istio's \
         AuthorizationPolicy `meltemi.io/operations: \"true\"` makes `methods` mean operations and `paths` services.",
    ),
    Field::new("generateName", &ANY, "Kubernetes' own.").unused(),
    Field::new("uid", &ANY, "Kubernetes' own.").unused(),
    Field::new("resourceVersion", &ANY, "Kubernetes' own.").unused(),
    Field::new("generation", &ANY, "Kubernetes' own.").unused(),
    Field::new("creationTimestamp", &ANY, "Kubernetes' own.").unused(),
    Field::new("deletionTimestamp", &ANY, "Kubernetes' own.").unused(),
    Field::new("deletionGracePeriodSeconds", &ANY, "Kubernetes' own.").unused(),
    Field::new("ownerReferences", &ANY, "Kubernetes' own.").unused(),
    Field::new("finalizers", &ANY, "Kubernetes' own.").unused(),
    Field::new("managedFields", &ANY, "Kubernetes' own.").unused(),
    Field::new("selfLink", &ANY, "Kubernetes' own.").unused(),
    Field::new("clusterName", &ANY, "Kubernetes' own.").unused(),
];

pub(super) static PORT_NUMBER: Shape =
    Shape::Object(&[Field::new("number", &PORT, "The port's number.").required()]);

pub(super) static DESTINATION: Shape = Shape::Object(&[
    Field::new(
        "host",
        &TEXT,
        "The host of a ServiceEntry; `name` and `name.namespace` stand for `name.namespace.svc.cluster.local`.",
    )
    .required(),
    Field::new("subset", &TEXT, "A subset that a DestinationRule of the host defines."),
    Field::new(
        "port",
        &PORT_NUMBER,
        "The service's port. It may be left out if the service has one port of the protocol.",
    ),
]);

pub(super) static PERCENTAGE: Shape =
    Shape::Object(&[Field::new("value", &PERCENT, "The percentage.").required()]);

pub(super) const EXPORT_TO: Field = Field::new(
    "exportTo",
    &TEXTS,
    "Namespaces that see the resource. Without meaning here: everything that is loaded is seen.",
)
.unused();

/// Istio's and Aeraki's test of a text value.
pub(super) static STRING_MATCH: Shape = Shape::OneOf {
    fields: &[
        Field::new("exact", &TEXT, "The value is this. Empty: any value."),
        Field::new("prefix", &TEXT, "The value starts with this."),
        Field::new(
            "regex",
            &PATTERN,
            "The whole value matches this (RE2's language, linear cost).",
        ),
    ],
    empty: true,
};

pub(super) const WEIGHT: Field = Field::new(
    "weight",
    &COUNT,
    "The share of requests, relative to the other destinations of the route. A single destination gets all.",
)
.default("1 if no destination of the route has one, otherwise 0");

/// Limits and circuit breaking over TCP, in Istio's and Aeraki's form.
pub(super) static TCP_POOL: Shape = Shape::Object(&[
    Field::new(
        "maxConnections",
        &COUNT,
        "Connections to the cluster. 0: the default.",
    )
    .default("1024"),
    Field::new(
        "connectTimeout",
        &DURATION,
        "How long a connection may take to be made.",
    )
    .default("10s"),
    Field::new(
        "idleTimeout",
        &DURATION_OR_ZERO,
        "How long an upstream connection may stay without a request; 0s: for ever.",
    )
    .default("1h"),
    Field::new(
        "maxConnectionDuration",
        &DURATION,
        "The longest life of a connection.",
    )
    .later(),
    Field::new(
        "tcpKeepalive",
        &Shape::Object(&[
            Field::new(
                "probes",
                &COUNT,
                "Unanswered probes until the peer is dead.",
            ),
            Field::new("time", &DURATION, "Silence before the first probe."),
            Field::new("interval", &DURATION, "Time between probes."),
        ]),
        "TCP keepalive probes.",
    )
    .later(),
]);

pub(super) static RATE_LIMIT_BUCKET: Shape = Shape::Object(&[
    Field::new("maxTokens", &POSITIVE, "Tokens that the bucket holds.").required(),
    Field::new("tokensPerFill", &POSITIVE, "Tokens that each fill adds.").default("1"),
    Field::new("fillInterval", &DURATION, "The time between fills.").required(),
]);

const EXACT: Field = Field::new("exact", &TEXT, "The value is this. Empty: any value.");
const PREFIX: Field = Field::new("prefix", &TEXT, "The value starts with this.");
const SUFFIX: Field = Field::new("suffix", &TEXT, "The value ends with this.");
const REGEX: Field = Field::new(
    "regex",
    &PATTERN,
    "The whole value matches this (RE2's language, linear cost).",
);
static BOUNDS: Shape = Shape::Object(&[
    Field::new("start", &INTEGER, "The first integer in the range.").required(),
    Field::new("end", &INTEGER, "The first integer past the range.").required(),
]);
const RANGE: Field = Field::new(
    "range",
    &BOUNDS,
    "The value is a decimal integer in the range.",
);
const PRESENT: Field = Field::new(
    "present",
    &FLAG,
    "true: the attribute is there; false: it is not.",
);

static TEST: Shape = Shape::OneOf {
    fields: &[
        EXACT,
        PREFIX,
        SUFFIX,
        REGEX,
        RANGE,
        PRESENT,
        Field::new(
            "not",
            &Shape::OneOf {
                fields: &[EXACT, PREFIX, SUFFIX, REGEX, RANGE, PRESENT],
                empty: false,
            },
            "The test must fail; an attribute that is not there fails every test.",
        ),
    ],
    empty: true,
};

pub(super) static TESTS: Shape = Shape::Map(&TEST);
