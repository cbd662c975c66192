"""What Redis clients that share connections to a server do to each other, and to themselves: nothing."""

import signal

import pytest
from harness import config
from harness.process import eventually, free_port
from harness.resp import Client, Refused

USERS, CACHE = "redis-users.test", "redis-cache.test"


def single(mesh, port, **fields):
    """A mesh in front of one server."""
    listener = free_port()
    process = mesh(
        [
            config.gateway("gw", "redis", listener),
            config.service(CACHE, "redis", {"v1": port}),
            config.redis_service(CACHE, [(None, CACHE)], **fields),
        ]
    )
    return listener, process


def test_a_deep_reply_is_served_and_hurts_nobody(mesh, redis_server):
    port, _ = single(mesh, redis_server("a").port)
    deep = "local t = {} for i = 1, %d do t = {t} end return t"
    long = "return {ok = string.rep('x', 300000)}"
    neighbours = [Client(port) for _ in range(8)]
    with Client(port) as client:
        for number in range(5):
            for neighbour in neighbours:
                neighbour.say("INCR", "neighbours")
            client.say("EVAL", deep % 300, "0")
            depth, reply = 0, client.read()
            while reply:
                depth, reply = depth + 1, reply[0]
            assert depth == 300
            assert client("EVAL", long, "0") == "x" * 300000
            counts = [neighbour.read() for neighbour in neighbours]
            assert sorted(counts) == list(range(number * 8 + 1, number * 8 + 9))
    for neighbour in neighbours:
        neighbour.close()
    with Client(port) as client:
        assert client("DEL", "neighbours") == 1


def test_a_wait_counts_what_the_client_wrote(mesh, redis_server):
    leader = redis_server("a")
    replica = redis_server("replica", "--replicaof", "127.0.0.1", str(leader.port))
    port, _ = single(mesh, leader.port)
    with Client(port) as client:
        eventually(lambda: "state=online" in client("INFO", "replication"), timeout=30)
        assert client("SET", "k", "v") == "OK" and client("WAIT", "1", "5000") == 1
        replica.signal(signal.SIGSTOP)
        try:
            for number in range(3):
                assert client("SET", "k", str(number)) == "OK"
                assert client("WAIT", "1", "300") == 0
        finally:
            replica.signal(signal.SIGCONT)
        assert client("WAIT", "1", "5000") == 1
        assert client("GET", "k") == "2"
        # Whoever may wait may wait, without any other permission.
        assert client("ACL", "SETUSER", "waiter", "on", ">p", "~*", "+wait", "+set") == "OK"
        assert client("AUTH", "waiter", "p") == "OK"
        replica.signal(signal.SIGSTOP)
        try:
            assert client("SET", "k", "v") == "OK" and client("WAIT", "1", "300") == 0
        finally:
            replica.signal(signal.SIGCONT)
    replica.stop()


