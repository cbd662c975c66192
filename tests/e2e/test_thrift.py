"""Apache Thrift in Python and Node, in every transport and protocol, through the real binary."""

import importlib.metadata
import socket
import threading
import time

import pytest
from demo.ttypes import Boom
from harness import config, thrifty
from harness.config import route, to
from harness.matrix import tried
from harness.process import Failed, eventually, free_port
from thrift.Thrift import TApplicationException
from thrift.transport.TTransport import TTransportException

SERVICE = "thrift.test"
PYTHON = f"Apache Thrift {importlib.metadata.version('thrift')} (Python)"


def documents(port, versions, routes=None, **options):
    """A listener, a service with subsets, and routes to it (to all of it by default)."""
    return [
        config.gateway("gw", "thrift", port),
        config.service(SERVICE, "thrift", versions),
        config.destination_rule(SERVICE, subsets=[*versions], **options),
        config.meta_router("gw", SERVICE, routes or [route(to(SERVICE))]),
    ]


BY_METHOD = [
    route(to(SERVICE, "v2"), when={"method": "add"}),
    route(to(SERVICE, "v2"), when={"method": "slow"}),
    route(to(SERVICE, "v1")),
]


@pytest.fixture
def both(mesh, thrift_server):
    """A mesh in front of servers v1 and v2 of some dialect; its port."""

    def start(language, transport, protocol, routes=BY_METHOD, **options):
        versions = {
            tag: thrift_server(language, tag, transport, protocol, **options).port
            for tag in ("v1", "v2")
        }
        port = free_port()
        mesh(documents(port, versions, routes))
        return port

    return start


@pytest.mark.parametrize("language", ["python", "node"])
@pytest.mark.parametrize("transport, protocol", thrifty.DIALECTS)
def test_python_client(both, node, language, transport, protocol):
    if language == "node" and transport == "header":
        pytest.skip("Node's server has no THeader")
    port = both(language, transport, protocol)
    server = PYTHON if language == "python" else f"Apache Thrift {_node_version(node)} (Node)"
    how = f"{transport}/{protocol}"
    with thrifty.client(port, transport, protocol) as client:
        with tried("thrift", PYTHON, server, how, "call"):
            assert client.tag() == "v1"
        with tried("thrift", PYTHON, server, how, "route by method"):
            assert client.add(40, 2) == 42
            assert client.slow(0) == "v2"
        if language == "python":
            # Node's library reads a 64-bit integer into an object that it does not write back.
            with tried("thrift", PYTHON, server, how, "every type"):
                assert client.echo(thrifty.EVERYTHING) == thrifty.EVERYTHING
        with tried("thrift", PYTHON, server, how, "void"):
            assert client.nothing() is None
        with tried("thrift", PYTHON, server, how, "declared exception"):
            with pytest.raises(Boom) as boom:
                client.boom("no luck")
            assert (boom.value.message, boom.value.code) == ("no luck", 42)
        if language == "python":
            with tried("thrift", PYTHON, server, how, "undeclared exception"):
                with pytest.raises(TApplicationException) as broken:
                    client.broken("worse luck")
                assert broken.value.type == TApplicationException.INTERNAL_ERROR
        with tried("thrift", PYTHON, server, how, "one-way"):
            text = f"fired at {time.time()}"
            client.fire(text)
            eventually(lambda: text in client.fired(), what="the one-way call's arrival")
        if not (language == "node" and protocol == "json"):
            # A string of JSON holds bytes as text in Node's library.
            with tried("thrift", PYTHON, server, how, "2 MiB each way"):
                blob = bytes(range(256)) * (2 << 12)
                assert client.bytes(blob) == blob
        assert client.tag() == "v1"


@pytest.mark.parametrize("transport, protocol", thrifty.NODE_DIALECTS)
def test_node_client(both, node, transport, protocol):
    port = both("python", transport, protocol)
    client = node("thrift_client")
    version = f"Apache Thrift {client.version} (Node)"
    how = f"{transport}/{protocol}"
    name = f"{port}"
    client.ask(op="open", name=name, port=port, transport=transport, protocol=protocol)

    def call(method, *args, **options):
        return client.ask(op="call", on=name, method=method, args=list(args), **options)

    with tried("thrift", version, PYTHON, how, "call"):
        assert call("tag") == "v1"
    with tried("thrift", version, PYTHON, how, "route by method"):
        assert call("slow", 0) == "v2"
    with tried("thrift", version, PYTHON, how, "declared exception"):
        with pytest.raises(Failed) as boom:
            call("boom", "no luck")
        assert boom.value.text == "no luck" and boom.value.code == 42
    with tried("thrift", version, PYTHON, how, "undeclared exception"):
        with pytest.raises(Failed) as broken:
            call("broken", "worse luck")
        assert broken.value.type == TApplicationException.INTERNAL_ERROR
    with tried("thrift", version, PYTHON, how, "one-way"):
        text = f"fired at {time.time()}"
        call("fire", text)
        eventually(lambda: text in call("fired"), what="the one-way call's arrival")
    with tried("thrift", version, PYTHON, how, "pipelining"):
        # The Node client sends without waiting; a slow call goes to another server than the rest,
        # and the answers still come in an order that the client can use.
        slow = client.send(op="call", on=name, method="slow", args=[300])
        quick = [
            client.send(op="call", on=name, method="add", args=[number, 1]) for number in range(50)
        ]
        assert [answer.result() for answer in quick] == [number + 1 for number in range(50)]
        assert slow.result() == "v2"
    client.ask(op="close", on=name)


