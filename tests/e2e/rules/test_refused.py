"""What cannot be carried out is refused at load, with file, line, field, value and a remedy."""

import re

import yaml
from harness import config, meltemi
from harness.grid import rule
from harness.stage import HOST

ALL = {"value": 100}
BUCKET = {"maxTokens": 1, "tokensPerFill": 1, "fillInterval": "1s"}
NEW_WORDS = "security.istio.io/v1"


def refusal(stage, *routes, **options):
    """What `check` says of a configuration that is wrong in one place, and the lines of the file
    that it points to."""
    stage.server(start=False)
    file = stage.directory / "wrong.yaml"
    text = yaml.safe_dump_all(stage.documents(*routes, **options))
    file.write_text(text)
    done = meltemi.command("check", file)
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode != 0, f"it is accepted:\n{text}\n{said}"
    # And it does not run.
    ran = meltemi.command("run", file, "--admin", "off")
    assert ran.returncode != 0 and b"ready" not in ran.stderr
    errors = [line for line in said.splitlines() if ": error: " in line]
    assert len(errors) == 1 and "no such field" not in said and "no such kind" not in said, said
    places = re.findall(re.escape(str(file)) + r":(\d+)", errors[0])
    assert places, said
    return errors[0], "\n".join(text.splitlines()[int(place) - 1] for place in places)


def wrong(*parts, line=None):
    """Looks for parts in what is said, and for a text in the line that is pointed to."""

    def look(found):
        said, shown = found
        for part in parts:
            assert part in said, (part, said)
        if line:
            assert line in shown, (line, shown, said)

    return look


def one_route(fields, look, **options):
    return lambda stage: look(
        refusal(stage, stage.route(**(fields(stage) if callable(fields) else fields)), **options)
    )


def one_policy(policy, look):
    return lambda stage: look(refusal(stage, hosts=[stage.host(policy=policy)]))


def one_access(spec, look, api=config.META_ROUTER):
    document = config.resource(api, "AuthorizationPolicy", "wrong", spec)
    return lambda stage: look(refusal(stage, extra=[document]))


