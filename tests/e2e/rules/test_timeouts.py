"""How long a request, and a try, may take."""

from harness.grid import rule
from harness.stage import takes
from harness.subjects.script import ANSWER, HANG, late

NO_DEADLINE = {
    "thrift": "framed and THeader messages have no field for it",
    "redis": "a command has no field for it",
}


@rule("Timeouts", "timeout of a route")
def test_a_route_has_a_timeout(stage):
    server = stage.server().always(HANG, op="write")
    stage.run(
        stage.route(when={"op": "write"}, timeout="300ms"),
        stage.route(when={"op": "other"}, timeout="20s"),
        stage.route(),
    )
    client = stage.client()
    for _ in range(2):
        with takes(0.28):
            outcome = client.call("write")
        assert outcome.is_("timeout"), outcome
    # The connection goes on, and other routes have other times.
    server.will(late(0.6))
    outcome = client.call("other")
    assert outcome.ok and outcome.took > 0.55, outcome
    assert client.call("read").value == "v1"
    assert stage.faults("timeout") == 2
    assert server.count("write") == 2


@rule("Timeouts", "timeout of a try")
def test_a_try_has_a_timeout(stage):
    slow, quick = stage.pair()
    slow.always(HANG)
    retries = {"attempts": 3, "perTryTimeout": "200ms", "on": ["timeout"], "resend": True}
    stage.run(
        stage.route(timeout="10s", retries={**retries, "backoff": {"base": "1ms", "max": "2ms"}}),
        hosts=[stage.host(policy={"loadBalancer": {"simple": "ROUND_ROBIN"}})],
    )
    client = stage.client()
    outcomes = [client.call("read") for _ in range(4)]
    assert all(outcome.value == "v2" for outcome in outcomes), outcomes
    assert all(outcome.took < 1.5 for outcome in outcomes), outcomes
    assert 1 <= slow.count() <= 4 and max(outcome.took for outcome in outcomes) > 0.18
    # When every try runs out of time, so does the request.
    quick.always(HANG)
    before = slow.count() + quick.count()
    with takes(0.7, 3.0):
        outcome = client.call("read")
    assert outcome.is_("timeout"), outcome
    assert slow.count() + quick.count() - before == 4


@rule("Timeouts", "the caller's own deadline, when shorter", gaps=NO_DEADLINE)
def test_the_caller_has_a_deadline(stage):
    server = stage.server().always(HANG)
    stage.run(
        stage.route(when={"op": "write"}, timeout="300ms", callerTimeout=True),
        stage.route(timeout="20s", callerTimeout=True),
    )
    client = stage.client()
    with takes(0.28):
        outcome = client.call("read", wait=300)
    assert outcome.is_("timeout"), outcome
    # The route's is the shorter one here.
    with takes(0.28):
        outcome = client.call("write", wait=15_000)
    assert outcome.is_("timeout"), outcome
    server.always(ANSWER)
    assert client.call("read", wait=5_000).ok
    assert stage.faults("timeout") == 2
