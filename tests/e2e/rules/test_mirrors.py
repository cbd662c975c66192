"""Copies of requests: as many as they should be, and never at the caller's cost."""

import pytest
from harness import config
from harness.grid import rule
from harness.process import eventually
from harness.stage import takes, within
from harness.subjects.script import BROKEN, DROP, GARBAGE, HANG, say

COPIES, MORE = "copies.test", "more.test"
NO_WRITES = "a call does not tell whether it changes anything"


def mirror(share=100, host=COPIES, **fields):
    return {"destination": config.to(host)["destination"], "percentage": {"value": share}, **fields}


def mirrored(stage, *mirrors, policy=None, more=False):
    """A server, and one or two that get copies."""
    server, copies = stage.server("v1"), stage.server("copy")
    hosts = [stage.host(server), stage.host(copies, host=COPIES, policy=policy)]
    if more:
        hosts.append(stage.host(stage.server("more"), host=MORE))
    stage.run(stage.route(mirrors=list(mirrors)), hosts=hosts)
    return server, copies


@rule("Mirrors", "every request")
def test_every_request_is_copied(stage):
    server, copies = mirrored(stage, mirror())
    client = stage.client()
    outcomes = [client.call("write", text=f"text-{number}") for number in range(20)]
    assert all(outcome.value == "v1" for outcome in outcomes), outcomes
    eventually(lambda: copies.count() == 20, what="20 copies")
    assert sorted(call.text for call in copies.calls) == sorted(call.text for call in server.calls)


@rule("Mirrors", "several targets, a share each (binomial)")
def test_shares_are_copied(stage):
    server, copies = mirrored(stage, mirror(25), mirror(60, MORE), more=True)
    more = stage.servers[-1]
    outcomes = stage.client().many(2_000)
    assert all(outcome.value == "v1" for outcome in outcomes)
    assert server.count() == 2_000
    eventually(
        lambda: within(copies.count(), 2_000, 0.25) and within(more.count(), 2_000, 0.6),
        what="copies in their shares",
    )
    # And no more come.
    assert stage.serves("other").ok
    assert within(copies.count(), 2_000, 0.25) and within(more.count(), 2_000, 0.6)


@rule("Mirrors", "a target that fails, hangs, lies, drops or is dead costs nothing")
@pytest.mark.parametrize("how", ["fails", "hangs", "lies", "drops", "dead"])
def test_the_caller_never_pays(stage, how):
    server, copies = mirrored(stage, mirror())
    if how == "dead":
        copies.stop()
    else:
        copies.always({"fails": BROKEN, "hangs": HANG, "lies": GARBAGE, "drops": DROP}[how])
    client = stage.client()
    with takes(0, 4):
        outcomes = [client.call("write") for _ in range(50)]
    assert all(outcome.value == "v1" and outcome.took < 1 for outcome in outcomes), outcomes
    assert server.count() == 50


@rule("Mirrors", "a target that is full costs nothing")
def test_a_full_target_gets_what_it_can_take(stage):
    server, copies = mirrored(
        stage, mirror(), policy={"connectionPool": {"http": {"http2MaxRequests": 1}}}
    )
    copies.always(HANG)
    client = stage.client()
    with takes(0, 4):
        outcomes = [client.call("write") for _ in range(50)]
    assert all(outcome.value == "v1" and outcome.took < 1 for outcome in outcomes), outcomes
    assert server.count() == 50 and copies.count() <= 2


@rule("Mirrors", "one-way requests", gaps={"redis": "there is no one-way command"})
def test_one_way_requests_are_copied(stage):
    server, copies = mirrored(stage, mirror())
    client = stage.client()
    for _ in range(5):
        client.call("write", oneway=True)
    eventually(lambda: server.count() == 5 and copies.count() == 5, what="5 requests and 5 copies")


@rule(
    "Mirrors",
    "only writes",
    gaps={"dubbo": NO_WRITES, "thrift": NO_WRITES, "quill": NO_WRITES},
)
def test_only_writes_are_copied(stage):
    server, copies = mirrored(stage, mirror(writesOnly=True))
    client = stage.client()
    for _ in range(3):
        assert client.call("read").ok and client.call("write").ok and client.call("other").ok
    eventually(lambda: copies.count("write") == 3, what="copies of the writes")
    assert (server.count(), copies.count()) == (9, 3)


@rule("Mirrors", "answers are compared")
def test_differences_are_counted(stage):
    server, copies = mirrored(stage, mirror(compare=True))
    client = stage.client()
    same = say("same")
    server.always(same)
    copies.will(same, say("something else"), same, BROKEN)
    for _ in range(4):
        assert client.call("read").value == "same"
    eventually(lambda: differences(stage) == 2, what="two differences")


def differences(stage):
    """Of the metric whose name tells of mirrors and differences."""
    return sum(
        value
        for series, value in stage.router.stats().items()
        if "mirror" in series and "differ" in series
    )
