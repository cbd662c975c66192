"""Apache Dubbo 2.7 and 3.3 consumers and providers, through the real binary."""

import base64
import time

import pytest
from harness import config
from harness.config import META_ROUTER, AERAKI_META_ROUTER, route, to
from harness.matrix import tried
from harness.peers import HOST
from harness.process import Failed, eventually, free_port

SERVICE = "demo.demoservice"
INTERFACE = "demo.DemoService"
VERSIONS = {"dubbo2": "Dubbo 2.7.23", "dubbo3": "Dubbo 3.3.6"}

# consumer, provider, serialization
PAIRS = [
    ("dubbo2", "dubbo2", "hessian2"),
    ("dubbo2", "dubbo3", "hessian2"),
    ("dubbo3", "dubbo2", "hessian2"),
    ("dubbo3", "dubbo3", "hessian2"),
    ("dubbo3", "dubbo3", "fastjson2"),
]

USER = {
    "name": "Μελτέμι 😀",
    "age": 41,
    "balance": 1 << 40,
    "score": 2.5,
    "active": True,
    "tags": ["a", "b"],
    "labels": {"k": "v"},
    "friend": {
        "name": "other",
        "age": -1,
        "balance": 0,
        "score": 0.0,
        "active": False,
        "tags": [],
        "labels": {},
        "friend": None,
    },
}


def call(client, url, method, *args, **options):
    """One call; its value."""
    return client.ask(url=url, method=method, args=list(args), **options)


def address(port, serialization="hessian2", **parameters):
    """A consumer's URL. Every test has its own port, so that it has its own references too."""
    more = "".join(f"&{key}={value}" for key, value in parameters.items())
    return f"dubbo://{HOST}:{port}?serialization={serialization}{more}"


def documents(port, versions, routes=None, policy=None, api=META_ROUTER, **fields):
    """A listener, a service with subsets, and routes to it (to all of it by default)."""
    return [
        config.gateway("gw", "dubbo", port),
        config.service(SERVICE, "dubbo", versions),
        config.destination_rule(SERVICE, policy=policy),
        config.meta_router("gw", SERVICE, routes or [route(to(SERVICE))], api=api, **fields),
    ]


@pytest.fixture
def both(dubbo_provider):
    """Providers v1 and v2 of a Dubbo version, as {version: port}."""

    def start(module):
        servers = {tag: dubbo_provider(module, tag) for tag in ("v1", "v2")}
        return {tag: server.ready().port for tag, server in servers.items()}

    return start


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def pair(request, mesh, both, java_consumer):
    """A consumer behind a fresh mesh with routes by method: add goes to v2, the rest to v1."""
    consumer, provider, serialization = request.param
    port = free_port()
    mesh(
        documents(
            port,
            both(provider),
            [
                route(to(SERVICE, "v2"), when={"method": "add"}),
                route(to(SERVICE, "v2"), when={"method": {"prefix": "attach"}}),
                route(to(SERVICE, "v1")),
            ],
        )
    )

    class Pair:
        client = java_consumer(consumer)
        url = address(port, serialization, payload=64 << 20)
        how = serialization

        def call(self, method, *args, **options):
            return call(self.client, self.url, method, *args, **options)

        def full(self, method, *args, **options):
            return self.client.send(url=self.url, method=method, args=list(args), **options).full()

        def tried(self, feature):
            return tried("dubbo", VERSIONS[consumer], VERSIONS[provider], serialization, feature)

    return Pair()


def test_every_kind_of_call(pair):
    with pair.tried("call"):
        assert pair.call("sayHello", "you") == "Hello you from v1"
    with pair.tried("route by method"):
        full = pair.full("add", 40, 2)
        assert full["value"] == 42
        assert full["attachments"].get("served-by") == "v2"
    with pair.tried("object"):
        assert pair.call("echoUser", USER) == USER
    with pair.tried("map, list"):
        value = {"a": "b", "n": 7, "list": ["x", "y"], "none": None}
        assert pair.call("echoMap", value) == value
        assert pair.call("echoList", ["a", 1, True, None, [1, 2]]) == ["a", 1, True, None, [1, 2]]
    with pair.tried("null"):
        assert pair.call("nothing") is None
        assert pair.call("noResult", "x") is None
        assert pair.call("echoUser", None) is None
    with pair.tried("unicode"):
        text = "ascii ελληνικά 中文 😀" * 100
        assert pair.call("echoString", text) == text


