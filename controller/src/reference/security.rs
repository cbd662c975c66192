//! The authorization kinds: Istio's, ours, and Aeraki's.

use super::common::{LABELS, TEXT, TEXTS};
use super::own;
use crate::schema::{Field, Kind, Reader, Shape};

pub(super) static AUTHORIZATION_POLICY: Kind = Kind {
    group: "security.istio.io",
    versions: &["v1", "v1beta1"],
    name: "AuthorizationPolicy",
    doc: "Who may ask for what. Policies of DENY are asked first; where one of ALLOW is, what none of them allows is \
          denied; an ALLOW policy without rules allows nothing. What only HTTP has is as Istio has it for TCP: a rule \
          of ALLOW with it never matches, in DENY and AUDIT it is passed over; a warning tells. With the annotation \
          `meltemi.io/operations: \"true\"` `methods` are operations (methods, commands) and `paths` are services \
          (interfaces).",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            SELECTOR,
            TARGETS,
            TARGET,
            Field::new(
                "action",
                &Shape::Choice(&["ALLOW", "DENY", "AUDIT", "CUSTOM"]),
                "What a match does. AUDIT counts and logs it. CUSTOM is refused.",
            )
            .default("ALLOW"),
            Field::new("rules", &Shape::List(&RULE), RULES_DOC),
            Field::new("provider", &PROVIDER, "Of CUSTOM, which is refused.").unused(),
        ]),
        "The policy.",
    )
    .required()],
    reader: Reader::IstioAuthorization,
};

pub(super) static OWN_AUTHORIZATION_POLICY: Kind = Kind {
    group: own::GROUP,
    versions: &["v1alpha1"],
    name: "AuthorizationPolicy",
    doc: "Istio's AuthorizationPolicy, with operations as the protocol names them. A test of what the protocol does \
          not have is an error.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            SELECTOR,
            TARGETS,
            Field::new(
                "action",
                &Shape::Choice(&["ALLOW", "DENY", "AUDIT"]),
                "What a match does. AUDIT counts and logs it.",
            )
            .default("ALLOW"),
            Field::new("rules", &Shape::List(&OWN_RULE), RULES_DOC),
            Field::new(
                "undetermined",
                &Shape::Choice(&["Deny", "BestGuess"]),
                "What the policy makes of an attribute that the codec cannot determine, such as the keys that a Redis \
                 script touches. Deny: the test of it counts against the request. BestGuess: the policy tests the values \
                 that the codec read, such as the keys that the script declares.",
            )
            .default("Deny"),
        ]),
        "The policy.",
    )
    .required()],
    reader: Reader::OwnAuthorization,
};

pub(super) static DUBBO_AUTHORIZATION_POLICY: Kind = Kind {
    group: "dubbo.aeraki.io",
    versions: &["v1alpha1"],
    name: "DubboAuthorizationPolicy",
    doc: "Who may call what on the Dubbo listeners of its namespace; in `istio-system`, of all.",
    fields: &[Field::new(
        "spec",
        &Shape::Object(&[
            Field::new(
                "action",
                &Shape::Choice(&["ALLOW", "DENY"]),
                "What a match does.",
            )
            .default("ALLOW"),
            Field::new("rules", &Shape::List(&DUBBO_RULE), RULES_DOC),
        ]),
        "The policy.",
    )
    .required()],
    reader: Reader::DubboAuthorization,
};

const RULES_DOC: &str =
    "The rules; one must match. `{}` matches everything. Values are exact, `abc*`, `*abc`, or `*`.";

static MATCH_LABELS: Shape = Shape::Object(&[Field::new(
    "matchLabels",
    &LABELS,
    "Labels that the Gateway's selector must have, all of them.",
)]);
const SELECTOR: Field = Field::new(
    "selector",
    &MATCH_LABELS,
    "The Gateways that it is for. Without selector and targetRefs: all of its namespace; in `istio-system`, all.",
);

