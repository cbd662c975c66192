"""Protocols that are described in words: SOFABolt with its own Java library, and an invented one."""

import re
import time

import pytest
import yaml
from harness import config, meltemi, quill
from harness.config import route, to
from harness.matrix import tried
from harness.process import ROOT, Failed, eventually, free_port
from harness.wire import Connection, Server

SERVICE = "private.test"
BOLT = "SOFABolt 1.6.7"
WORDS, MORE_WORDS = "demo.Words", "demo.MoreWords"


def documents(protocol, port, versions, routes=None, **options):
    return [
        config.gateway("gw", protocol, port),
        config.service(SERVICE, protocol, versions),
        config.destination_rule(SERVICE, [*versions], **options),
        config.meta_router("gw", SERVICE, routes or [route(to(SERVICE))]),
    ]


@pytest.fixture(params=[1, 2], ids=["bolt 1", "bolt 2"])
def bolt(request, mesh, bolt_provider, java_consumer):
    """Calls through a mesh that routes by class name."""
    ports = {tag: bolt_provider(tag).ready().port for tag in ("v1", "v2")}
    port, closed = free_port(), free_port()
    ports["gone"] = closed
    mesh(
        documents(
            "bolt",
            port,
            ports,
            [
                route(to(SERVICE, "v2"), when={"class": MORE_WORDS}),
                route(to(SERVICE, "v1"), when={"class": WORDS}, timeout="500ms"),
            ],
        )
    )
    client = java_consumer("bolt")

    def call(text, **options):
        return client.send(
            address=f"127.0.0.1:{port}", protocol=request.param, text=text, **options
        )

    call.tried = lambda feature: tried("bolt", BOLT, BOLT, f"version {request.param}", feature)
    return call


def test_bolt_calls(bolt):
    with bolt.tried("call"):
        assert bolt("hi").result() == "hi from v1"
    with bolt.tried("route by class"):
        assert bolt("hi", more=True).result() == "hi from v2"
    with bolt.tried("exception"):
        # Bolt itself does not tell the client the message.
        with pytest.raises(Failed) as failed:
            bolt("bad luck", fail=True).result()
        assert failed.value.kind.endswith("InvokeServerException")
    with bolt.tried("one-way"):
        bolt("nobody hears", mode="oneway").result()
    with bolt.tried("large value"):
        text = "x" * 1_000_000
        assert bolt(text).result() == f"{text} from v1"
    with bolt.tried("multiplexing"):
        started = time.monotonic()
        slow = bolt("slow", delay=1500, more=True)
        for number in range(50):
            assert bolt(f"{number}").result() == f"{number} from v1"
        assert time.monotonic() - started < 1.4 and not slow.done()
        assert slow.result() == "slow from v2"


def test_bolt_errors_of_the_mesh(bolt):
    with bolt.tried("mesh timeout"):
        started = time.monotonic()
        with pytest.raises(Failed) as late:
            bolt("late", delay=5000).result()
        assert late.value.kind.endswith("InvokeTimeoutException")
        assert time.monotonic() - started < 2.5
    assert bolt("hi").result() == "hi from v1"


class Yaml12(yaml.SafeLoader):
    """YAML as it is today: `on` is a word."""

    yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:bool"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), "tf")


def description(name, magic):
    """The description of Quill that comes with Meltemi, under another name and magic."""
    text = (ROOT / "codecs/declarative/protocols/quill.yaml").read_text()
    described = yaml.load(text.replace("71 7e", magic), Yaml12)
    described["name"] = name
    return described


@pytest.fixture(params=["built in", "from the configuration"])
def peers(request, mesh):
    """Two servers and a mesh; the protocol is a built-in description, or comes with the routes."""
    own = request.param != "built in"
    name, magic = ("plume", b"\x70\x6c") if own else ("quill", quill.MAGIC)
    seen = {"v1": [], "v2": []}
    servers = {tag: Server(quill.serve(tag, magic, seen[tag])) for tag in seen}
    port = free_port()
    resources = documents(
        name,
        port,
        {tag: server.port for tag, server in servers.items()},
        [
            route(to(SERVICE, "v2"), when={"tenant": "rich"}),
            route(to(SERVICE, "v2"), when={"meta.zone": {"prefix": "eu-"}}),
            route(to(SERVICE, "v2"), when={"method": "slow"}, timeout="400ms"),
            route(
                to(SERVICE, "v1"),
                when={"service": "ledger"},
                requestMutation=[{"key": "meta.via", "value": "mesh"}],
            ),
        ],
    )
    if own:
        resources.insert(0, config.protocol(description(name, "70 6c")))

    class Peers:
        mesh = None

        def connect(self):
            return Connection(port)

        def call(self, connection, number, method="get", payload=b"", service="ledger", **options):
            connection.send(
                quill.call(number, service, method, payload, magic=magic, **options)
            )

    Peers.mesh, Peers.seen, Peers.magic = mesh(resources), seen, magic
    yield Peers()
    for server in servers.values():
        server.close()


