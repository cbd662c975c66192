"""Local rate limits: exactly as many as there are tokens, whoever asks."""

import concurrent.futures
import time

from harness import config
from harness.grid import rule


def bucket(size, fill=None, interval="600s"):
    return {"maxTokens": size, "tokensPerFill": fill or size, "fillInterval": interval}


def limit(size, **fields):
    return {"tokenBucket": bucket(size), **fields}


def storm(stage, clients=6, calls=15, op="read"):
    """Many clients at once; all outcomes."""

    def one(_):
        with stage.subject.client(stage.port) as client:
            return [client.call(op) for _ in range(calls)]

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        return [outcome for outcomes in pool.map(one, range(clients)) for outcome in outcomes]


def passed(outcomes):
    assert all(outcome.ok or outcome.is_("overloaded") for outcome in outcomes), outcomes
    return sum(outcome.ok for outcome in outcomes)


@rule("Local rate limits", "exactly N, whatever the number of clients and workers")
def test_as_many_as_there_are_tokens(stage):
    server = stage.server()
    stage.run(stage.route(localRateLimit=limit(37)))
    outcomes = storm(stage)
    assert passed(outcomes) == 37
    assert server.count() == 37, "what was refused reached the server"
    assert stage.faults("rate_limited") == 90 - 37


@rule("Local rate limits", "N more per interval, evenly")
def test_tokens_come_back(stage):
    stage.server()
    stage.run(stage.route(localRateLimit={"tokenBucket": bucket(10, 30, "1500ms")}))
    client = stage.client()
    begin = time.monotonic()
    outcomes = []
    while time.monotonic() - begin < 2.0:
        outcomes.append(client.call("read"))
    took = time.monotonic() - begin
    # Ten at once, and twenty in every second.
    assert 10 + 20 * 2.0 - 2 <= passed(outcomes) <= 10 + 20 * took + 1, (passed(outcomes), took)


@rule("Local rate limits", "conditions: each its own bucket, the first that matches counts")
def test_conditions_have_buckets_of_their_own(stage):
    stage.server()

    def when(op):
        return {
            "match": {"attributes": {stage.subject.operation: {"exact": stage.subject.wire.op(op)}}}
        }

    stage.run(
        stage.route(
            localRateLimit=limit(
                7,
                conditions=[
                    {"tokenBucket": bucket(3), **when("write")},
                    {"tokenBucket": bucket(5), **when("other")},
                ],
            )
        )
    )
    client = stage.client()
    for op, expected in [("write", 3), ("read", 7), ("other", 5), ("write", 0)]:
        assert passed([client.call(op) for _ in range(10)]) == expected, op


@rule("Local rate limits", "per value of an attribute")
def test_every_value_has_a_bucket(stage):
    stage.server()
    stage.run(stage.route(localRateLimit=limit(4, per=[stage.subject.user])))
    client = stage.client()
    for user in ("ada", "bob", "eve"):
        assert passed([client.call("read", user=user) for _ in range(9)]) == 4, user
    assert passed([client.call("read", user="ada") for _ in range(3)]) == 0


@rule("Local rate limits", "per client address")
def test_every_address_has_a_bucket(stage):
    stage.server()
    stage.run(stage.route(localRateLimit=limit(4, per=["source.ip"])))
    for number in (2, 3):
        client = stage.client(source=f"127.0.0.{number}")
        assert passed([client.call("read") for _ in range(9)]) == 4, number


@rule("Local rate limits", "of a listener, a router and a route: all must let it pass")
def test_limits_of_every_level_hold(stage):
    stage.server()
    policy = config.resource(
        config.META_ROUTER,
        "ListenerPolicy",
        "gw-limits",
        {"gateway": "default/gw", "localRateLimit": limit(12)},
    )
    stage.run(
        stage.route(when={"op": "write"}, localRateLimit=limit(3)),
        stage.route(),
        router={"localRateLimit": limit(9)},
        extra=[policy],
    )
    client = stage.client()
    # The route's three; six more of the router's; what is left of the listener's is asked in vain.
    assert passed([client.call("write") for _ in range(5)]) == 3
    passed_later = passed([client.call("read") for _ in range(15)])
    assert 4 <= passed_later <= 6, passed_later


@rule("Local rate limits", "a reload leaves what is spent")
def test_a_reload_gives_no_tokens(stage):
    stage.server()
    documents = stage.documents(stage.route(name="limited", localRateLimit=limit(6)))
    stage.start(documents)
    client = stage.client()
    assert passed([client.call("read") for _ in range(4)]) == 4
    more = stage.documents(stage.route(name="limited", localRateLimit=limit(6), timeout="7s"))
    stage.router.write(more)
    stage.router.hang_up()
    stage.router.wait_for("reload")
    assert passed([client.call("read") for _ in range(6)]) == 2