static TARGET_FIELDS: Shape = Shape::Object(&[
    Field::new("group", &TEXT, "The kind's group; not looked at.").unused(),
    Field::new(
        "kind",
        &Shape::Choice(&["Gateway", "Service", "ServiceEntry", "GatewayClass"]),
        "A Gateway: all of its listeners. A ServiceEntry or a Service: the routes of its hosts, asked after the \
         listener's own policies. A GatewayClass is not there.",
    )
    .required(),
    Field::new("name", &TEXT, "Its name; of a service, the host will do, too.").required(),
    Field::new("namespace", &TEXT, "The policy's own."),
]);
static TARGET_LIST: Shape = Shape::List(&TARGET_FIELDS);
const TARGETS: Field = Field::new("targetRefs", &TARGET_LIST, "What it is for.");
const TARGET: Field = Field::new(
    "targetRef",
    &TARGET_FIELDS,
    "The older way to write targetRefs with one entry.",
);
static PROVIDER: Shape = Shape::Object(&[Field::new("name", &TEXT, "Its name.")]);

const PRINCIPALS: Field = Field::new(
    "principals",
    &TEXTS,
    "The client's identity, as `cluster.local/ns/<namespace>/sa/<name>`.",
);
const NOT_PRINCIPALS: Field = Field::new("notPrincipals", &TEXTS, "None of these.");
const NAMESPACES: Field = Field::new(
    "namespaces",
    &TEXTS,
    "The namespace of the client's identity.",
);
const NOT_NAMESPACES: Field = Field::new("notNamespaces", &TEXTS, "None of these.");
const ACCOUNTS: Field = Field::new(
    "serviceAccounts",
    &TEXTS,
    "The service account of the client's identity: `name` or `namespace/name`.",
);
const NOT_ACCOUNTS: Field = Field::new("notServiceAccounts", &TEXTS, "None of these.");
const DOMAINS: Field = Field::new(
    "trustDomains",
    &TEXTS,
    "The trust domain of the client's identity.",
);
const NOT_DOMAINS: Field = Field::new("notTrustDomains", &TEXTS, "None of these.");
const BLOCKS: Field = Field::new(
    "ipBlocks",
    &TEXTS,
    "The address that the connection comes from: addresses and CIDR blocks.",
);
const NOT_BLOCKS: Field = Field::new("notIpBlocks", &TEXTS, "None of these.");
const REMOTE_BLOCKS: Field = Field::new(
    "remoteIpBlocks",
    &TEXTS,
    "The client's address as the last trusted hop tells it.",
);
const NOT_REMOTE_BLOCKS: Field = Field::new("notRemoteIpBlocks", &TEXTS, "None of these.");
const PORTS: Field = Field::new("ports", &TEXTS, "The listener's port.");
const NOT_PORTS: Field = Field::new("notPorts", &TEXTS, "None of these.");
const METHODS: Field = Field::new("methods", &TEXTS, "HTTP only, without the annotation.");
const NOT_METHODS: Field = Field::new("notMethods", &TEXTS, "None of these.");

const FROM_DOC: &str = "Who asks; one must match. None: anyone.";
const TO_DOC: &str = "What is asked for; one must match. None: anything.";

static RULE: Shape = Shape::Object(&[
    Field::new(
        "from",
        &Shape::List(&Shape::Object(&[Field::new(
            "source",
            &Shape::Object(&[
                PRINCIPALS,
                NOT_PRINCIPALS,
                NAMESPACES,
                NOT_NAMESPACES,
                ACCOUNTS,
                NOT_ACCOUNTS,
                DOMAINS,
                NOT_DOMAINS,
                BLOCKS,
                NOT_BLOCKS,
                REMOTE_BLOCKS,
                NOT_REMOTE_BLOCKS,
                Field::new("requestPrincipals", &TEXTS, "HTTP only."),
                Field::new("notRequestPrincipals", &TEXTS, "HTTP only."),
            ]),
            "All that is written must pass.",
        )
        .required()])),
        FROM_DOC,
    ),
    Field::new(
        "to",
        &Shape::List(&Shape::Object(&[Field::new(
            "operation",
            &Shape::Object(&[
                PORTS,
                NOT_PORTS,
                Field::new("hosts", &TEXTS, "HTTP only."),
                Field::new("notHosts", &TEXTS, "HTTP only."),
                METHODS,
                NOT_METHODS,
                Field::new("paths", &TEXTS, "HTTP only, without the annotation."),
                Field::new("notPaths", &TEXTS, "None of these."),
            ]),
            "All that is written must pass.",
        )
        .required()])),
        TO_DOC,
    ),
    WHEN,
]);