def test_exceptions_keep_their_class_and_fields(pair):
    with pair.tried("declared exception"):
        with pytest.raises(Failed) as declared:
            pair.call("declared", "no luck")
        assert declared.value.kind == "demo.DemoException"
        assert declared.value.code == 42
        # Dubbo's fastjson2 loses the message of an exception, with or without a mesh.
        assert "no luck" in declared.value.text or pair.how == "fastjson2"
    with pair.tried("undeclared exception"):
        with pytest.raises(Failed) as undeclared:
            pair.call("undeclared", "worse luck")
        assert "worse luck" in undeclared.value.text
    assert pair.call("sayHello", "you") == "Hello you from v1"


def test_attachments_go_both_ways(pair):
    with pair.tried("attachments"):
        full = pair.full("attachment", "x-user", attachments={"x-user": "bob", "other": "1"})
        assert full["value"] == "bob"
        assert full["attachments"]["served-by"] == "v2"


def test_one_way(pair, mesh):
    text = f"told at {time.time()}"
    with pair.tried("one-way"):
        pair.call("tell", text, mode="oneway")
        eventually(lambda: text in pair.call("told"), what="the one-way call's arrival")


def test_generic_invocation(pair):
    with pair.tried("generic"):
        options = {"mode": "generic", "interface": INTERFACE}
        types = ["java.lang.String"]
        assert (
            pair.call("sayHello", "generic", types=types, **options) == "Hello generic from v1"
        )


def test_echo(pair):
    with pair.tried("$echo"):
        assert pair.call("$echo", "are you there", mode="echo") == "are you there"


def test_group_and_version(pair):
    with pair.tried("group, version"):
        assert pair.call("tag", group="blue", version="1.0.0") == "v1/blue:1.0.0"
        assert pair.call("tag", group="green", version="2.0.0") == "v1/green:2.0.0"
        with pytest.raises(Failed):
            pair.call("tag", group="red", version="1.0.0")


def test_large_values_both_ways(pair):
    with pair.tried("4 MiB each way"):
        blob = base64.b64encode(bytes(range(256)) * (3 << 12)).decode()
        assert pair.call("echoString", blob) == blob
        assert len(pair.call("blob", 12 << 20, timeout=30_000)) == 12 << 20


def test_calls_overtake_each_other_on_one_connection(pair):
    with pair.tried("multiplexing"):
        pair.call("tag")
        started = time.monotonic()
        slow = [pair.client.send(url=pair.url, method="slow", args=[1500]) for _ in range(20)]
        for number in range(50):
            assert pair.call("add", number, 1) == number + 1
        assert time.monotonic() - started < 1.4, "a slow call held up the others"
        assert not any(answer.done() for answer in slow)
        assert [answer.result() for answer in slow] == ["v1"] * 20


# The rest does not depend on who talks to whom: one pair is enough.


@pytest.fixture
def v3(both, java_consumer):
    """Ports of 3.3 providers, and a 3.3 consumer."""
    return both("dubbo3"), java_consumer("dubbo3")


