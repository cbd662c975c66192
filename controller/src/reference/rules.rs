//! Settings of several kinds for the requests of a route: retries, faults, mirrors, and rate
//! limits, in Istio's, Aeraki's and our own form.

use super::common::{
    COUNT, DESTINATION, DURATION, DURATION_OR_ZERO, FLAG, PERCENT, PERCENTAGE, PORT_NUMBER,
    POSITIVE, RATE_LIMIT_BUCKET, TESTS, TEXT, TEXTS,
};
use crate::schema::{Field, Shape};

const ATTEMPTS: Field = Field::new(
    "attempts",
    &COUNT,
    "Further attempts after the first; 0: none, and then nothing else may stand here.",
)
.default("2");
const PER_TRY_TIMEOUT: Field =
    Field::new("perTryTimeout", &DURATION, "How long one attempt may take.")
        .default("as long as the request");

static ISTIO_RETRIES_SHAPE: Shape = Shape::Object(&[
    ATTEMPTS,
    PER_TRY_TIMEOUT,
    Field::new(
        "retryOn",
        &TEXT,
        "Istio's words, with commas: failures after which a request that was sent is sent again, if the \
             codec knows that twice does no harm. One that was not sent goes elsewhere in any case.",
    ),
    Field::new(
        "backoff",
        &DURATION,
        "The pause before the first retry; it doubles up to ten times this.",
    )
    .default("25ms"),
    Field::new(
        "retryIgnorePreviousHosts",
        &FLAG,
        "Endpoints that failed are passed over while there are others.",
    )
    .default("true"),
    Field::new(
        "retryRemoteLocalities",
        &FLAG,
        "Retry in other localities first.",
    )
    .later(),
]);
pub(super) const ISTIO_RETRIES: Field = Field::new(
    "retries",
    &ISTIO_RETRIES_SHAPE,
    "What is done about requests that failed.",
)
.default("2 attempts; what was not sent goes elsewhere in any case");

static RETRIES_SHAPE: Shape = Shape::Object(&[
    ATTEMPTS,
    PER_TRY_TIMEOUT,
    Field::new(
        "on",
        &Shape::List(&Shape::Choice(&[
            "no_route",
            "no_endpoint",
            "connect",
            "reset",
            "timeout",
            "overload",
            "rate_limited",
            "draining",
            "bad_response",
            "application",
            "server",
        ])),
        "Failures after which a request that was sent is sent again, whether they are found here or told by \
             the server. One that was not sent goes elsewhere in any case.",
    ),
    Field::new(
        "statuses",
        &Shape::List(&Shape::Object(&[Field::new(
            "attributes",
            &TESTS,
            "A test of an attribute of the response, by name.",
        )
        .required()])),
        "Failed responses that pass one of these count like `on`.",
    ),
    Field::new(
        "resend",
        &FLAG,
        "The requests may be sent twice, even if the codec does not know that it does no harm.",
    )
    .default("false"),
    Field::new(
        "backoff",
        &Shape::Object(&[
            Field::new(
                "base",
                &DURATION_OR_ZERO,
                "The pause before the first retry; it doubles with each, and a random \
                     half to whole of it is waited. 0s: none.",
            )
            .default("25ms"),
            Field::new("max", &DURATION_OR_ZERO, "The longest pause.").default("10 times `base`"),
        ]),
        "Pauses.",
    ),
    Field::new(
        "elsewhere",
        &FLAG,
        "Endpoints that failed are passed over while there are others.",
    )
    .default("true"),
]);
pub(super) const RETRIES: Field = Field::new(
    "retries",
    &RETRIES_SHAPE,
    "What is done about requests that failed.",
)
.default("2 attempts; what was not sent goes elsewhere in any case");

const ALL: &str = "100";

static ISTIO_FAULT_SHAPE: Shape = Shape::Object(&[
    Field::new(
        "delay",
        &Shape::Object(&[
            Field::new("fixedDelay", &DURATION, "How long.").required(),
            Field::new("percentage", &PERCENTAGE, "How many.").default(ALL),
            Field::new("percent", &PERCENT, "Istio's old name of it."),
        ]),
        "Requests wait before they are sent.",
    ),
    Field::new(
        "abort",
        &Shape::Object(&[
            Field::new(
                "httpStatus",
                &Shape::Number { min: 200, max: 600 },
                "HTTP's status; the answer is what the protocol has that is nearest.",
            ),
            Field::new(
                "grpcStatus",
                &TEXT,
                "The same with gRPC's status, by name or number.",
            ),
            Field::new("percentage", &PERCENTAGE, "How many.").default(ALL),
            Field::new("percent", &PERCENT, "Istio's old name of it."),
        ]),
        "Requests are answered with a failure, and not sent.",
    ),
]);
pub(super) const ISTIO_FAULT: Field = Field::new("fault", &ISTIO_FAULT_SHAPE, "Faults on purpose.");

