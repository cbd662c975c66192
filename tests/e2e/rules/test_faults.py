"""Failures on purpose."""

import threading

from harness.grid import rule
from harness.stage import takes, within


@rule("Faults", "delay")
def test_requests_are_delayed(stage):
    server = stage.server()
    fault = {"delay": {"duration": "300ms", "percentage": {"value": 100}}}
    stage.run(stage.route(when={"op": "write"}, faults=[fault]), stage.route())
    client = stage.client()
    with takes(0.28):
        assert client.call("write").value == "v1"
    with takes(0, 0.25):
        assert client.call("read").value == "v1"
    assert server.count() == 2


@rule("Faults", "delay: the others do not wait")
def test_a_delay_holds_nobody_else(stage):
    stage.server()
    fault = {"delay": {"duration": "2s", "percentage": {"value": 100}}}
    stage.run(stage.route(when={"op": "write"}, faults=[fault]), stage.route())
    waiting, other = stage.client(), stage.client()
    other.call("read")
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(waiting.call("write")))
    thread.start()
    with takes(0, 1.5):
        for _ in range(20):
            assert other.call("read").ok
    assert not outcomes
    thread.join(10)
    assert outcomes[0].ok and outcomes[0].took > 1.9


@rule("Faults", "abort")
def test_requests_are_aborted(stage):
    server = stage.server()

    def abort(reason):
        return [
            {"abort": {"reason": reason, "message": "out for lunch", "percentage": {"value": 100}}}
        ]

    stage.run(
        stage.route(when={"op": "write"}, faults=abort("overloaded")),
        stage.route(when={"op": "other"}, faults=abort("denied")),
        stage.route(),
    )
    client = stage.client()
    overloaded, denied = client.call("write"), client.call("other")
    assert overloaded.is_("overloaded") and "out for lunch" in overloaded.text, overloaded
    assert denied.is_("denied") and "out for lunch" in denied.text, denied
    assert client.call("read").ok
    assert server.count() == 1, "what was aborted reached the server"
    assert stage.faults("injected") == 2


@rule("Faults", "on any match")
def test_faults_have_matches_of_their_own(stage):
    server = stage.server()
    fault = {
        "match": {"attributes": {stage.subject.user: {"prefix": "unlucky"}}},
        "abort": {"reason": "unavailable", "percentage": {"value": 100}},
    }
    stage.run(stage.route(faults=[fault]))
    client = stage.client()
    assert client.call("read", user="unlucky-1").is_("unavailable")
    assert client.call("read", user="lucky").ok
    assert client.call("read").ok
    assert server.count() == 2


@rule("Faults", "percentage (binomial, 10,000 requests; Thrift: 2,000)")
def test_a_share_is_aborted(stage):
    count = 2_000 if stage.protocol == "thrift" else 10_000
    server = stage.server()
    fault = {"abort": {"reason": "unavailable", "percentage": {"value": 30}}}
    stage.run(stage.route(faults=[fault]))
    outcomes = stage.client().many(count)
    failed = sum(not outcome.ok for outcome in outcomes)
    assert within(failed, count, 0.3), failed
    assert server.count() == count - failed