# {what is wrong: how it is tried}
CASES = {
    "a fault on an unknown attribute": one_route(
        lambda stage: {
            "faults": [
                {
                    "match": {"attributes": {_unknown(stage): {"exact": "x"}}},
                    "abort": {"reason": "denied", "percentage": ALL},
                }
            ]
        },
        wrong("has no attribute"),
    ),
    "a retry on an unknown attribute": one_route(
        lambda stage: {
            "retries": {"statuses": [{"attributes": {_unknown(stage): {"exact": "x"}}}]}
        },
        wrong("has no attribute"),
    ),
    "a limit per unknown attribute": one_route(
        lambda stage: {"localRateLimit": {"tokenBucket": BUCKET, "per": [_unknown(stage)]}},
        wrong("has no attribute"),
    ),
    "a value of an unknown attribute": one_route(
        lambda stage: {
            "requestMutation": {"set": {_editable(stage): f"%{_unknown(stage)}%"}},
        },
        wrong("has no attribute"),
    ),
    "a value of an unknown variable": one_route(
        lambda stage: {"requestMutation": {"set": {_editable(stage): "%NO_SUCH_THING%"}}},
        wrong("NO_SUCH_THING", "ROUTE_NAME", line="NO_SUCH_THING"),
    ),
    "a value whose `%` is not closed": one_route(
        lambda stage: {"requestMutation": {"set": {_editable(stage): "100%"}}},
        wrong("%%", line="100%"),
    ),
    "a percentage above a hundred": one_route(
        {"faults": [{"delay": {"duration": "1s", "percentage": {"value": 101}}}]},
        wrong("101", "percentage", line="101"),
    ),
    "an unknown failure to retry": one_route(
        {"retries": {"on": ["bad-weather"]}}, wrong("bad-weather", "reset", line="bad-weather")
    ),
    "no attempts, and what to do in them": one_route(
        {"retries": {"attempts": 0, "on": ["reset"]}}, wrong("attempts")
    ),
    "an unknown reason to abort": one_route(
        {"faults": [{"abort": {"reason": "boredom", "percentage": ALL}}]},
        wrong("boredom", "unavailable", line="boredom"),
    ),
    "a bucket without tokens": one_route(
        {"localRateLimit": {"tokenBucket": {**BUCKET, "maxTokens": 0}}},
        wrong("maxTokens", line="maxTokens"),
    ),
    "a limit of an unknown service": lambda stage: wrong("nowhere.test", line="nowhere.test")(
        refusal(
            stage,
            router={
                "globalRateLimit": {
                    "domain": "mesh",
                    "rateLimitService": "outbound|8081||nowhere.test",
                    "descriptors": [{"property": stage.subject.user, "descriptorKey": "user"}],
                }
            },
        )
    ),
    "weights that sum to zero": lambda stage: wrong("zero")(
        refusal(stage, stage.route(config.to(HOST, weight=0), config.to(HOST, "v1", weight=0)))
    ),
    "a probe that is none": lambda stage: wrong("probe", line="prayer")(
        refusal(stage, hosts=[stage.host(destination={"healthCheck": {"probe": "prayer"}})])
    ),
    "longest ejection shorter than the first": lambda stage: wrong("maxEjectionTime")(
        refusal(
            stage,
            hosts=[
                stage.host(
                    destination={"outlier": {"baseEjectionTime": "60s", "maxEjectionTime": "30s"}}
                )
            ],
        )
    ),
    "shares of localities that are not a hundred": one_policy(
        {
            "loadBalancer": {
                "localityLbSetting": {"distribute": [{"from": "a/*", "to": {"a/*": 70, "b/*": 20}}]}
            }
        },
        wrong("90", "100"),
    ),
    "a table that is no prime": one_policy(
        {"loadBalancer": {"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 1000}}}},
        wrong("1000", "prime"),
    ),
    "a condition that cannot be tested": one_access(
        {"rules": [{"when": [{"key": "source.mood", "values": ["good"]}]}]},
        wrong("source.mood", "source.ip", line="source.mood"),
    ),
    "a block that is none": one_access(
        {"rules": [{"from": [{"source": {"ipBlocks": ["10.0.0.0/40"]}}]}]},
        wrong("10.0.0.0/40", line="10.0.0.0/40"),
    ),
    "a DENY of nothing": one_access({"action": "DENY"}, wrong("rules")),
    "a policy that asks somebody else": one_access(
        {"action": "CUSTOM", "rules": [{}]}, wrong("CUSTOM", line="CUSTOM"), api=NEW_WORDS
    ),
}


def _unknown(stage):
    """A name that the protocol has no attribute for."""
    assert stage.protocol != "dubbo"
    return "no-such-thing"


def _editable(stage):
    """An attribute that can be set."""
    return stage.subject.header("x-new") if stage.subject.header else "key"


def _case(what, attempt):
    gaps = {}
    if "unknown attribute" in what:
        gaps["dubbo"] = "any name is an attachment"

    @rule("Refused at load", what, gaps=gaps)
    def test(stage):
        attempt(stage)

    return test


for what, attempt in CASES.items():
    globals()[f"test_{re.sub('[^a-z]+', '_', what.lower()).strip('_')}"] = _case(what, attempt)
del what, attempt


@rule("Refused at load", "a change that the protocol cannot carry")
def test_a_change_that_cannot_be_made(stage):
    wrong_one = {
        "dubbo": ("requestMutation", "serialization"),
        "thrift": ("requestMutation", "transport"),
        "redis": ("responseMutation", "type"),
        "quill": ("responseMutation", "status"),
    }[stage.protocol]
    field, name = wrong_one
    said, _ = refusal(stage, stage.route(**{field: {"set": {name: "x"}}}))
    assert field in said and name in said and "change" in said, said


@rule(
    "Refused at load",
    "a call as a probe, of a protocol that has heartbeats instead",
    gaps={"thrift": "its probes are calls"},
)
def test_a_call_that_cannot_be_made(stage):
    said, line = refusal(
        stage, hosts=[stage.host(destination={"healthCheck": {"probe": {"call": "health"}}})]
    )
    assert "call" in said and "heartbeat" in said and stage.protocol in said, said
    assert "health" in line


@rule(
    "Refused at load",
    "a heartbeat of a protocol that has none",
    gaps={name: "it has heartbeats" for name in ("dubbo", "redis", "quill")},
)
def test_a_heartbeat_that_is_not_there(stage):
    said, _ = refusal(
        stage, hosts=[stage.host(destination={"healthCheck": {"probe": "heartbeat"}})]
    )
    assert "heartbeat" in said and "thrift" in said, said


@rule("Refused at load", "a mirror to an unknown subset")
def test_an_unknown_subset(stage):
    mirror = {"destination": {"host": HOST, "subset": "v9"}, "percentage": ALL}
    said, line = refusal(stage, stage.route(mirrors=[mirror]))
    assert "v9" in said and "v9" in line and "v1" in said
