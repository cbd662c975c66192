"""What Redis clients that share connections to a server do to each other, and to themselves: nothing."""

from harness import config
from harness.process import free_port
from harness.resp import Client, Refused

USERS, CACHE = "redis-users.test", "redis-cache.test"


def single(mesh, port):
    """A mesh in front of one server."""
    listener = free_port()
    mesh(
        [
            config.gateway("gw", "redis", listener),
            config.service(CACHE, "redis", {"v1": port}),
            config.redis_service(CACHE, [(None, CACHE)]),
        ]
    )
    return listener


def test_a_deep_reply_is_served_and_hurts_nobody(mesh, redis_server):
    port = single(mesh, redis_server("a").port)
    deep = "local t = {} for i = 1, %d do t = {t} end return t"
    long = "return {ok = string.rep('x', 300000)}"
    neighbours = [Client(port) for _ in range(8)]
    with Client(port) as client:
        for number in range(5):
            for neighbour in neighbours:
                neighbour.say("INCR", "neighbours")
            client.say("EVAL", deep % 1000, "0")
            depth, reply = 0, client.read()
            while reply:
                depth, reply = depth + 1, reply[0]
            assert depth == 1000
            assert client("EVAL", long, "0") == "x" * 300000
            counts = [neighbour.read() for neighbour in neighbours]
            assert sorted(counts) == list(range(number * 8 + 1, number * 8 + 9))
    for neighbour in neighbours:
        neighbour.close()
    with Client(port) as client:
        assert client("DEL", "neighbours") == 1
