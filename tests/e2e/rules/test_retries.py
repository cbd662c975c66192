"""Which requests are tried again, where, how often, and which never."""

import time

import pytest
from harness.grid import rule
from harness.process import eventually
from harness.stage import takes
from harness.subjects.script import ANSWER, BROKEN, DROP, FAIL, Gone, late

ROUND_ROBIN = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
QUICK = {"base": "1ms", "max": "2ms"}
ALWAYS = {"on": ["reset", "server"], "resend": True, "backoff": QUICK}

NO_ONE_WAY = {"redis": "there is no one-way command; CLIENT REPLY is a state of the connection"}


@rule("Retries", "connect failure: always, and nobody notices")
def test_a_dead_endpoint_costs_no_call(stage):
    stage.server("v1", start=False)
    alive = stage.server("v2")
    # What retries there are without any configuration.
    stage.run(stage.route(), hosts=[stage.host(policy=ROUND_ROBIN)])
    outcomes = [outcome for _ in range(5) for outcome in stage.at_once(4, "write")]
    assert all(getattr(outcome, "value", None) == "v2" for outcome in outcomes), outcomes
    assert alive.count("write") == 20


@rule("Retries", "connect failure: not with `attempts: 0`")
def test_no_attempts_are_none(stage):
    stage.server("v1", start=False)
    stage.run(stage.route(retries={"attempts": 0}))
    outcome = stage.client().call("read")
    assert outcome.is_("unavailable"), outcome
    assert stage.faults("connect") == 1


@rule("Retries", "after a reset: only what is safe, or what the route says is")
def test_what_was_sent_is_sent_again_only_if_that_is_safe(stage):
    server = stage.server()
    stage.run(
        stage.route(when={"op": "other"}, retries={"attempts": 2, **ALWAYS}),
        stage.route(retries={"attempts": 2, "on": ["reset"], "backoff": QUICK}),
    )
    client = stage.client()
    server.will(DROP)
    outcome = client.call("write")
    assert outcome.is_("unavailable"), outcome
    assert server.count("write") == 1
    server.will(DROP, DROP)
    outcome = client.call("other")
    assert outcome.value == "v1", outcome
    assert server.count("other") == 3
    # And no more often than it may.
    server.will(DROP, DROP, DROP)
    outcome = client.call("other")
    assert outcome.is_("unavailable"), outcome
    assert server.count("other") == 6


@rule(
    "Retries",
    "after a reset: what the codec knows to be safe",
    gaps={
        "dubbo": "a call does not tell whether it can be made twice (the route can)",
        "thrift": "a call does not tell whether it can be made twice (the route can)",
    },
)
def test_what_is_safe_is_known(stage):
    server = stage.server()
    stage.run(stage.route(retries={"attempts": 2, "on": ["reset"], "backoff": QUICK}))
    server.will(DROP)
    outcome = stage.client().call("read", safe=True)
    assert outcome.value == "v1", outcome
    assert server.count("read") == 2


@rule("Retries", "a one-way request never", gaps=NO_ONE_WAY)
def test_a_one_way_request_is_sent_once(stage):
    server = stage.server()
    stage.run(stage.route(retries={"attempts": 3, **ALWAYS}))
    client = stage.client()
    server.will(DROP)
    client.call("write", oneway=True)
    eventually(lambda: server.count("write"), what="the one-way request")
    assert stage.serves("read").value == "v1"
    # A retry would have been due long ago.
    time.sleep(0.2)
    assert server.count("write") == 1


@rule("Retries", "on another host")
def test_a_retry_goes_elsewhere(stage):
    bad, good = stage.pair()
    bad.always(BROKEN)
    stage.run(
        stage.route(retries={"attempts": 1, **ALWAYS}), hosts=[stage.host(policy=ROUND_ROBIN)]
    )
    client = stage.client()
    outcomes = [client.call("read") for _ in range(12)]
    assert all(outcome.value == "v2" for outcome in outcomes), outcomes
    assert bad.count() >= 3 and good.count() == 12


