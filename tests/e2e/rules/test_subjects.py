"""The servers and clients that the rules are tried with do as they are told, without a mesh."""

import pytest
from harness.stage import takes
from harness.subjects import PROTOCOLS, SUBJECTS
from harness.subjects.script import (
    ANSWER,
    BROKEN,
    DROP,
    FAIL,
    HANG,
    Gone,
    Upstream,
    late,
    say,
)


@pytest.fixture(params=PROTOCOLS)
def direct(request):
    """A server, and a client of it."""
    subject = SUBJECTS[request.param]
    server = Upstream(subject.wire, "v1").start()
    with subject.client(server.port, timeout=0.5) as client:
        yield subject, server, client
    server.stop()


def test_a_server_does_as_it_is_told(direct):
    subject, server, client = direct
    server.will(ANSWER, say("else"), FAIL, BROKEN, late(0.2))
    assert client.call("read").value == "v1"
    assert client.call("read").value == "else"
    assert client.call("write").is_("application")
    assert client.call("write").is_("server")
    with takes(0.19, 0.49):
        assert client.call("read").ok
    assert (server.count(), server.count("write"), server.accepted) == (5, 2, 1)
    server.will(DROP)
    with pytest.raises(Gone):
        client.call("read")
    server.will(HANG)
    with takes(0.45, 2), pytest.raises(Gone):
        client.call("read")
    assert len(client.many(500)) == 500 and server.count() == 507
    server.stop()
    with pytest.raises(Gone):
        client.call("read")
        client.call("read")


def test_a_server_remembers_metadata(direct):
    subject, server, client = direct
    assert client.call("read", user="ada").ok
    key = "key" if subject.name == "redis" else "x-user"
    assert server.count("read", **{key: "ada"}) == 1
    if subject.response_metadata:
        server.will(say("v1", **{"x-more": "yes"}))
        assert client.call("read", user="ada").meta["x-more"] == "yes"


def test_one_way_calls_are_not_answered(direct):
    subject, server, client = direct
    if subject.name == "redis":
        with pytest.raises(AssertionError, match="no one-way"):
            client.call("write", oneway=True)
        return
    assert client.call("write", oneway=True).ok
    assert client.call("read").value == "v1"
    assert [call.oneway for call in server.calls] == [True, False]
