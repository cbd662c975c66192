"""Who may ask for what: the protocol's own refusal, and nothing of it reaches a server."""

from harness import config
from harness.grid import rule

NO_SERVICE = {"redis": "a command belongs to no service"}
ONLY_KEYS = {name: "requests have no keys" for name in ("dubbo", "thrift", "quill")}


def policy(name, action, *rules):
    """Meltemi's own kind: Istio's, with operations, services and keys."""
    spec = {"action": action, "rules": list(rules)}
    return config.resource(config.META_ROUTER, "AuthorizationPolicy", name, spec)


def istio(stage, name, action, *rules):
    """Istio's kind, told that its methods are operations."""
    spec = {"action": action, "rules": list(rules)}
    return config.resource(
        "security.istio.io/v1",
        "AuthorizationPolicy",
        name,
        spec,
        annotations={"meltemi.io/operations": "true"},
    )


def source(**fields):
    return {"from": [{"source": fields}]}


def operation(stage, *ops, field="operations", **fields):
    names = {field: [stage.subject.wire.op(op) for op in ops]} if ops else {}
    return {"to": [{"operation": {**names, **fields}}]}


def guarded(stage, *policies):
    stage.server()
    stage.run(extra=policies)
    return stage.client()


def allowed(stage, client, op="read", **options):
    """Whether a call may pass. If not, it is refused in the protocol's words and reaches nobody."""
    (server,) = stage.servers
    before, refused = server.count(), stage.faults("denied")
    outcome = client.call(op, **options)
    if outcome.ok:
        assert server.count() == before + 1
        return True
    assert outcome.is_("denied"), outcome
    assert server.count() == before and stage.faults("denied") == refused + 1
    return False


@rule("Authorization", "without policies: everything; an ALLOW: nothing else")
def test_an_allow_denies_the_rest(stage):
    client = guarded(stage, policy("reads", "ALLOW", operation(stage, "read")))
    assert allowed(stage, client, "read")
    assert not allowed(stage, client, "write")
    assert not allowed(stage, client, "other")


@rule("Authorization", "an ALLOW without rules: nothing")
def test_nothing_is_allowed(stage):
    client = guarded(stage, policy("nothing", "ALLOW"))
    assert not allowed(stage, client, "read")


@rule("Authorization", "DENY goes before ALLOW")
def test_deny_goes_first(stage):
    client = guarded(
        stage,
        policy("all", "ALLOW", {}),
        policy("no-writes", "DENY", operation(stage, "write")),
    )
    assert allowed(stage, client, "read") and allowed(stage, client, "other")
    assert not allowed(stage, client, "write")


@rule("Authorization", "AUDIT decides nothing")
def test_audit_decides_nothing(stage):
    client = guarded(stage, policy("seen", "AUDIT", operation(stage, "write")))
    assert allowed(stage, client, "read") and allowed(stage, client, "write")


@rule("Authorization", "by source address")
def test_by_source_address(stage):
    guarded(
        stage,
        policy("near", "ALLOW", source(ipBlocks=["127.0.0.8/30"])),
        policy("one", "DENY", source(ipBlocks=["127.0.0.10"])),
    )
    for number, expected in [
        (8, True),
        (9, True),
        (10, False),
        (11, True),
        (12, False),
        (1, False),
    ]:
        client = stage.client(source=f"127.0.0.{number}")
        assert allowed(stage, client) is expected, number


@rule("Authorization", "by operation, with wildcards and `not`")
def test_by_operation(stage):
    prefix = stage.subject.wire.op("write")[:3]
    client = guarded(
        stage,
        policy("some", "DENY", {"to": [{"operation": {"operations": [f"{prefix}*"]}}]}),
        policy(
            "rest",
            "ALLOW",
            {"to": [{"operation": {"notOperations": [stage.subject.wire.op("other")]}}]},
        ),
    )
    assert not allowed(stage, client, "write")
    assert not allowed(stage, client, "other")
    assert allowed(stage, client, "read")


@rule(
    "Authorization",
    "by service",
    gaps={**NO_SERVICE, "thrift": "the service is told only by multiplexed names"},
)
def test_by_service(stage):
    own = {"dubbo": "demo.DemoService", "quill": "rules.Service"}[stage.protocol]
    client = guarded(stage, policy("own", "ALLOW", operation(stage, services=[own])))
    assert allowed(stage, client)
    stage.router.stop()
    stage.run(extra=[policy("other", "ALLOW", operation(stage, services=["else.Service"]))])
    assert not allowed(stage, stage.client())


