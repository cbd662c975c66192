"""The peers against each other, without Meltemi: if these fail, the machine is to blame."""

import pytest
import redis
from harness import thrifty
from harness.peers import HOST

from test_dubbo import PAIRS, USER, call


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis(redis_server, protocol):
    with redis.Redis(port=redis_server("a").port, protocol=protocol) as client:
        client.set("k", "v")
        assert client.get("k") == b"v"


@pytest.mark.parametrize("library", ["ioredis", "ioredis5"])
def test_ioredis(redis_server, node, library):
    client = node("redis_client", library)
    client.ask(op="open", name="direct", port=redis_server("a").port)
    client.ask(op="call", on="direct", args=["SET", "k", "v"])
    assert client.ask(op="call", on="direct", args=["GET", "k"]) == "v"
    client.ask(op="close", on="direct")


@pytest.mark.parametrize("transport, protocol", thrifty.DIALECTS)
def test_thrift(thrift_server, transport, protocol):
    server = thrift_server("python", "v1", transport, protocol)
    with thrifty.client(server.port, transport, protocol) as client:
        assert client.add(40, 2) == 42
        assert client.echo(thrifty.EVERYTHING) == thrifty.EVERYTHING


@pytest.mark.parametrize("language", ["python", "node"])
@pytest.mark.parametrize("transport, protocol", thrifty.NODE_DIALECTS)
def test_thrift_in_node(thrift_server, node, language, transport, protocol):
    server = thrift_server(language, "v1", transport, protocol)
    client = node("thrift_client")
    name = f"{language}-{transport}-{protocol}"
    client.ask(op="open", name=name, port=server.port, transport=transport, protocol=protocol)
    assert client.ask(op="call", on=name, method="add", args=[40, 2]) == 42
    client.ask(op="close", on=name)


@pytest.mark.parametrize("consumer, provider, serialization", PAIRS)
def test_dubbo(dubbo_provider, java_consumer, consumer, provider, serialization):
    server = dubbo_provider(provider, "v1").ready()
    client = java_consumer(consumer)
    url = f"dubbo://{HOST}:{server.port}?serialization={serialization}"
    assert call(client, url, "sayHello", "you") == "Hello you from v1"
    assert call(client, url, "echoUser", USER) == USER


@pytest.mark.parametrize("protocol", [1, 2])
def test_bolt(bolt_provider, java_consumer, protocol):
    server = bolt_provider("v1").ready()
    client = java_consumer("bolt")
    answer = client.ask(address=f"127.0.0.1:{server.port}", protocol=protocol, text="hi")
    assert answer == "hi from v1"
