"""Endpoints that fail are left alone for a while; those that do not answer probes get nothing."""

import threading
import time

import pytest
from harness.grid import rule
from harness.process import eventually
from harness.subjects.script import ANSWER, BROKEN, DROP, FAIL, HANG

NO_HEARTBEAT = {"thrift": "there are no heartbeats; the row below calls a method"}


def detection(**fields):
    return {
        "loadBalancer": {"simple": "ROUND_ROBIN"},
        "outlierDetection": {
            "interval": "100ms",
            "baseEjectionTime": "60s",
            "maxEjectionPercent": 100,
            **fields,
        },
    }


ONCE = {"attempts": 0}


@rule("Outlier detection", "failures in a row: ejected")
def test_a_failing_endpoint_is_ejected(stage):
    bad, good = stage.pair()
    bad.always(BROKEN)
    stage.run(
        stage.route(retries=ONCE), hosts=[stage.host(policy=detection(consecutive5xxErrors=3))]
    )
    client = stage.client()
    outcomes = [client.call("read") for _ in range(60)]
    assert sum(outcome.is_("server") for outcome in outcomes) == bad.count() == 3, bad.count()
    assert good.count() == 57
    # Other clients, and other workers, know it too.
    assert all(outcome.value == "v2" for outcome in stage.at_once(6))


@rule("Outlier detection", "a success in between: not ejected")
def test_failures_must_be_in_a_row(stage):
    bad, good = stage.pair()
    stage.run(
        stage.route(retries=ONCE), hosts=[stage.host(policy=detection(consecutive5xxErrors=3))]
    )
    client = stage.client()
    for _ in range(8):
        bad.will(BROKEN, BROKEN, ANSWER)
    for _ in range(48):
        client.call("read")
    assert bad.count() == good.count() == 24


@rule("Outlier detection", "only failures to reach the endpoint or to be answered in time")
def test_gateway_failures_are_a_kind_of_their_own(stage):
    bad, good = stage.pair()
    bad.always(FAIL)
    stage.run(
        stage.route(retries=ONCE, timeout="200ms"),
        hosts=[stage.host(policy=detection(consecutive5xxErrors=0, consecutiveGatewayErrors=2))],
    )
    client = stage.client()
    for _ in range(20):
        client.call("read")
    assert bad.count() == 10, "a failure of the application is none of the endpoint"
    bad.always(DROP)
    for _ in range(20):
        client.call("read")
    assert bad.count() == 12 and good.count() == 28


@rule("Outlier detection", "let in again: one trial, then everything")
def test_an_ejected_endpoint_returns(stage):
    bad, good = stage.pair()
    bad.always(BROKEN)
    stage.run(
        stage.route(retries=ONCE),
        hosts=[stage.host(policy=detection(consecutive5xxErrors=2, baseEjectionTime="700ms"))],
    )
    client = stage.client()
    for _ in range(10):
        client.call("read")
    assert bad.count() == 2
    ejected = time.monotonic()
    eventually(lambda: client.call("read") and bad.count() > 2, 5, "the trial")
    # It fails: it is alone for longer, and has had one request.
    assert time.monotonic() - ejected > 0.5
    for _ in range(20):
        client.call("read")
    assert bad.count() == 3, bad.count()
    bad.always(ANSWER)
    eventually(lambda: client.call("read") and bad.count() > 3, 10, "the next trial")
    bad.forget()
    for _ in range(20):
        assert client.call("read").ok
    assert bad.count() >= 8


@rule("Outlier detection", "no more than the largest part")
def test_not_all_are_ejected(stage):
    servers = [stage.server(f"v{number}").always(BROKEN) for number in range(1, 5)]
    stage.run(
        stage.route(retries=ONCE),
        hosts=[stage.host(policy=detection(consecutive5xxErrors=1, maxEjectionPercent=50))],
    )
    client = stage.client()
    for _ in range(60):
        client.call("read")
    assert sorted(server.count() for server in servers)[:2] == [1, 1]
    assert sum(server.count() for server in servers) == 60


@rule("Outlier detection", "panic: too few are fit, so all count")
def test_panic(stage):
    servers = [stage.server(f"v{number}") for number in range(1, 5)]
    for server in servers[:3]:
        server.always(BROKEN)
    stage.run(
        stage.route(retries=ONCE),
        hosts=[stage.host(policy=detection(consecutive5xxErrors=1, minHealthPercent=50))],
    )
    client = stage.client()
    for _ in range(80):
        client.call("read")
    # Three of four are ejected: a quarter is fit, less than half, and so all get requests again.
    assert all(server.count() >= 10 for server in servers), [one.count() for one in servers]


