"""Several equal Redis servers behind one host: what belongs to one of them stays with it."""

import concurrent.futures

import pytest
import redis
from harness import config
from harness.process import free_port
from harness.resp import Client

HOST = "redis-equal.test"


def equal(mesh, ports, *documents):
    """A mesh in front of servers that hold the same data."""
    listener = free_port()
    mesh(
        [
            config.gateway("gw", "redis", listener),
            config.service(HOST, "redis", {"v1": list(ports)}),
            config.destination_policy(HOST, replicas=True),
            config.redis_service(HOST, [(None, HOST)]),
            *documents,
        ]
    )
    return listener


KEYS = {f"key:{number}" for number in range(3000)}


@pytest.fixture
def replicas(redis_server):
    """Two servers with the same keys, which they keep in different orders."""
    servers = [redis_server("equal-a"), redis_server("equal-b")]
    for server in servers:
        with redis.Redis(port=server.port) as direct:
            direct.flushall()
            pipe = direct.pipeline(transaction=False)
            for key in KEYS:
                pipe.set(key, "v")
                pipe.sadd("set", key)
                pipe.hset("hash", key, "v")
                pipe.zadd("sorted", {key: 1})
            pipe.execute()
    yield servers
    for server in servers:
        with redis.Redis(port=server.port) as direct:
            direct.flushall()


def scans(client):
    """What the scans of one client find, and what there is."""
    yield set(client.scan_iter(match="key:*", count=50)), KEYS
    yield set(client.sscan_iter("set", count=50)), KEYS
    yield {key for key, _ in client.hscan_iter("hash", count=50)}, KEYS
    yield {key for key, _ in client.zscan_iter("sorted", count=50)}, KEYS


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_scan_stays_with_the_server_where_it_began(mesh, replicas, protocol):
    port = equal(mesh, [server.port for server in replicas])

    def scan_all():
        # A new connection for each request: whoever scans is nobody that the mesh could know.
        pool = redis.ConnectionPool(port=port, decode_responses=True, protocol=protocol)
        with redis.Redis(connection_pool=pool) as client:
            wrapped = client.execute_command

            def execute(*args, **options):
                answer = wrapped(*args, **options)
                pool.disconnect()
                return answer

            client.execute_command = execute
            for found, there in scans(client):
                assert found == there

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for result in [threads.submit(scan_all) for _ in range(4)]:
            result.result()


def test_a_cursor_is_good_at_another_proxy_and_bad_without_its_server(mesh, replicas):
    ports = [server.port for server in replicas]
    one, other = equal(mesh, ports), equal(mesh, reversed(ports))
    alone = equal(mesh, [ports[0], free_port()])
    with Client(one) as first, Client(other) as second, Client(alone) as third:
        for _ in range(8):
            cursor, found, clients = "0", set(), [first, second]
            while cursor != "0" or not found:
                cursor, keys = clients[0]("SCAN", cursor, "COUNT", "100")
                found.update(keys)
                clients.reverse()
            assert KEYS < found
        answers = [third("SCAN", first("SCAN", "0")[0]) for _ in range(16)]
        gone = [answer for answer in answers if "is gone" in str(answer)]
        assert gone and len(gone) < len(answers), answers
        assert "no server" in str(first("SCAN", str(7 << 16)))
        assert first("SCAN", "x") == second("SCAN", "x")
        # In a transaction there is one server.
        assert first.pipeline("MULTI", "SCAN 0", "EXEC")[2][0][0] != "0"


def test_a_single_server_has_its_own_cursors(mesh, replicas):
    port = equal(mesh, [replicas[0].port])
    with Client(port) as meshed, Client(replicas[0].port) as direct:
        for words in ("SCAN 0", "HSCAN hash 0", "SSCAN set 0", "ZSCAN sorted 0"):
            assert meshed(*words.split()) == direct(*words.split())
        cursor = direct("SCAN", "0")[0]
        assert meshed("SCAN", cursor) == direct("SCAN", cursor)


def test_scans_of_clusters_by_weight_stay_there(mesh, replicas):
    port = free_port()
    versions = {"v1": replicas[0].port, "v2": replicas[1].port}
    targets = [config.to(HOST, "v1", 50), config.to(HOST, "v2", 50)]
    mesh(
        [
            config.gateway("gw", "redis", port),
            config.service(HOST, "redis", versions),
            config.destination_rule(HOST),
            config.meta_router("gw", HOST, [config.route(*targets)]),
        ]
    )
    with redis.Redis(port=port, decode_responses=True) as client:
        for _ in range(3):
            for found, there in scans(client):
                assert found == there
