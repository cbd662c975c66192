"""The rules between clients and servers that nobody here has written."""

import concurrent.futures
import signal
import time
import uuid

import pytest
from harness import config
from harness.grid import real
from harness.process import eventually
from harness.real import Refused
from harness.stage import takes

ALL = {"value": 100}


@pytest.fixture
def run(pair, mesh):
    """Starts a mesh in front of the pair."""
    return lambda *routes, **options: mesh(pair.documents(*routes, **options))


@real("Timeouts", "timeout of a route")
def test_timeout(pair, run):
    run(pair.route("timeout", timeout="300ms"), pair.route())
    assert pair.ask() == "v1"
    with takes(0.28, 1.3), pytest.raises(Refused):
        pair.slow("timeout", 1500)
    assert pair.ask() == "v1"
    assert pair.slow("free", 400) == "v1"


@real("Retries", "connect failure: always, and nobody notices")
def test_dead_endpoint(pair, run):
    run(dead=True, policy={"loadBalancer": {"simple": "ROUND_ROBIN"}})
    assert [pair.ask() for _ in range(12)] == ["v1"] * 12


@real("Faults", "delay")
def test_delay(pair, run):
    run(
        pair.route("delay", faults=[{"delay": {"duration": "300ms", "percentage": ALL}}]),
        pair.route(),
    )
    assert pair.ask() == "v1"
    with takes(0.28, 2.0):
        assert pair.ask("delay") == "v1"


@real("Faults", "abort")
def test_abort(pair, run):
    abort = {"reason": "unavailable", "message": "out for lunch", "percentage": ALL}
    run(pair.route("abort", faults=[{"abort": abort}]), pair.route())
    with pytest.raises(Refused, match="out for lunch"):
        pair.ask("abort")
    assert pair.ask() == "v1"


@real("Mirrors", "every request")
def test_mirror(pair, run):
    host, copies = pair.mirror("v2")
    mirror = {"destination": config.to(host)["destination"], "percentage": ALL}
    run(pair.route("mirror", mirrors=[mirror]), pair.route(), extra=[copies])
    text = uuid.uuid4().hex
    pair.note(text, "mirror")
    eventually(lambda: pair.noted("v1", text) and pair.noted("v2", text), what="request and copy")
    other = uuid.uuid4().hex
    pair.note(other)
    eventually(lambda: pair.noted("v1", other), what="the request")
    assert pair.ask("mirror") == "v1"
    assert not pair.noted("v2", other)


@real("Mutation", "request: set, add, remove", gaps=["redis"])
def test_request_mutation(pair, run):
    run(
        pair.route(
            requestMutation={
                "set": {pair.header("x-via"): "mesh"},
                "remove": [pair.header("x-secret")],
            }
        )
    )
    assert pair.seen("x-via") == "mesh"
    assert pair.seen("x-secret", **{"x-secret": "1"}) in (None, "")
    assert pair.seen("x-kept", **{"x-kept": "2"}) == "2"


@real("Mutation", "request: the key of a command", gaps=["dubbo", "thrift"])
def test_key_mutation(pair, run):
    run(pair.route("limit", requestMutation={"set": {"key": "changed:%key%"}}), pair.route())
    text = uuid.uuid4().hex
    pair.note(text, "limit")
    assert pair.noted("v1", f"changed:limit:{text}")
    assert pair.ask("limit") == "v1"


@real("Mutation", "response: set, add, remove", gaps=["redis"])
def test_response_mutation(pair, run):
    run(pair.route(responseMutation={"set": {pair.header("x-served-by"): "mesh"}}))
    assert pair.answer()["x-served-by"] == "mesh"


@real("Circuit breaking", "requests")
def test_circuit(pair, run):
    run(policy={"connectionPool": {"http": {"http2MaxRequests": 2}}})
    pair.ask()

    def slow(_):
        try:
            return pair.slow("free", 800)
        except Refused:
            return None

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        values = list(pool.map(slow, range(6)))
    assert values.count("v1") == 2 and values.count(None) == 4, values


@real("Local rate limits", "exactly N, whatever the number of clients and workers")
def test_local_limit(pair, run):
    bucket = {"maxTokens": 7, "tokensPerFill": 7, "fillInterval": "600s"}
    run(pair.route("limit", localRateLimit={"tokenBucket": bucket}), pair.route())
    passed = 0
    for _ in range(20):
        try:
            passed += pair.ask("limit") == "v1"
        except Refused:
            continue
    assert passed == 7
    assert pair.ask() == "v1"


@real("Authorization", "DENY goes before ALLOW")
def test_authorization(pair, run):
    denied = {"to": [{"operation": {"operations": [pair.forbidden]}}]}
    policy = {"action": "DENY", "rules": [denied]}
    run(
        extra=[config.resource(config.META_ROUTER, "AuthorizationPolicy", "never", policy)],
    )
    assert pair.ask() == "v1"
    with pytest.raises(Refused) as refused:
        pair.forbid()
    assert "not by the mesh" not in str(refused.value)
    assert pair.ask() == "v1"


def probed(pair, run, probe):
    check = {
        "probe": probe,
        "interval": "100ms",
        "timeout": "300ms",
        "unhealthyThreshold": 2,
        "healthyThreshold": 1,
    }
    run(
        tags=("v1", "v2"),
        policy={"loadBalancer": {"simple": "ROUND_ROBIN"}},
        destination={"healthCheck": check},
    )

    def both():
        return {pair.ask() for _ in range(8)} == {"v1", "v2"}

    eventually(both, what="answers of both")
    # Still there after many probes.
    time.sleep(0.5)
    assert both()
    pair.servers["v1"].signal(signal.SIGSTOP)
    # Until it is found out, requests wait for the server that is stopped: a client of its own.
    time.sleep(1.5)
    with takes(0, 3):
        assert [pair.ask() for _ in range(10)] == ["v2"] * 10
    pair.servers["v1"].signal(signal.SIGCONT)
    eventually(both, 20, "answers of both")


@real("Health checks", "the protocol's heartbeat", gaps=["thrift"])
def test_heartbeats(pair, run):
    probed(pair, run, "heartbeat")


@real("Health checks", "a call", gaps=["dubbo", "redis"])
def test_calls(pair, run):
    probed(pair, run, {"call": pair.probe})
