"""What a Redis client is (user, database, name, protocol) is what it would be on a connection of its
own: the same words go to a server directly and through the mesh, and the same answers come back."""

import itertools
import random
import re
import time

import pytest
from harness import config
from harness.process import eventually, free_port
from harness.resp import Client

HOST, OTHER = "redis-s.test", "redis-t.test"

USERS = [
    "u on >pu ~* +get +set +blpop +multi +exec +acl|whoami",
    "t on >pt ~* +get +select +multi +exec +acl|whoami",
    "all on >pa ~* +@all",
    "off off >po ~* +@all",
]


@pytest.fixture
def server(redis_server):
    """A server with users that may do little, and a value that names each database."""
    server = redis_server("sessions")
    with Client(server.port) as admin:
        for user in USERS:
            admin("ACL", "SETUSER", *user.split())
        for database in range(4):
            admin("SELECT", str(database))
            admin("SET", "where", f"database {database}")
    yield server
    with Client(server.port) as admin:
        admin("AUTH", "default", "secret")
        admin("CONFIG", "SET", "requirepass", "")
        admin("ACL", "SETUSER", "default", "nopass", "resetkeys", "~*", "+@all", "on")


@pytest.fixture
def port(mesh, server):
    port = free_port()
    mesh(
        [
            config.gateway("gw", "redis", port),
            config.service(HOST, "redis", {"v1": server.port}),
            config.redis_service(HOST, [(None, HOST)]),
        ]
    )
    return port


CHANGES = [
    "AUTH u pu", "AUTH t pt", "AUTH all pa", "AUTH off po", "AUTH u wrong", "AUTH default x",
    "HELLO 2", "HELLO 3", "HELLO 3 AUTH u pu SETNAME app", "HELLO 2 AUTH t pt SETNAME other",
    "HELLO 3 AUTH all pa", "HELLO 3 SETNAME named", "HELLO 3 AUTH u wrong SETNAME x",
    "SELECT 1", "SELECT 2", "SELECT 3", "SELECT 0", "SELECT 99",
    "CLIENT SETNAME n1", "CLIENT SETNAME n2", "CLIENT NO-EVICT on", "CLIENT NO-EVICT off",
    "CLIENT SETINFO lib-name x", "RESET",
]  # fmt: skip
LOOKS = [
    "GET where", "ACL WHOAMI", "CLIENT GETNAME", "BLPOP nothing 0.01", "PING",
    "MULTI|GET where|ACL WHOAMI|EXEC", "CLIENT TRACKINGINFO", "CLIENT GETREDIR",
]  # fmt: skip


def plain(reply):
    """A reply without what differs from connection to connection."""
    return re.sub(r"'id', \d+|'id': \d+", "id", repr(reply))


@pytest.mark.parametrize("seed", range(4))
def test_a_session_is_what_it_is_on_a_direct_connection(server, port, seed):
    rng = random.Random(seed)
    for number in range(40):
        said = []
        with Client(server.port) as direct, Client(port) as meshed:
            for _ in range(rng.randrange(2, 12)):
                words = rng.choice(CHANGES if rng.random() < 0.5 else LOOKS)
                for line in words.split("|"):
                    said.append(line)
                    expected = plain(direct(*line.split()))
                    assert plain(meshed(*line.split())) == expected, (seed, number, said)
            for line in ("GET where", "ACL WHOAMI", "CLIENT GETNAME"):
                assert plain(meshed(*line.split())) == plain(direct(*line.split())), said


def test_a_user_that_may_do_little_blocks_and_transacts(port):
    with Client(port) as client:
        assert isinstance(client(*"HELLO 3 AUTH u pu SETNAME app".split()), dict)
        assert client("BLPOP", "nothing", "0.01") is None
        assert [client(line) for line in ("MULTI", "EXEC")] == ["OK", []]
    with Client(port) as client:
        assert client("SELECT", "3") == "OK"
        assert client("AUTH", "u", "pu") == "OK"
        assert client("GET", "where") == "database 3"
        assert client("BLPOP", "nothing", "0.01") is None


