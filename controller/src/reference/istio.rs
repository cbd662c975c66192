//! Istio's Gateway, ServiceEntry and WorkloadEntry, and kinds that are not enforced yet.

use super::common::{ANY, COUNT, EXPORT_TO, LABELS, PORT, TEXT, TEXTS};
use crate::schema::{Field, Kind, Reader, Shape};

pub(super) const NETWORKING: &str = "networking.istio.io";
pub(super) const VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];

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
                "Pods that serve the gateway; here, this program does. AuthorizationPolicies choose Gateways by it.",
            ),
            Field::new("servers", &Shape::List(&SERVER), "The listeners.").required(),
        ]),
        "The gateway.",
    )
    .required()],
    reader: Reader::Gateway,
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
    reader: Reader::ServiceEntry,
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
    Field::new(
        "locality",
        &TEXT,
        "`region/zone/subzone`, the last of which may be left out.",
    ),
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
    reader: Reader::WorkloadEntry,
};

pub(super) static PEER_AUTHENTICATION: Kind = later_kind(
    "security.istio.io",
    &["v1", "v1beta1"],
    "PeerAuthentication",
);

/// A kind that is accepted, with a warning.
const fn later_kind(
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
        reader: Reader::None,
    }
}