@rule("Retries", "on the same host where told")
def test_a_retry_may_stay(stage):
    server = stage.server()
    stage.run(stage.route(retries={"attempts": 1, "elsewhere": False, **ALWAYS}))
    server.will(BROKEN)
    outcome = stage.client().call("read")
    assert outcome.value == "v1" and server.count() == 2, outcome


@rule("Retries", "on a class of failure")
def test_a_failure_that_is_not_named_is_final(stage):
    server = stage.server()
    stage.run(stage.route(retries={"attempts": 2, **ALWAYS}))
    client = stage.client()
    server.will(BROKEN)
    assert client.call("read").value == "v1"
    assert server.count() == 2
    # The application's own failures are not among those.
    server.will(FAIL)
    assert client.call("read").is_("application")
    assert server.count() == 3


@rule("Retries", "on a status that the codec names")
def test_a_status_can_be_named(stage):
    server = stage.server()
    statuses = [
        {
            "attributes": {
                name: {"exact": value} for name, value in stage.subject.broken_status.items()
            }
        }
    ]
    stage.run(
        stage.route(retries={"attempts": 2, "statuses": statuses, "resend": True, "backoff": QUICK})
    )
    client = stage.client()
    server.will(BROKEN, BROKEN)
    assert client.call("read").value == "v1"
    assert server.count() == 3
    server.will(FAIL)
    assert client.call("read").is_("application")
    assert server.count() == 4


@rule("Retries", "back-off")
def test_a_retry_waits(stage):
    server = stage.server()
    stage.run(
        stage.route(retries={"attempts": 2, **ALWAYS, "backoff": {"base": "200ms", "max": "250ms"}})
    )
    server.will(BROKEN, BROKEN, ANSWER)
    # A random half to whole of 200 ms, and of 250.
    with takes(0.22, 2.0):
        assert stage.client().call("read").ok
    first, second, third = (call.at for call in server.calls)
    assert second - first >= 0.095 and third - second >= 0.12, (second - first, third - second)


@rule("Retries", "the budget holds in a storm")
def test_a_storm_of_retries_is_kept_down(stage):
    """Everything fails at once; a fifth of what is in flight may be tried again at one time."""
    server = stage.server().always(late(0.3, BROKEN))
    # Every request has a connection, so that the server is asked for all of them at one time.
    stage.run(
        stage.route(retries={"attempts": 1, **ALWAYS}),
        hosts=[stage.host(destination={"sharing": "exclusive"})],
    )
    outcomes = stage.at_once(40, "read")
    assert all(outcome.is_("server") for outcome in outcomes), outcomes
    again = server.count() - 40
    assert 1 <= again <= 10, f"{again} retries of 40 requests"


@rule(
    "Retries",
    "connect failure: what ties a connection",
    gaps={name: "nothing ties connections" for name in ("dubbo", "thrift", "quill")},
)
def test_what_ties_a_connection_finds_one(stage):
    stage.server("v1", start=False)
    alive = stage.server("v2")
    stage.run(hosts=[stage.host(policy=ROUND_ROBIN)])
    for number in range(1, 9):
        # Of each a connection of its own, which stays tied.
        with stage.subject.client(stage.port) as client:
            assert client.command("multi").ok
            outcome = client.call("write")
            assert outcome.value == "v2" and alive.count("write") == number, outcome


@rule(
    "Retries",
    "what is part of a transaction never",
    gaps={name: "there are no transactions" for name in ("dubbo", "thrift", "quill")},
)
def test_a_transaction_is_not_torn_apart(stage):
    bad, good = stage.pair()
    stage.run(
        stage.route(retries={"attempts": 2, **ALWAYS}), hosts=[stage.host(policy=ROUND_ROBIN)]
    )
    client = stage.client()
    assert client.call("read").ok
    assert client.command("multi").ok
    one = bad if bad.count("multi") else good
    one.will(BROKEN)
    assert client.call("read").is_("server")
    one.will(DROP)
    with pytest.raises(Gone):
        client.call("write"), client.call("write")
    time.sleep(0.2)
    assert bad.count("write") + good.count("write") == 1
    assert bad.count("read") + good.count("read") == 2