def test_an_invented_protocol_is_routed_by_its_own_fields(peers):
    with peers.connect() as one:
        peers.call(one, 7, payload=b"x")
        answer = quill.read(one)
        assert (answer.id, answer.payload) == (7, b"v1:get:x")
        peers.call(one, 8, meta={"tenant": "rich"})
        assert quill.read(one).payload == b"v2:get:"
        peers.call(one, 9, meta={"x-tenant": "rich"})
        assert quill.read(one).payload == b"v2:get:"
        peers.call(one, 10, meta={"zone": "eu-1"})
        assert quill.read(one).payload == b"v2:get:"
        # An edit of the metadata: the length is right again, and the payload is as it was.
        peers.call(one, 11, payload=b"y" * 1000, meta={"zone": "us-1"})
        answer = quill.read(one)
        assert answer.payload == b"v1:get:" + b"y" * 1000
        assert answer.meta == {"zone": "us-1", "via": "mesh"}


def test_an_invented_protocol_shares_connections_and_keeps_ids(peers):
    with peers.connect() as one, peers.connect() as two:
        peers.call(one, 5, "slow", b"200")
        for number in range(100):
            peers.call(one, number + 100, payload=b"one")
            peers.call(two, number + 100, payload=b"two")
        for number in range(100):
            for connection, payload in ((one, b"one"), (two, b"two")):
                answer = quill.read(connection)
                assert (answer.id, answer.payload) == (number + 100, b"v1:get:" + payload)
        late = quill.read(one)
        assert (late.id, late.payload) == (5, b"v2")
    calls = [frame for frame in peers.seen["v1"] if frame.kind == quill.CALL]
    assert len({(frame.connection, frame.id) for frame in calls}) == 200, "no id is used twice"
    assert len({frame.connection for frame in calls}) <= 4, "connections are shared"


def test_an_invented_protocol_has_heartbeats_casts_and_failures(peers):
    with peers.connect() as one:
        one.send(quill.pack(quill.PING, 3, magic=peers.magic))
        pong = quill.read(one)
        assert (pong.kind, pong.id) == (quill.PONG, 3)
        peers.call(one, 4, "note", b"remember", kind=quill.CAST)
        eventually(
            lambda: any(frame.payload == b"remember" for frame in peers.seen["v1"]),
            what="the cast",
        )
        peers.call(one, 5, "fail")
        failed = quill.read(one)
        assert (failed.id, failed.status, failed.message) == (5, 1, "it failed")


def test_an_invented_protocol_says_the_meshs_errors_in_its_own_words(peers):
    with peers.connect() as one:
        peers.call(one, 6, service="nobody")
        missing = quill.read(one)
        assert (missing.id, missing.status) == (6, 3) and missing.message
        peers.call(one, 7, "slow", b"3000")
        late = quill.read(one)
        assert (late.id, late.status) == (7, 5) and late.message
        # The caller's own patience counts as well.
        peers.call(one, 8, "slow", b"300", wait=50)
        late = quill.read(one)
        assert (late.id, late.status) == (8, 5)
        peers.call(one, 9)
        assert quill.read(one).payload == b"v1:get:"
        assert one.silent(0.6), "the late answers reach nobody"


def test_a_broken_description_is_refused_with_its_place(tmp_path):
    described = description("plume", "70 6c")
    described["variants"][0]["length"]["total"] = "lenght"
    port = free_port()
    resources = [config.protocol(described), *documents("plume", port, {"v1": free_port()})]
    file = tmp_path / "mesh.yaml"
    file.write_text(yaml.safe_dump_all(resources))
    checked = meltemi.command("check", file)
    text = checked.stderr.decode() + checked.stdout.decode()
    assert checked.returncode == 1
    assert "lenght" in text and re.search(r"mesh\.yaml:\d+", text), text


@pytest.mark.parametrize("action", ["DENY", "ALLOW"])
@pytest.mark.parametrize("own", [False, True], ids=["built in", "from the configuration"])
def test_an_entry_with_two_values_is_denied(mesh, own, action):
    """Nobody knows which of the two the server believes: neither kind of policy lets it pass."""
    name, magic = ("plume", b"\x70\x6c") if own else ("quill", quill.MAGIC)
    seen = []
    server, port = Server(quill.serve("v1", magic, seen)), free_port()
    tenant = "evil" if action == "DENY" else "good"
    rules = [{"to": [{"operation": {"attributes": {"tenant": [tenant]}}}]}]
    spec = {"action": action, "rules": rules}
    resources = [
        *documents(name, port, {"v1": server.port}),
        config.resource(config.META_ROUTER, "AuthorizationPolicy", "tenants", spec),
    ]
    if own:
        resources.insert(0, config.protocol(description(name, "70 6c")))
    router = mesh(resources, args=["--access-log", "json"])
    evil = [("tenant", "evil")], [("x-tenant", "evil")]
    with Connection(port) as client:
        for number, entries in enumerate([
            [("tenant", "good"), ("tenant", "evil")],
            [("tenant", "evil"), ("tenant", "good")],
            [("tenant", "good"), ("other", "x"), ("tenant", "evil")],
            [("tenant", "good"), ("x-tenant", "evil")],
            *evil,
        ]):
            client.send(quill.call(number, "ledger", "get", meta=entries, magic=magic))
            answer = quill.read(client)
            assert answer.id == number and answer.status != 0, entries
        assert not seen
        for entries in ([("tenant", "good")], [("tenant", "good"), ("tenant", "good")]):
            client.send(quill.call(99, "ledger", "get", meta=entries, magic=magic))
            assert quill.read(client).payload == b"v1:get:", entries
    assert len(seen) == 2
    eventually(lambda: '"undetermined":"tenant"' in router.output(), what="the name in the log")
    server.close()
