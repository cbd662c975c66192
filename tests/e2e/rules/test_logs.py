"""A line of the access log says what was decided about a request."""

import json

from harness import config
from harness.grid import rule
from harness.process import eventually
from harness.subjects.script import ANSWER, BROKEN

ALL = {"value": 100}


def logged(stage, *routes, **options):
    """A mesh that writes a log, a client of it, and a function that waits for so many lines."""
    file = stage.directory / "access.log"
    stage.run(*routes, args=["--access-log", "json", "--access-log-file", str(file)], **options)

    def lines(count):
        def there():
            found = file.read_text().splitlines() if file.exists() else []
            return [json.loads(line) for line in found] if len(found) >= count else None

        return eventually(there, what=f"{count} lines in the log")

    return stage.client(), lines


def name_of(server):
    return f"127.0.0.1:{server.port}"


@rule("Access log", "route, cluster, endpoint, operation, status")
def test_a_line_for_each_request(stage):
    server = stage.server()
    client, lines = logged(stage, stage.route(name="the-route"))
    assert client.call("read").ok
    (line,) = lines(1)
    assert line["route"] == "the-route" and line["cluster"] == "outbound|9000||rules.test"
    assert line["endpoint"] == name_of(server) and line["status"] == "ok"
    assert line["protocol"] == stage.protocol and line["operation"] == stage.subject.wire.op("read")
    assert line["attempts"] == 1 and line["endpoints"] == [name_of(server)]
    assert line["fault"] == "" and line["duration_us"] > 0


@rule("Access log", "every attempt, where it went, and why there was another")
def test_a_line_tells_of_retries(stage):
    bad, good = stage.pair()
    bad.always(BROKEN)
    retries = {
        "attempts": 2,
        "on": ["server"],
        "resend": True,
        "backoff": {"base": "1ms", "max": "1ms"},
    }
    client, lines = logged(
        stage,
        stage.route(retries=retries),
        hosts=[stage.host(policy={"loadBalancer": {"simple": "ROUND_ROBIN"}})],
    )
    for _ in range(4):
        assert client.call("read").ok
    again = [line for line in lines(4) if line["attempts"] == 2]
    assert again, "nothing was tried again"
    for line in again:
        assert line["endpoints"] == [name_of(bad), name_of(good)], line
        assert line["retries"] == ["server"] and line["endpoint"] == name_of(good), line
        assert line["status"] == "ok", line


@rule("Access log", "the policy that denied, the limit that refused, the fault that was injected")
def test_a_line_tells_which_rule(stage):
    stage.server()
    denied = {"to": [{"operation": {"operations": [stage.subject.wire.op("other")]}}]}
    bucket = {"maxTokens": 1, "tokensPerFill": 1, "fillInterval": "600s"}
    faults = [
        {"delay": {"duration": "100ms", "percentage": ALL}},
        {"abort": {"reason": "unavailable", "message": "on purpose", "percentage": ALL}},
    ]
    client, lines = logged(
        stage,
        stage.route(when={"op": "write"}, name="limited", localRateLimit={"tokenBucket": bucket}),
        stage.route(when={"op": "third"}, name="aborted", faults=faults),
        stage.route(),
        extra=[
            config.resource(
                config.META_ROUTER,
                "AuthorizationPolicy",
                "not-other",
                {"action": "DENY", "rules": [denied]},
            )
        ],
    )
    for op in ("other", "write", "write", "third"):
        client.call(op)
    refused, passed, limited, aborted = lines(4)
    assert (refused["fault"], refused["attempts"]) == ("denied", 0)
    assert "not-other" in refused["policy"], refused
    assert passed["status"] == "ok" and not passed["limit"], passed
    assert (limited["fault"], limited["attempts"]) == ("rate_limited", 0)
    assert limited["limit"] and limited["route"] == "limited", limited
    assert (aborted["fault"], aborted["attempts"]) == ("injected", 0)
    assert aborted["injected_abort"] and aborted["injected_delay_ms"] == 100, aborted
    assert "on purpose" in aborted["details"], aborted


@rule("Access log", "mirrors")
def test_a_line_tells_of_copies(stage):
    server, copies = stage.server("v1"), stage.server("copy")
    mirror = {"destination": config.to("copies.test")["destination"], "percentage": ALL}
    client, lines = logged(
        stage,
        stage.route(mirrors=[mirror]),
        hosts=[stage.host(server), stage.host(copies, host="copies.test")],
    )
    assert client.call("read").ok
    (line,) = lines(1)
    assert line["mirrors"] == ["outbound|9000||copies.test"] and line["endpoints"] == [
        name_of(server)
    ]


@rule("Access log", "why it failed")
def test_a_line_tells_why(stage):
    server = stage.server()
    dead = stage.server("v2", start=False)
    client, lines = logged(
        stage,
        stage.route(config.to("rules.test", "v2"), when={"op": "write"}),
        stage.route(config.to("rules.test", "v1")),
    )
    server.will(BROKEN, ANSWER)
    client.call("write"), client.call("read"), client.call("read")
    unreachable, failed, fine = lines(3)
    assert unreachable["fault"] == "connect" and name_of(dead) in unreachable["details"]
    # Nothing of it was sent, so it is tried until it is clear that no endpoint takes it.
    assert unreachable["attempts"] >= 3 and set(unreachable["retries"]) == {"connect"}, unreachable
    assert unreachable["attempts"] == len(unreachable["retries"]) + 1, unreachable
    assert unreachable["duration_us"] < 2_000_000, unreachable
    assert failed["fault"] == "server" and failed["endpoint"] == name_of(server), failed
    assert fine["status"] == "ok"