static FAULTS_SHAPE: Shape = Shape::List(&Shape::Object(&[
    Field::new("match", &MATCH, "Which of the route's requests; none: all."),
    Field::new(
        "delay",
        &Shape::Object(&[
            Field::new("duration", &DURATION, "How long.").required(),
            Field::new("percentage", &PERCENTAGE, "How many.").default(ALL),
        ]),
        "They wait before they are sent.",
    ),
    Field::new(
        "abort",
        &Shape::Object(&[
            Field::new(
                "reason",
                &Shape::Choice(&[
                    "bad_request",
                    "not_found",
                    "unavailable",
                    "timeout",
                    "overloaded",
                    "denied",
                    "internal",
                ]),
                "What the answer says, in the protocol's words.",
            )
            .required(),
            Field::new("message", &TEXT, "The same for people.")
                .default("`injected fault: ` and the reason"),
            Field::new("percentage", &PERCENTAGE, "How many.").default(ALL),
        ]),
        "They are answered with a failure, and not sent.",
    ),
]));
pub(super) const FAULTS: Field = Field::new(
    "faults",
    &FAULTS_SHAPE,
    "Faults on purpose; each is drawn by itself, in this order.",
);

static MATCH: Shape = Shape::Object(&[Field::new(
    "attributes",
    &TESTS,
    "Tests of attributes, by name; all must pass. Empty: present.",
)]);

static MIRRORS_SHAPE: Shape = Shape::List(&Shape::Object(&[
    Field::new("destination", &DESTINATION, "Where to.").required(),
    Field::new("percentage", &PERCENTAGE, "The share that is copied.").default(ALL),
    Field::new(
        "writesOnly",
        &FLAG,
        "Requests that change nothing are not copied.",
    )
    .default("false"),
    Field::new(
        "compare",
        &FLAG,
        "Its answers are compared with those that callers get, and differences counted.",
    )
    .default("false"),
]));
pub(super) const MIRRORS: Field = Field::new(
    "mirrors",
    &MIRRORS_SHAPE,
    "Copies of requests, whose answers reach nobody. Callers never wait for them.",
);

const PER: Field = Field::new(
    "per",
    &TEXTS,
    "A bucket for each combination of the values of these attributes; `source.ip` is the client's address.",
);
const VALUES: Field = Field::new(
    "values",
    &POSITIVE,
    "Combinations of values that have buckets of their own at one time; further ones share one.",
)
.default("1024");

static LOCAL_LIMIT: Shape = Shape::Object(&[
    Field::new(
        "tokenBucket",
        &RATE_LIMIT_BUCKET,
        "The bucket of requests that no condition takes.",
    ),
    PER,
    VALUES,
    Field::new(
        "conditions",
        &Shape::List(&Shape::Object(&[
            Field::new("tokenBucket", &RATE_LIMIT_BUCKET, "The bucket.").required(),
            PER,
            VALUES,
            Field::new("match", &MATCH, "Which requests; none: all."),
        ])),
        "Buckets of requests that match; the first counts.",
    ),
]);
pub(super) const LOCAL_RATE_LIMIT: Field = Field::new(
    "localRateLimit",
    &LOCAL_LIMIT,
    "Limits in each process, for all its workers together.",
);

pub(super) const DOMAIN: Field =
    Field::new("domain", &TEXT, "The domain at the rate limit service.").required();
pub(super) const REQUEST_TIMEOUT: Field = Field::new(
    "requestTimeout",
    &DURATION,
    "How long it may take to answer.",
)
.default("100ms");
pub(super) const DENY_ON_FAIL: Field = Field::new(
    "denyOnFail",
    &FLAG,
    "Refuse requests if it does not answer.",
)
.default("false");

pub(super) static DESCRIPTOR: &[Field] = &[
    Field::new(
        "property",
        &TEXT,
        "The attribute; `source.ip` is the client's address.",
    )
    .required(),
    Field::new("descriptorKey", &TEXT, "The key at the service.").required(),
];

static GLOBAL_LIMIT: Shape = Shape::Object(&[
    DOMAIN,
    Field::new("match", &MATCH, "Which requests; none: all."),
    Field::new(
        "rateLimitService",
        &Shape::TextOr(&[
            Field::new("host", &TEXT, "The host of its ServiceEntry, short or full.").required(),
            Field::new("port", &PORT_NUMBER, "Its port. It may be left out if there is one."),
        ]),
        "The service, which speaks Envoy's `RateLimitService` v3: its cluster, or an object:",
    )
    .required(),
    REQUEST_TIMEOUT,
    DENY_ON_FAIL,
    Field::new(
        "descriptors",
        &Shape::List(&Shape::ListOr(
            &Shape::Object(&[
                Field::new("key", &TEXT, "The key at the service.").required(),
                Field::new("attribute", &TEXT, "The attribute that is its value; `source.ip` is the client's address."),
                Field::new("value", &TEXT, "Its value, always the same."),
            ]),
            DESCRIPTOR,
        )),
        "What is told to it: descriptors of entries that count together, or Aeraki's objects, which are descriptors of \
         one entry. One of which an attribute is absent is left out.",
    )
    .required(),
]);
pub(super) const GLOBAL_RATE_LIMIT: Field = Field::new(
    "globalRateLimit",
    &GLOBAL_LIMIT,
    "Limits kept by a service.",
);

static TRACING_SHAPE: Shape = Shape::Object(&[Field::new(
        "sampling",
        &PERCENT,
        "How many of the traces that begin here are recorded; a trace that a client began keeps the client's decision.",
    )
    .default("100")]);
pub(super) const TRACING: Field = Field::new("tracing", &TRACING_SHAPE, "Traces.");