@pytest.mark.parametrize(
    "test, method, subset",
    [
        ({"exact": "sayHello"}, "sayHello", "v2"),
        ({"exact": "sayHello"}, "tag", "v1"),
        ({"prefix": "say"}, "sayHello", "v2"),
        ({"prefix": "say"}, "tag", "v1"),
        ({"suffix": "Hello"}, "sayHello", "v2"),
        ({"regex": "^s.*o$"}, "sayHello", "v2"),
        ({"regex": "ay"}, "sayHello", "v1"),
        ({"present": True}, "sayHello", "v2"),
    ],
    ids=str,
)
@pytest.mark.parametrize("api", [META_ROUTER, AERAKI_META_ROUTER])
def test_method_matchers(mesh, v3, test, method, subset, api):
    if api == AERAKI_META_ROUTER and set(test) - {"exact", "prefix", "regex"}:
        pytest.skip("Aeraki's own kind has exact, prefix and regex only")
    ports, client = v3
    port = free_port()
    routes = [route(to(SERVICE, "v2"), when={"method": test}), route(to(SERVICE, "v1"))]
    mesh(documents(port, ports, routes, api=api))
    args = ["x"] if method == "sayHello" else []
    full = client.send(url=address(port), method=method, args=args).full()
    assert full["attachments"]["served-by"] == subset


@pytest.mark.parametrize("serialization", ["hessian2", "fastjson2"])
@pytest.mark.parametrize("user, subset", [("vip-7", "v2"), ("joe", "v1"), (None, "v1")])
def test_attachment_routes(mesh, v3, user, subset, serialization):
    ports, client = v3
    port = free_port()
    routes = [
        route(to(SERVICE, "v2"), when={"user": {"prefix": "vip-"}}),
        route(to(SERVICE, "v1")),
    ]
    mesh(documents(port, ports, routes))
    attachments = {"user": user} if user else {}
    # The attachment comes after the arguments: an object stands in the way.
    full = client.send(
        url=address(port, serialization), method="echoUser", args=[USER], attachments=attachments
    ).full()
    assert full["value"] == USER
    assert full["attachments"]["served-by"] == subset


def test_interface_version_and_group_routes(mesh, v3):
    ports, client = v3
    port = free_port()
    routes = [
        route(to(SERVICE, "v2"), when={"interface": INTERFACE, "group": "blue"}),
        route(to(SERVICE, "v2"), when={"interface": INTERFACE, "version": "2.0.0"}),
        route(to(SERVICE, "v1"), when={"interface": INTERFACE}),
    ]
    mesh(documents(port, ports, routes))
    url = address(port)
    assert call(client, url, "tag", group="blue", version="1.0.0") == "v2/blue:1.0.0"
    assert call(client, url, "tag", group="green", version="2.0.0") == "v2/green:2.0.0"
    assert call(client, url, "tag") == "v1"


def test_weights_are_kept(mesh, v3):
    ports, client = v3
    port = free_port()
    mesh(documents(port, ports, [route(to(SERVICE, "v1", 20), to(SERVICE, "v2", 80))]))
    tags = []
    for _ in range(25):
        # No more at once than the providers have threads.
        answers = [client.send(url=address(port), method="tag", args=[]) for _ in range(40)]
        tags += [answer.result() for answer in answers]
    # Six standard deviations on either side.
    assert 724 < tags.count("v2") < 876


@pytest.mark.parametrize("hashed", [{"maglev": {"tableSize": 65537}}, {"ringHash": {"minimumRingSize": 1024}}], ids=["maglev", "ring"])
def test_consistent_hash_by_attachment(mesh, v3, hashed):
    ports, client = v3
    port = free_port()
    policy = {"loadBalancer": {"consistentHash": {"httpHeaderName": "user", **hashed}}}
    mesh(documents(port, ports, [route(to(SERVICE))], policy=policy))

    def tag(user):
        return call(client, address(port), "tag", attachments={"user": user})

    first = {user: tag(user) for user in (f"user-{number}" for number in range(40))}
    assert set(first.values()) == {"v1", "v2"}
    for _ in range(3):
        assert {user: tag(user) for user in first} == first


def test_round_robin_over_all_endpoints(mesh, v3):
    ports, client = v3
    port = free_port()
    mesh(documents(port, ports, policy={"loadBalancer": {"simple": "ROUND_ROBIN"}}))
    tags = [call(client, address(port), "tag") for _ in range(40)]
    assert abs(tags.count("v1") - tags.count("v2")) <= 2