def resident(process):
    """The most memory that a process has had, in MiB."""
    with open(f"/proc/{process.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def test_a_value_may_be_as_large_as_redis_allows(mesh, redis_server):
    port, process = single(mesh, redis_server("a").port)
    before = resident(process)
    with Client(port, timeout=60) as client:
        for mebibytes in (20, 100):
            value = "x" * (mebibytes << 20)
            assert client("SET", "large", value) == "OK"
            assert client("STRLEN", "large") == len(value)
            assert client("GET", "large") == value
        assert client("DEL", "large") == 1
        assert resident(process) - before < 48
        client.sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n")
        assert client.read() == Refused("ERR Protocol error: invalid bulk length")


STRANGE = [
    (b"*100\r\n", "ERR Protocol error: unauthenticated multibulk length"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$14680064\r\n", "ERR Protocol error: unauthenticated bulk length"),
]  # fmt: skip


@pytest.mark.parametrize(("bytes", "text"), STRANGE)
@pytest.mark.parametrize("where", ["proxy", "server"])
def test_strangers_are_refused_at_once(mesh, redis_server, where, bytes, text):
    if where == "proxy":
        auth = {"settings": {"auth": {"plain": {"password": "front"}}}}
        port, _ = single(mesh, redis_server("a").port, **auth)
    else:
        port, _ = single(mesh, redis_server("asks", "--requirepass", "secret").port)
    with Client(port, timeout=2) as client:
        if where == "server":
            # That the server asks for a password is known when it has said so.
            assert "NOAUTH" in str(client("GET", "k"))
        client.sock.sendall(bytes)
        assert client.read() == Refused(text)
        with pytest.raises((ConnectionError, OSError)):
            client.read()


@pytest.fixture
def both(mesh, redis_server):
    """Two clusters behind one port, and what is only in the first."""
    users, cache, port = redis_server("users"), redis_server("cache"), free_port()
    for server in (users, cache):
        with Client(server.port) as admin:
            admin("FLUSHALL")
    deny = {"to": [{"operation": {"operations": ["append"]}}]}
    mesh(
        [
            config.gateway("gw", "redis", port),
            config.service(USERS, "redis", {"v1": users.port}),
            config.service(CACHE, "redis", {"v1": cache.port}),
            config.redis_service(CACHE, [("user:", USERS), (None, CACHE)]),
            config.resource(config.META_ROUTER, "AuthorizationPolicy", "no-append", {"action": "DENY", "rules": [deny]}),
        ]
    )
    return port, Client(users.port), Client(cache.port)


ABORTED = Refused("EXECABORT Transaction discarded because of previous errors.")


def either(client, pipelined, *lines):
    """One after the other, or all at once."""
    if pipelined:
        return client.pipeline(*lines)
    return [client(*line.split()) for line in lines]


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_transaction_goes_where_its_keys_are(both, pipelined):
    port, users, cache = both
    with Client(port) as client:
        say = lambda *lines: either(client, pipelined, *lines)  # noqa: E731
        watched = say("WATCH user:1", "MULTI", "PING", "SET user:1 a", "EXEC", "GET other")
        assert watched == ["OK", "OK", "QUEUED", "QUEUED", ["PONG", "OK"], None]
        assert say("WATCH user:1", "UNWATCH", "PING") == ["OK", "OK", "PONG"]
        # What nobody watches goes where the first command of the transaction leads.
        assert say("MULTI", "SET user:2 b", "INCR user:n", "EXEC") == [
            "OK", "QUEUED", "QUEUED", ["OK", 1],
        ]  # fmt: skip
        assert say("MULTI", "SET other c", "EXEC") == ["OK", "QUEUED", ["OK"]]
        assert say("MULTI", "DISCARD", "MULTI", "EXEC", "GET user:1") == ["OK", "OK", "OK", [], "a"]
        assert (users("DBSIZE"), cache("DBSIZE")) == (3, 1)


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_transaction_is_carried_out_whole_or_not_at_all(both, pipelined):
    port, users, cache = both
    with Client(port) as client:
        say = lambda *lines: either(client, pipelined, *lines)  # noqa: E731
        for _ in range(3):
            answers = say("MULTI", "SET user:1 a", "SET other a", "SET user:2 a", "EXEC")
            assert answers[:2] == ["OK", "QUEUED"] and answers[3:] == ["QUEUED", ABORTED]
            assert "another server" in str(answers[2]) and "cluster" not in str(answers[2])
            for first in ("SET user:1 a", "APPEND user:1 a"):
                answers = say("MULTI", first, "APPEND user:2 a", "SET user:3 a", "EXEC", "GET user:1")
                assert "NOPERM" in f"{answers[1:3]}" and answers[3:] == ["QUEUED", ABORTED, None]
            answers = say("MULTI", "APPEND user:1 a", "SET user:1 a", "DISCARD", "GET other")
            assert answers[2:] == ["QUEUED", "OK", None]
        assert say("MULTI", "SET user:1 a", "EXEC") == ["OK", "QUEUED", ["OK"]]
        assert (users("DBSIZE"), cache("DBSIZE")) == (1, 0)
