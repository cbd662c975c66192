"""Limits that Envoy's own rate limit service keeps, and what becomes of requests without it."""

import threading

import pytest
import redis
from harness import config
from harness.grid import rule
from harness.peers import RateLimitService
from harness.process import free_port
from harness.stage import takes
from harness.wire import Server

LIMITS = {
    "mesh": [
        {"key": "user", "rate_limit": {"unit": "day", "requests_per_unit": 5}},
        {"key": "user", "value": "vip", "rate_limit": {"unit": "day", "requests_per_unit": 9}},
        {
            "key": "plan",
            "value": "free",
            "descriptors": [{"key": "user", "rate_limit": {"unit": "day", "requests_per_unit": 2}}],
        },
    ]
}
SERVICE = "limits.test"


@pytest.fixture(scope="session")
def service(logs, redis_server):
    """The real service, for the whole run."""
    server = redis_server("limits")
    made = RateLimitService(server.port, LIMITS, logs)
    made.counters = server.port
    yield made
    made.stop()


@pytest.fixture
def counted(service):
    """The same, with nothing counted yet."""
    with redis.Redis(port=service.counters) as counters:
        counters.flushall()
    return service.port


def limited(stage, port, descriptors=None, **fields):
    """A mesh that asks the service about reads."""
    stage.server()
    entry = config.resource(
        config.NETWORKING,
        "ServiceEntry",
        "limits",
        {
            "hosts": [SERVICE],
            "ports": [{"number": 8081, "name": "grpc", "protocol": "GRPC"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "127.0.0.1", "ports": {"grpc": port}}],
        },
    )
    limit = {
        "domain": "mesh",
        "match": {
            "attributes": {stage.subject.operation: {"exact": stage.subject.wire.op("read")}}
        },
        "rateLimitService": f"outbound|8081||{SERVICE}",
        "requestTimeout": "2s",
        "descriptors": descriptors or [{"property": stage.subject.user, "descriptorKey": "user"}],
        **fields,
    }
    stage.run(router={"globalRateLimit": limit}, extra=[entry])
    return stage.client()


def passed(client, count, **options):
    outcomes = [client.call("read", **options) for _ in range(count)]
    assert all(outcome.ok or outcome.is_("overloaded") for outcome in outcomes), outcomes
    return sum(outcome.ok for outcome in outcomes)


@rule("Global rate limits", "exactly as many as the service lets pass")
def test_the_service_decides(stage, counted):
    client = limited(stage, counted)
    assert passed(client, 9, user="ada") == 5
    assert passed(client, 9, user="bob") == 5
    assert passed(client, 12, user="vip") == 9
    assert stage.servers[0].count() == 19
    assert stage.faults("rate_limited") == 4 + 4 + 3


@rule(
    "Global rate limits",
    "without the attribute nothing is asked",
    gaps={"redis": "every command here has a key"},
)
def test_nothing_is_asked_without_the_attribute(stage, counted):
    client = limited(stage, counted)
    assert passed(client, 12) == 12
    assert passed(client, 6, user="ada") == 5


@rule("Global rate limits", "entries that count together, and fixed values")
def test_descriptors_may_have_several_entries(stage, counted):
    entries = [{"key": "plan", "value": "free"}, {"key": "user", "attribute": stage.subject.user}]
    client = limited(stage, counted, [entries])
    assert passed(client, 5, user="ada") == 2
    assert passed(client, 5, user="vip") == 2


@rule("Global rate limits", "many clients at once")
def test_many_ask_at_once(stage, counted):
    limited(stage, counted)
    outcomes = stage.at_once(20, user="ada")
    assert sum(outcome.ok for outcome in outcomes) == 5, outcomes


def silent(connection):
    """Reads, and never says anything."""
    connection.rest()


def garbage(connection):
    connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnope")
    connection.rest()


@rule(
    "Global rate limits", "the service is dead, hangs or answers garbage: the failure mode, in time"
)
@pytest.mark.parametrize("deny", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("how", ["dead", "hangs", "lies"])
def test_without_the_service(stage, how, deny):
    server = None if how == "dead" else Server({"hangs": silent, "lies": garbage}[how])
    try:
        port = server.port if server else free_port()
        client = limited(stage, port, requestTimeout="200ms", denyOnFail=deny)
        with takes(0, 4):
            outcomes = [client.call("read", user="ada") for _ in range(5)]
        assert all(outcome.ok is not deny and outcome.took < 1.5 for outcome in outcomes), outcomes
        assert stage.servers[0].count() == (0 if deny else 5)
        # Whom it does not concern it does not hold up, not even while others wait.
        waiting = stage.client()
        thread = threading.Thread(
            target=lambda: [waiting.call("read", user="ada") for _ in range(5)]
        )
        thread.start()
        others = [client.call("other", user="ada") for _ in range(50)]
        assert all(outcome.ok and outcome.took < 0.5 for outcome in others), others
        thread.join(10)
    finally:
        if server:
            server.close()
