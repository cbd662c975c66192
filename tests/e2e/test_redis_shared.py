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