@rule("Outlier detection", "without panic: nobody is fit")
def test_nobody_is_fit(stage):
    one, two = stage.pair()
    one.always(BROKEN), two.always(BROKEN)
    stage.run(
        stage.route(retries=ONCE), hosts=[stage.host(policy=detection(consecutive5xxErrors=1))]
    )
    client = stage.client()
    outcomes = [client.call("read") for _ in range(10)]
    assert one.count() == two.count() == 1
    assert all(outcome.is_("unavailable") for outcome in outcomes[2:]), outcomes


@rule("Outlier detection", "success rate")
def test_a_low_success_rate_is_an_outlier(stage):
    servers = [stage.server(f"v{number}") for number in range(1, 7)]
    stage.run(
        stage.route(retries=ONCE),
        hosts=[
            stage.host(
                policy=detection(consecutive5xxErrors=0),
                destination={
                    "outlier": {
                        "successRate": {"minimumHosts": 5, "requestVolume": 10, "stdevFactor": 1.0}
                    }
                },
            )
        ],
    )
    servers[0].will(*[BROKEN, ANSWER] * 500)
    client = stage.client()

    def ejected():
        # One after the other: what a client sends without waiting stays on one connection.
        for _ in range(120):
            client.call("read")
        before = servers[0].count()
        for _ in range(60):
            client.call("read")
        return servers[0].count() == before

    eventually(ejected, 15, "the ejection")
    assert all(server.count() > 20 for server in servers[1:])


def checked(stage, probe, start=True):
    """Two servers that are probed, of which the first is soon unfit."""
    one, two = stage.server("v1", start=start), stage.server("v2")
    check = {
        "probe": probe,
        "interval": "100ms",
        "timeout": "200ms",
        "unhealthyThreshold": 2,
        "healthyThreshold": 2,
    }
    stage.run(
        stage.route(retries=ONCE),
        hosts=[
            stage.host(
                policy={"loadBalancer": {"simple": "ROUND_ROBIN"}},
                destination={"healthCheck": check, "keepalive": "0s"},
            )
        ],
    )
    return one, two, stage.client()


def only(client, tag, timeout=10.0):
    """Waits until only one server gets requests."""
    eventually(
        lambda: all(client.call("read").value == tag for _ in range(8)),
        timeout,
        f"requests to {tag} only",
    )
    assert all(client.call("read").value == tag for _ in range(20))


def both(client):
    eventually(
        lambda: {client.call("read").value for _ in range(8)} == {"v1", "v2"},
        10,
        "requests to both",
    )


@rule("Health checks", "TCP")
def test_connections_as_probes(stage):
    one, two, client = checked(stage, "tcp")
    both(client)
    # Nothing is asked of it, only whether it is there.
    eventually(lambda: one.accepted > 3, what="probes")
    assert not one.probes and not two.probes
    one.stop()
    eventually(lambda: client.call("read").value == "v2", what="the next request")
    only(client, "v2")
    one.start()
    both(client)


@rule("Health checks", "the protocol's heartbeat", gaps=NO_HEARTBEAT)
@pytest.mark.parametrize("how", ["hangs", "fails", "drops"])
def test_heartbeats_as_probes(stage, how):
    if how == "fails" and stage.protocol != "redis":
        how = "hangs"  # A heartbeat of the others has no failure.
    one, _, client = checked(stage, "heartbeat")
    both(client)
    eventually(lambda: len(one.probes) >= 3, what="heartbeats")
    one.probed({"hangs": HANG, "fails": BROKEN, "drops": DROP}[how])
    only(client, "v2")
    one.probed(ANSWER)
    both(client)


@rule(
    "Health checks",
    "a call",
    gaps={
        "dubbo": "the heartbeat asks for the same; refused at load",
        "redis": "commands need arguments, and PING is the heartbeat; refused at load",
        "quill": "the heartbeat asks for the same; refused at load",
    },
)
def test_calls_as_probes(stage):
    one, _, client = checked(stage, {"call": "health"})
    both(client)
    eventually(lambda: one.count("health") >= 3, what="probes")
    # That the application fails says that it is there.
    one.always(FAIL, op="health")
    threading.Event().wait(0.5)
    both(client)
    one.always(HANG, op="health")
    only(client, "v2")
    one.always(ANSWER, op="health")
    both(client)