@pytest.mark.parametrize("transport, protocol", thrifty.DIALECTS)
def test_multiplexed_services_are_routed_by_service(both, transport, protocol):
    routes = [route(to(SERVICE, "v2"), when={"service": "Other"}), route(to(SERVICE, "v1"))]
    port = both("python", transport, protocol, routes, multiplexed=True)
    with tried("thrift", PYTHON, PYTHON, f"{transport}/{protocol}", "multiplexed services"):
        with thrifty.client(port, transport, protocol, service="Demo") as client:
            assert client.tag() == "v1"
            assert client.add(40, 2) == 42
        with thrifty.client(port, transport, protocol, service="Other") as client:
            assert client.tag() == "v2-other"


@pytest.mark.parametrize("zlib", [False, True])
@pytest.mark.parametrize("protocol", ["binary", "compact"])
def test_theader_routes_by_header(both, protocol, zlib):
    routes = [
        route(to(SERVICE, "v2"), when={"header.user": {"prefix": "vip-"}}),
        route(to(SERVICE, "v1")),
    ]
    port = both("python", "header", protocol, routes)
    how = f"header/{protocol}" + (" + zlib" if zlib else "")
    with thrifty.client(port, "header", protocol, zlib=zlib) as client:
        with tried("thrift", PYTHON, PYTHON, how, "route by header"):
            thrifty.set_headers(client, {"user": "vip-7"})
            assert client.tag() == "v2"
            thrifty.set_headers(client, {"user": "joe"})
            assert client.tag() == "v1"
        with tried("thrift", PYTHON, PYTHON, how, "headers both ways"):
            thrifty.set_headers(client, {"user": "joe", "other": "x" * 300})
            assert client.header("user") == "joe"
            assert thrifty.answer_headers(client)["served"] == "yes"


def test_theader_gains_a_header(both):
    routes = [
        route(to(SERVICE, "v1"), requestMutation=[{"key": "header.zone", "value": "north"}]),
    ]
    port = both("python", "header", "binary", routes)
    with thrifty.client(port, "header", "binary") as client:
        assert client.header("zone") == "north"
        thrifty.set_headers(client, {"zone": "south", "user": "joe"})
        assert client.header("zone") == "north"
        thrifty.set_headers(client, {"user": "joe"})
        assert client.header("user") == "joe"


def test_one_listener_takes_every_dialect(mesh, thrift_server):
    """A THeader server answers each client in its own dialect, and so does the mesh."""
    server = thrift_server("python", "v1", "header", "binary")
    port = free_port()
    mesh(documents(port, {"v1": server.port}))
    for transport, protocol in thrifty.DIALECTS:
        if protocol == "json":
            continue
        with thrifty.client(port, transport, protocol) as client:
            assert client.add(40, 2) == 42, (transport, protocol)
            assert client.echo(thrifty.EVERYTHING) == thrifty.EVERYTHING


@pytest.mark.parametrize("transport, protocol", thrifty.DIALECTS)
def test_errors_of_the_mesh_are_exceptions_at_once(mesh, thrift_server, transport, protocol):
    versions = {
        "v1": thrift_server("python", "v1", transport, protocol).port,
        "gone": free_port(),
    }
    port = free_port()
    routes = [
        route(to(SERVICE, "v1"), when={"method": "tag"}),
        route(to(SERVICE, "v1"), when={"method": "slow"}, timeout="300ms"),
        route(to(SERVICE, "gone"), when={"method": "add"}),
        route(to(SERVICE, "missing"), when={"method": "boom"}),
        route(to(SERVICE, "v1"), when={"method": "fired"}),
    ]
    resources = documents(port, versions, routes)
    resources[2] = config.destination_rule(SERVICE, ["v1", "gone", "missing"])
    mesh(resources)
    with thrifty.client(port, transport, protocol) as client:
        for call in (
            lambda: client.nothing(),
            lambda: client.add(1, 2),
            lambda: client.boom("x"),
            lambda: client.slow(5000),
        ):
            started = time.monotonic()
            with pytest.raises(TApplicationException) as error:
                call()
            assert error.value.message, "says why"
            assert time.monotonic() - started < 2.5
            # The connection is still good.
            assert client.tag() == "v1"
        # A one-way call that cannot be delivered is not answered: the next answer is the next call's.
        text = f"never {time.time()}"
        client.fire(text)
        assert text not in client.fired()


def test_a_slow_call_holds_up_nobody_else(mesh, thrift_server):
    server = thrift_server("python", "v1", "framed", "binary")
    port = free_port()
    mesh(documents(port, {"v1": server.port}))
    done = []

    def slow():
        with thrifty.client(port) as client:
            done.append(client.slow(1500))

    threads = [threading.Thread(target=slow) for _ in range(10)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    started = time.monotonic()
    with thrifty.client(port) as client:
        for number in range(100):
            assert client.add(number, 1) == number + 1
    assert time.monotonic() - started < 1.2
    for thread in threads:
        thread.join()
    assert done == ["v1"] * 10


def test_a_client_that_leaves_takes_nobody_along(mesh, thrift_server):
    """Its call still runs upstream: the connection that owes an answer is not used again."""
    server = thrift_server("python", "v1", "framed", "binary")
    port = free_port()
    mesh(documents(port, {"v1": server.port}))
    for _ in range(20):
        with (
            thrifty.client(port, timeout=0.05) as leaver,
            pytest.raises((TTransportException, socket.timeout)),
        ):
            leaver.slow(200)
        with thrifty.client(port) as client:
            assert client.add(40, 2) == 42


def _node_version(node):
    return node("thrift_client").version