static CONDITIONS: Shape = Shape::List(&Shape::Object(&[
    Field::new(
        "key",
        &TEXT,
        "source.ip, remote.ip, source.namespace, source.principal, source.serviceAccount, destination.port; \
         request.headers[x] is the attribute or header x, attributes[x] the attribute x. Istio's other keys are \
         HTTP only.",
    )
    .required(),
    Field::new("values", &TEXTS, "One of these."),
    Field::new("notValues", &TEXTS, "None of these."),
]));
const WHEN: Field = Field::new("when", &CONDITIONS, "Conditions; all must pass.");

static OWN_RULE: Shape = Shape::Object(&[
    Field::new(
        "from",
        &Shape::List(&Shape::Object(&[Field::new(
            "source",
            &Shape::Object(&[
                PRINCIPALS,
                NOT_PRINCIPALS,
                NAMESPACES,
                NOT_NAMESPACES,
                ACCOUNTS,
                NOT_ACCOUNTS,
                DOMAINS,
                NOT_DOMAINS,
                BLOCKS,
                NOT_BLOCKS,
                REMOTE_BLOCKS,
                NOT_REMOTE_BLOCKS,
            ]),
            "All that is written must pass.",
        )
        .required()])),
        FROM_DOC,
    ),
    Field::new(
        "to",
        &Shape::List(&Shape::Object(&[Field::new(
            "operation",
            &Shape::Object(&[
                Field::new("services", &TEXTS, "The service (Dubbo's interface)."),
                Field::new("notServices", &TEXTS, "None of these."),
                Field::new("operations", &TEXTS, "The operation (method, command)."),
                Field::new("notOperations", &TEXTS, "None of these."),
                Field::new(
                    "keys",
                    &TEXTS,
                    "Any of the request's keys, where the protocol has keys. Of a request with several keys, one \
                     that is among these is enough.",
                ),
                Field::new("notKeys", &TEXTS, "None of the request's keys is among these."),
                Field::new(
                    "attributes",
                    &Shape::Map(&TEXTS),
                    "Attributes, by name, and their values; all attributes must pass.",
                ),
                Field::new("notAttributes", &Shape::Map(&TEXTS), "None of these values."),
                PORTS,
                NOT_PORTS,
            ]),
            "All that is written must pass.",
        )
        .required()])),
        TO_DOC,
    ),
    WHEN,
]);

static DUBBO_RULE: Shape = Shape::Object(&[
    Field::new(
        "from",
        &Shape::List(&Shape::Object(&[Field::new(
            "source",
            &Shape::Object(&[PRINCIPALS, NOT_PRINCIPALS, NAMESPACES, NOT_NAMESPACES]),
            "All that is written must pass.",
        )
        .required()])),
        FROM_DOC,
    ),
    Field::new(
        "to",
        &Shape::List(&Shape::Object(&[Field::new(
            "operation",
            &Shape::Object(&[
                Field::new("interfaces", &TEXTS, "The interface."),
                Field::new("notInterfaces", &TEXTS, "None of these."),
                Field::new("methods", &TEXTS, "The method."),
                NOT_METHODS,
            ]),
            "All that is written must pass.",
        )
        .required()])),
        TO_DOC,
    ),
]);
