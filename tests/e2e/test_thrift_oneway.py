"""Clients and servers that differ in whether a method is one-way: nobody else gets a wrong reply."""

import time

import pytest
from demo import Demo
from harness import config, thrifty
from harness.config import route, to
from harness.process import eventually, free_port
from thrift.Thrift import TMessageType

SERVICE = "thrift.test"


@pytest.fixture
def port(mesh, thrift_server, request):
    language, transport, protocol = request.param
    server = thrift_server(language, "v1", transport, protocol)
    port = free_port()
    mesh(
        [
            config.gateway("gw", "thrift", port),
            config.service(SERVICE, "thrift", {"v1": server.port}),
            config.destination_rule(SERVICE, subsets=["v1"]),
            config.meta_router("gw", SERVICE, [route(to(SERVICE, "v1"))]),
        ]
    )
    return port, transport, protocol


def send(client, kind, method, **arguments):
    """Sends a call of this type, and waits for nothing."""
    out = client._oprot
    out.writeMessageBegin(method, kind, 0)
    getattr(Demo, f"{method}_args")(**arguments).write(out)
    out.writeMessageEnd()
    out.trans.flush()


DIALECTS = [
    ("python", "framed", "binary"),
    ("python", "framed", "compact"),
    ("python", "framed", "json"),
    ("python", "buffered", "binary"),
    ("python", "header", "binary"),
    ("python", "header", "compact"),
    ("node", "framed", "binary"),
    ("node", "buffered", "compact"),
]


@pytest.mark.parametrize("port", DIALECTS, indirect=True, ids="-".join)
def test_the_reply_to_a_one_way_call_reaches_nobody(port):
    """Both clients write the sequence id 0, and the second is on the connection when the reply comes."""
    with thrifty.client(*port) as liar, thrifty.client(*port) as honest:
        for number in range(3):
            send(liar, TMessageType.ONEWAY, "slow", millis=100)
            send(liar, TMessageType.ONEWAY, "add", left=1000, right=number)
            send(liar, TMessageType.ONEWAY, "boom", message="nobody asked")
            assert [honest.add(2, value) for value in range(5)] == [2, 3, 4, 5, 6]
            assert liar.add(7, number) == 7 + number
            time.sleep(0.05)
            assert honest.tag() == "v1"


@pytest.mark.parametrize("port", DIALECTS, indirect=True, ids="-".join)
def test_the_next_client_of_a_connection_gets_its_own_replies(port):
    for number in range(3):
        with thrifty.client(*port) as liar:
            assert liar.tag() == "v1"
            send(liar, TMessageType.ONEWAY, "slow", millis=100)
            send(liar, TMessageType.ONEWAY, "add", left=1000, right=number)
        with thrifty.client(*port) as honest:
            assert [honest.add(2, value) for value in range(5)] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("port", DIALECTS, indirect=True, ids="-".join)
def test_a_call_of_a_one_way_method_delays_nobody_else(port):
    with thrifty.client(*port) as honest:
        assert honest.add(2, 3) == 5
        for number in range(3):
            text = f"called at {time.time()}"
            with thrifty.client(*port) as liar:
                send(liar, TMessageType.CALL, "fire", text=text)
                assert honest.add(2, number) == 2 + number
                eventually(lambda text=text: text in honest.fired(), what="the call's arrival")
            assert [honest.add(4, value) for value in range(5)] == [4, 5, 6, 7, 8]
