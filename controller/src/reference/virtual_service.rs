//! VirtualService (networking.istio.io).

use super::common::{
    ANY, DESTINATION, DURATION_OR_ZERO, EXPORT_TO, FLAG, LABELS, PERCENT, PERCENTAGE, PORT,
    STRING_MATCH, TEXT, TEXTS, WEIGHT,
};
use super::istio::{NETWORKING, VERSIONS};
use super::rules::{ISTIO_FAULT, ISTIO_RETRIES};
use crate::schema::{Field, Kind, Reader, Shape};

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
    reader: Reader::VirtualService,
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
        "Changes to attributes. In values `%name%` stands for an attribute, and `%%` for a percent sign.",
    ),
    ISTIO_RETRIES,
    ISTIO_FAULT,
    Field::new(
        "mirror",
        &DESTINATION,
        "A copy of requests, whose answers reach nobody.",
    ),
    Field::new("mirrorPercentage", &PERCENTAGE, "The share that is copied.").default("100"),
    Field::new("mirrorPercent", &PERCENT, "Istio's old name of it."),
    Field::new("mirror_percent", &PERCENT, "Istio's oldest name of it."),
    Field::new(
        "mirrors",
        &Shape::List(&Shape::Object(&[
            Field::new("destination", &DESTINATION, "Where to.").required(),
            Field::new("percentage", &PERCENTAGE, "The share that is copied.").default("100"),
        ])),
        "Copies of requests.",
    ),
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
