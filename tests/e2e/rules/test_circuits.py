"""Limits of a destination: what is over them is answered in the protocol, at once."""

import threading

from harness.grid import rule
from harness.process import eventually
from harness.stage import takes
from harness.subjects.script import BROKEN, HANG, late


def pool(**fields):
    tcp = {key: fields.pop(key) for key in ("maxConnections",) if key in fields}
    return {
        "connectionPool": {**({"tcp": tcp} if tcp else {}), **({"http": fields} if fields else {})}
    }


@rule("Circuit breaking", "requests")
def test_requests_are_limited(stage):
    server = stage.server()
    stage.run(hosts=[stage.host(policy=pool(http2MaxRequests=3))])
    assert stage.client().call("read").ok
    server.always(late(1.0))
    outcomes = stage.at_once(8)
    refused = [outcome for outcome in outcomes if not outcome.ok]
    assert len(refused) == 5, outcomes
    assert all(outcome.is_("overloaded") and outcome.took < 0.8 for outcome in refused), refused
    assert server.count() == 4
    assert stage.router.total("meltemi_upstream_overflow_total") == 5
    # When they are through, others may.
    server.always(late(0))
    assert stage.serves("read").ok


@rule("Circuit breaking", "connections, and requests that wait for one")
def test_connections_are_limited(stage):
    server = stage.server().always(late(0.6))
    stage.run(
        hosts=[
            stage.host(
                policy=pool(maxConnections=2, http1MaxPendingRequests=1),
                destination={"sharing": "exclusive"},
            )
        ]
    )
    outcomes = stage.at_once(6)
    served = sorted(outcome.took for outcome in outcomes if outcome.ok)
    refused = [outcome for outcome in outcomes if not outcome.ok]
    # Two at once, one that waited for them, and three too many.
    assert len(served) == 3 and len(refused) == 3, outcomes
    assert served[1] < 1.1 < served[2], served
    assert all(outcome.is_("overloaded") and outcome.took < 0.5 for outcome in refused), refused
    # A connection of one worker, for which a request of another waits, ends, and that one makes its own.
    assert 2 <= server.accepted <= 3


@rule("Circuit breaking", "connections that are shared")
def test_shared_connections_are_limited(stage):
    server = stage.server().always(late(0.2))
    sharing = "pipelined" if stage.protocol in ("redis", "thrift") else "multiplexed"
    stage.run(
        hosts=[
            stage.host(
                policy=pool(maxConnections=1),
                destination={"sharing": sharing, "limits": {"sharedConnections": 4}},
            )
        ],
        args=["--workers", "2"],
    )
    outcomes = stage.at_once(6)
    assert any(outcome.ok for outcome in outcomes), outcomes
    assert all(outcome.ok or outcome.is_("overloaded") for outcome in outcomes), outcomes
    # Nothing is ever given back here that others could wait for: each worker may have one.
    assert server.accepted <= 2


@rule("Circuit breaking", "retries")
def test_retries_are_limited(stage):
    server = stage.server().always(late(0.3, BROKEN))
    stage.run(
        stage.route(
            retries={
                "attempts": 1,
                "on": ["server"],
                "resend": True,
                "backoff": {"base": "1ms", "max": "1ms"},
            }
        ),
        hosts=[
            stage.host(
                policy={
                    **pool(maxRetries=2),
                    "retryBudget": {"percent": 100, "minRetryConcurrency": 50},
                },
                destination={"sharing": "exclusive"},
            )
        ],
    )
    outcomes = stage.at_once(20)
    assert all(outcome.is_("server") for outcome in outcomes), outcomes
    again = server.count() - 20
    # Two at one time; the first wave does not end in one instant.
    assert 1 <= again <= 6, f"{again} retries"


@rule("Circuit breaking", "one full destination is nothing to the others")
def test_other_destinations_go_on(stage):
    full, fine = stage.server("v1").always(HANG), stage.server("v2")
    stage.run(
        stage.route(host="full.test", when={"op": "write"}, timeout="2s"),
        stage.route(host="fine.test"),
        hosts=[
            stage.host(full, host="full.test", policy=pool(http2MaxRequests=1)),
            stage.host(fine, host="fine.test"),
        ],
        router={"hosts": ["fine.test", "full.test"]},
    )
    client = stage.client()
    waiting = threading.Thread(target=stage.at_once, args=(1, "write"))
    waiting.start()
    eventually(lambda: full.count() == 1, what="the request that hangs")
    with takes(0, 1.5):
        for _ in range(3):
            assert client.call("write").is_("overloaded")
            assert client.call("read").value == "v2"
    assert stage.faults("overload") == 3
    full.stop()
    waiting.join(10)