@rule("Authorization", "by key prefix", gaps=ONLY_KEYS)
def test_by_key(stage):
    client = guarded(
        stage,
        policy("own-keys", "ALLOW", operation(stage, keys=["app:*"])),
        policy("secret", "DENY", operation(stage, keys=["app:secret:*"])),
    )
    assert allowed(stage, client, user="app:1")
    assert not allowed(stage, client, user="app:secret:1")
    assert not allowed(stage, client, user="else")


@rule("Authorization", "when an attribute has a value")
def test_when_an_attribute_has_a_value(stage):
    key = f"attributes[{stage.subject.user}]"
    client = guarded(
        stage,
        policy("known", "ALLOW", {"when": [{"key": key, "values": ["ada", "team-*"]}]}),
        policy("not-me", "DENY", {"when": [{"key": key, "values": ["*-evil"]}]}),
    )
    assert allowed(stage, client, user="ada") and allowed(stage, client, user="team-1")
    assert not allowed(stage, client, user="bob")
    assert not allowed(stage, client, user="team-evil")
    assert not allowed(stage, client), "an attribute that is absent has no value"


@rule("Authorization", "all parts of a rule, any of its alternatives")
def test_parts_of_a_rule(stage):
    client = guarded(
        stage,
        policy(
            "both",
            "ALLOW",
            {**source(ipBlocks=["127.0.0.1"]), **operation(stage, "read", "write")},
        ),
    )
    assert allowed(stage, client, "read") and allowed(stage, client, "write")
    assert not allowed(stage, client, "other")
    assert not allowed(stage, stage.client(source="127.0.0.2"), "read")


@rule("Authorization", "Istio's own kind")
def test_istio_policies(stage):
    client = guarded(
        stage,
        istio(
            stage,
            "reads",
            "ALLOW",
            {
                **source(ipBlocks=["127.0.0.0/8"]),
                **operation(stage, "read", "other", field="methods"),
            },
        ),
        istio(
            stage,
            "not-other",
            "DENY",
            {
                "when": [{"key": "source.ip", "values": ["127.0.0.3"]}],
                **operation(stage, "other", field="methods"),
            },
        ),
    )
    assert allowed(stage, client, "read") and allowed(stage, client, "other")
    assert not allowed(stage, client, "write")
    assert not allowed(stage, stage.client(source="127.0.0.3"), "other")


@rule("Authorization", "Istio's HTTP words: an ALLOW never matches, a DENY does so regardless")
def test_http_words_fail_closed(stage):
    def http(name, action):
        document = istio(stage, name, action, operation(stage, "read", field="methods"))
        del document["metadata"]["annotations"]
        return document

    client = guarded(stage, http("http", "ALLOW"))
    assert not allowed(stage, client, "read")
    stage.router.stop()
    stage.run(extra=[http("http", "DENY")])
    assert not allowed(stage, stage.client(), "write")


@rule(
    "Authorization",
    "Aeraki's kind for Dubbo",
    gaps={name: "it is for Dubbo alone" for name in ("thrift", "redis", "quill")},
)
def test_dubbo_policies(stage):
    client = guarded(
        stage,
        config.dubbo_authorization(
            "reads",
            "ALLOW",
            [
                {
                    "to": [
                        {
                            "operation": {
                                "interfaces": ["demo.DemoService"],
                                "methods": ["read", "oth*"],
                            }
                        }
                    ]
                }
            ],
        ),
        config.dubbo_authorization(
            "not-other", "DENY", [{"to": [{"operation": {"methods": ["other"]}}]}]
        ),
    )
    assert allowed(stage, client, "read")
    assert not allowed(stage, client, "other")
    assert not allowed(stage, client, "write")


@rule(
    "Authorization", "one-way requests are dropped", gaps={"redis": "there is no one-way command"}
)
def test_one_way_requests_are_dropped(stage):
    client = guarded(stage, policy("no-writes", "DENY", operation(stage, "write")))
    client.call("write", oneway=True)
    assert client.call("read").ok
    # One connection, in order: the write was decided before.
    assert stage.faults("denied") == 1
    assert stage.servers[0].count("write") == 0


@rule("Authorization", "pipelined requests: each by itself")
def test_each_request_is_asked_for(stage):
    client = guarded(stage, policy("no-writes", "DENY", operation(stage, "write")))
    outcomes = [*client.many(20, "write"), *client.many(20, "read"), *client.many(20, "write")]
    assert [outcome.ok for outcome in outcomes] == [False] * 20 + [True] * 20 + [False] * 20
    assert stage.servers[0].count() == 20
