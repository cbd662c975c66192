//! Settings in DestinationRules and DestinationPolicies that decide which endpoints are fit.

use super::common::{ANY, COUNT, DURATION, FACTOR, FLAG, PERCENT, POSITIVE, TEXT, TEXTS};
use crate::schema::{Field, Shape};

pub(super) static RETRY_BUDGET: Shape = Shape::Object(&[
    Field::new("percent", &PERCENT, "Of the requests in flight.").default("20"),
    Field::new("minRetryConcurrency", &COUNT, "However few are in flight.").default("3"),
]);

pub(super) static WARMUP: Shape = Shape::Object(&[
    Field::new(
        "duration",
        &DURATION,
        "How long until an endpoint has its full share.",
    )
    .required(),
    Field::new(
        "minimumPercent",
        &PERCENT,
        "The part of its share that it starts with.",
    )
    .default("10"),
    Field::new(
        "aggression",
        &FACTOR,
        "1: the share grows evenly; more: faster at first.",
    )
    .default("1"),
]);

pub(super) static HEALTH_CHECK: Shape = Shape::Object(&[
    Field::new(
        "probe",
        &Shape::ChoiceOr(
            &["tcp", "heartbeat"],
            &Shape::Object(&[Field::new(
                "call",
                &TEXT,
                "An operation that is called without arguments. Any answer of the service counts, but that \
                 there is no such operation.",
            )
            .required()]),
        ),
        "Whether it accepts connections, whether it answers the protocol's heartbeat, or a call.",
    )
    .default("tcp"),
    Field::new(
        "dialect",
        &TEXT,
        "What the endpoints speak, where the protocol has dialects, as in `unframed-compact`.",
    )
    .default("the plain one"),
    Field::new("interval", &DURATION, "How often.").default("10s"),
    Field::new("timeout", &DURATION, "How long an answer may take.").default("1s"),
    Field::new(
        "unhealthyThreshold",
        &POSITIVE,
        "Failures in a row until an endpoint is left alone.",
    )
    .default("3"),
    Field::new(
        "healthyThreshold",
        &POSITIVE,
        "Successes in a row until it is used again; the very first is enough.",
    )
    .default("2"),
]);

pub(super) static OUTLIER: Shape = Shape::Object(&[
    Field::new(
        "consecutiveErrors",
        &COUNT,
        "Failures in a row, of whatever kind; 0: they do not count.",
    )
    .default("5"),
    Field::new(
        "consecutiveGatewayErrors",
        &COUNT,
        "Failures in a row to reach the endpoint or to get an answer in time; 0: they do not count.",
    )
    .default("0"),
    Field::new(
        "interval",
        &DURATION,
        "How often success rates are compared, and ejected endpoints let in again.",
    )
    .default("10s"),
    Field::new(
        "baseEjectionTime",
        &DURATION,
        "How long an endpoint is ejected; the n-th time in a row n times as long.",
    )
    .default("30s"),
    Field::new("maxEjectionTime", &DURATION, "The longest ejection.").default("300s"),
    Field::new(
        "maxEjectionPercent",
        &PERCENT,
        "The largest part of the endpoints that is ejected; one may always be.",
    )
    .default("10"),
    Field::new(
        "successRate",
        &Shape::Object(&[
            Field::new(
                "minimumHosts",
                &POSITIVE,
                "Endpoints that must have had enough requests in an interval.",
            )
            .default("5"),
            Field::new(
                "requestVolume",
                &POSITIVE,
                "Requests that are enough.",
            )
            .default("100"),
            Field::new(
                "stdevFactor",
                &FACTOR,
                "How many standard deviations below the mean.",
            )
            .default("1.9"),
        ]),
        "Endpoints whose success rate is far below that of the others are ejected. `{}`: with the defaults.",
    ),
]);

pub(super) static LOCALITIES: Shape = Shape::Object(&[
    Field::new("enabled", &FLAG, "false: localities mean nothing.").default("true"),
    Field::new(
        "distribute",
        &Shape::List(&Shape::Object(&[
            Field::new(
                "from",
                &TEXT,
                "Where this program stands: `region/zone/subzone`; the last of them may be `*`.",
            )
            .required(),
            Field::new(
                "to",
                &Shape::Map(&SHARE),
                "The share of each locality; they sum to 100. Localities that are not listed get none.",
            )
            .required(),
        ])),
        "Which part of the requests goes where; the first entry that is for this locality counts.",
    ),
    Field::new(
        "failover",
        &Shape::List(&Shape::Object(&[
            Field::new("from", &TEXT, "The region that fails.").required(),
            Field::new("to", &TEXT, "The region that stands in for it.").required(),
        ])),
        "Which region stands in for which; the others come last. Only with outlierDetection, or with outlier \
         or healthCheck of a DestinationPolicy.",
    ),
    Field::new(
        "failoverPriority",
        &TEXTS,
        "Labels, the most important first: the more of them an endpoint shares with this program, the earlier \
         it is used. This program has those of its locality (`topology.kubernetes.io/region`, \
         `topology.kubernetes.io/zone`, `topology.istio.io/subzone`); `label=value` says what to look for. Only \
         with outlierDetection.",
    ),
]);
static SHARE: Shape = Shape::Number { min: 1, max: 100 };
static WHOLE_PERCENT: Shape = Shape::Number { min: 0, max: 100 };

pub(super) static DETECTION: Shape = Shape::Object(&[
    Field::new(
        "consecutive5xxErrors",
        &COUNT,
        "Failures in a row, of whatever kind, until an endpoint is ejected. 0: they do not count.",
    )
    .default("5"),
    Field::new(
        "consecutiveGatewayErrors",
        &COUNT,
        "The same for failures to reach it or to get an answer in time.",
    )
    .default("0"),
    Field::new(
        "consecutiveErrors",
        &COUNT,
        "The older way to write consecutiveGatewayErrors; consecutive5xxErrors is then 0.",
    ),
    Field::new(
        "splitExternalLocalOriginErrors",
        &FLAG,
        "true: consecutiveLocalOriginFailures counts.",
    )
    .default("false"),
    Field::new(
        "consecutiveLocalOriginFailures",
        &COUNT,
        "As consecutiveGatewayErrors, which is the same here; the smaller of the two counts.",
    )
    .default("5"),
    Field::new(
        "interval",
        &DURATION,
        "How often ejected endpoints are let in again.",
    )
    .default("10s"),
    Field::new(
        "baseEjectionTime",
        &DURATION,
        "How long an endpoint is ejected; the n-th time in a row n times as long, 300s at most.",
    )
    .default("30s"),
    Field::new(
        "maxEjectionPercent",
        &WHOLE_PERCENT,
        "The largest part of the endpoints that is ejected; one may always be. 0: the default.",
    )
    .default("10"),
    Field::new(
        "minHealthPercent",
        &WHOLE_PERCENT,
        "If less of the endpoints is fit, all count as fit. 0: never.",
    )
    .default("0"),
    Field::new("outlierDetectionHttpErrorCodes", &ANY, "HTTP only.").later(),
]);