def test_mutation_adds_attachments_that_the_provider_sees(mesh, v3):
    ports, client = v3
    port = free_port()
    mesh(
        documents(
            port,
            ports,
            [route(to(SERVICE, "v1"), requestMutation=[{"key": "foo", "value": "bar"}])],
        )
    )
    for serialization in ("hessian2", "fastjson2"):
        url = address(port, serialization)
        assert call(client, url, "attachment", "foo") == "bar", serialization
        assert call(client, url, "attachment", "foo", attachments={"foo": "old"}) == "bar"


@pytest.mark.parametrize("consumer", ["dubbo2", "dubbo3"])
def test_errors_of_the_mesh_are_exceptions_at_once(mesh, both, java_consumer, consumer):
    ports = both(consumer)
    client = java_consumer(consumer)
    port = free_port()
    nobody = free_port()
    resources = documents(
        port,
        {**ports, "v3": nobody},
        [
            route(to(SERVICE, "v1"), when={"method": "sayHello"}),
            route(to(SERVICE, "missing"), when={"method": "tag"}),
            route(to(SERVICE, "v3"), when={"method": "nothing"}),
            route(to(SERVICE, "v1"), when={"method": "slow"}, timeout="300ms"),
        ],
    )
    resources[2] = config.destination_rule(SERVICE, ("v1", "v3", "missing"))
    mesh(resources)
    for method, args in [("add", [1, 2]), ("tag", []), ("nothing", []), ("slow", [3000])]:
        started = time.monotonic()
        with (
            tried("dubbo", VERSIONS[consumer], VERSIONS[consumer], "hessian2", "mesh errors"),
            pytest.raises(Failed) as failed,
        ):
            call(client, address(port), method, *args, timeout=8000)
        assert failed.value.kind == "org.apache.dubbo.rpc.RpcException", method
        assert time.monotonic() - started < 2.5, f"{method} was answered by the client's timeout"
    assert failed.value.code == 2, "the mesh's timeout is a timeout for the client"
    assert call(client, address(port), "sayHello", "you") == "Hello you from v1"


def test_a_provider_that_dies_takes_only_its_own_calls_along(mesh, dubbo_provider, java_consumer):
    keeps = dubbo_provider("dubbo3", "v1").ready()
    dies = dubbo_provider("dubbo3", "doomed").ready()
    client = java_consumer("dubbo3")
    port = free_port()
    mesh(
        documents(
            port,
            {"v1": keeps.port, "v2": dies.port},
            [
                route(to(SERVICE, "v2"), when={"method": "slow"}),
                route(to(SERVICE, "v2"), when={"method": "tag"}),
                route(to(SERVICE, "v1")),
            ],
        )
    )
    url = address(port)
    assert call(client, url, "tag") == "doomed"
    doomed = client.send(url=url, method="slow", args=[5000])
    assert call(client, url, "sayHello", "you") == "Hello you from v1"
    time.sleep(0.2)
    dies.kill()
    started = time.monotonic()
    with pytest.raises(Failed):
        doomed.result()
    assert time.monotonic() - started < 2, "told at once, not at the client's timeout"
    assert call(client, url, "sayHello", "you") == "Hello you from v1"


def test_two_clients_with_the_same_ids_share_upstream_connections(mesh, both, java_consumer):
    """Dubbo 2.7 counts its request ids from 0: every client collides with every other."""
    ports = both("dubbo3")
    port = free_port()
    mesh(documents(port, {"v1": ports["v1"]}, [route(to(SERVICE, "v1"))]))
    client = java_consumer("dubbo2")
    for batch in range(10):
        # No more at once than the provider has threads.
        answers = [
            (
                number,
                client.send(
                    url=address(port), method="add", args=[number, 1], connections=1 + number % 4
                ),
            )
            for number in range(batch * 40, batch * 40 + 40)
        ]
        assert all(answer.result() == number + 1 for number, answer in answers)