@pytest.mark.parametrize("way", ["AUTH", "HELLO", "RESET"])
def test_a_client_gets_out_when_the_password_has_changed(server, port, way):
    with Client(server.port) as admin, Client(port) as client:
        admin("ACL", "SETUSER", "all", "resetpass", ">first")
        assert client("AUTH", "all", "first") == "OK"
        assert client("SELECT", "2") == "OK"
        assert client("GET", "where") == "database 2"
        admin("ACL", "SETUSER", "all", "resetpass", ">second")
        # Servers keep connections that are there: these go, as those of a server that starts again.
        admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert isinstance(client("GET", "where"), Exception)
        database = "database 2"
        if way == "AUTH":
            assert isinstance(client("AUTH", "all", "third"), Exception)
            assert client("AUTH", "all", "second") == "OK"
        elif way == "HELLO":
            assert isinstance(client(*"HELLO 3 AUTH all second SETNAME x".split()), dict)
        else:
            assert client("RESET") == "RESET"
            assert client("AUTH", "all", "second") == "OK"
            database = "database 0"
        assert client("GET", "where") == database
        assert client("ACL", "WHOAMI") == "all"


def test_a_client_that_asks_about_itself_is_not_tied(mesh, redis_server):
    """Two clusters behind one port: what clients ask when they connect must not bind them to one."""
    a, b, port = redis_server("a"), redis_server("b"), free_port()
    mesh(
        [
            config.gateway("gw", "redis", port),
            config.service(HOST, "redis", {"v1": a.port}),
            config.service(OTHER, "redis", {"v1": b.port}),
            config.redis_service(HOST, [("user:", OTHER), (None, HOST)]),
        ]
    )
    asks = ["ID", "INFO", "NO-EVICT ON", "TRACKINGINFO", "GETREDIR", "TRACKING OFF", "NO-EVICT OFF"]
    numbers = set()
    for protocol, ask in itertools.product("23", asks):
        with Client(port) as client:
            client("HELLO", protocol)
            answer = client("CLIENT", *ask.split())
            assert not isinstance(answer, Exception), ask
            assert client("SET", "user:1", "v") == "OK"
            assert client("SET", "other", "v") == "OK"
            number = client("CLIENT", "ID")
            assert f"id={number} " in client("CLIENT", "INFO")
            assert number not in numbers
            numbers.add(number)


def test_sessions_that_nobody_uses_close_after_the_time_that_is_set(mesh, redis_server):
    brief, long = redis_server("sessions-brief"), redis_server("sessions-long")
    one, two = free_port(), free_port()
    mesh(
        [
            config.gateway("gw", "redis", one),
            config.gateway("gw2", "redis", two),
            config.service(HOST, "redis", {"v1": brief.port}),
            config.service(OTHER, "redis", {"v1": long.port}),
            config.meta_router("gw", HOST, [config.route(config.to(HOST))]),
            config.meta_router("gw2", OTHER, [config.route(config.to(OTHER))]),
            config.destination_policy(HOST, sessionIdleTimeout="1s"),
            config.destination_policy(OTHER, sessionIdleTimeout="0s"),
        ]
    )

    def names(server):
        with Client(server.port) as direct:
            return {name for name in ("gone", "here") if f"name={name} " in direct("CLIENT", "LIST")}

    def leave(port, name):
        with Client(port) as client:
            assert client("CLIENT", "SETNAME", name) == "OK"
            assert client("GET", "k") is None

    with Client(one) as stays:
        assert stays("CLIENT", "SETNAME", "here") == "OK"
        assert stays("GET", "k") is None
        leave(one, "gone")
        leave(two, "gone")
        assert names(brief) == {"gone", "here"} and names(long) == {"gone"}
        # The session of a client that is connected stays, whatever the time.
        eventually(lambda: names(brief) == {"here"}, timeout=10, what="the end of the session")
        time.sleep(2)
        assert names(brief) == {"here"} and names(long) == {"gone"}
