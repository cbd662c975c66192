"""Scripts and functions are where they are needed: at every server that a client may be sent to."""

import hashlib
import signal

import pytest
import redis
from harness import config, peers
from harness.process import eventually, free_port
from harness.resp import Client, Refused

HOST, OTHER = "redis-scripts.test", "redis-more.test"
SCRIPT = "return redis.call('INCR', KEYS[1])"
DIGEST = hashlib.sha1(SCRIPT.encode()).hexdigest()
LIBRARY = "#!lua name=tools\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)"


@pytest.fixture
def servers(tmp_path):
    """Three servers that nobody else uses."""
    started = [peers.RedisServer(f"scripts-{number}", tmp_path) for number in range(3)]
    yield started
    for server in started:
        server.stop()


def behind(mesh, *ports, others=(), **fields):
    port = free_port()
    documents = [
        config.gateway("gw", "redis", port),
        config.service(HOST, "redis", {"v1": list(ports)}),
        config.destination_policy(HOST, replicas=True),
        *fields.pop("documents", ()),
    ]
    rules = [(None, HOST)]
    if others:
        documents.append(config.service(OTHER, "redis", {"v1": list(others)}))
        rules.insert(0, ("other:", OTHER))
    mesh([*documents, config.redis_service(HOST, rules, **fields)])
    return port


def direct(server, *words):
    with Client(server.port) as client:
        return client(*words)


def known(servers):
    return [direct(server, "SCRIPT", "EXISTS", DIGEST)[0] for server in servers]


def test_a_script_is_loaded_at_every_server_of_every_cluster(mesh, servers):
    port = behind(mesh, servers[0].port, servers[1].port, others=[servers[2].port])
    with Client(port) as client:
        assert client("SCRIPT", "LOAD", SCRIPT) == DIGEST
        assert known(servers) == [1, 1, 1]
        assert client("EVALSHA", DIGEST, "1", "other:n") == 1
    for _ in range(20):
        with Client(port) as client:
            assert isinstance(client("EVALSHA", DIGEST.upper(), "1", "n"), int)
    with Client(port) as client:
        answers = client.pipeline(f"EVALSHA {DIGEST} 1 n", "SCRIPT FLUSH", f"EVALSHA {DIGEST} 1 n")
        assert isinstance(answers[0], int) and answers[1] == "OK" and "NOSCRIPT" in str(answers[2])
        assert known(servers) == [0, 0, 0]
        assert client.pipeline("MULTI", "SCRIPT FLUSH", "EXEC") == ["OK", "QUEUED", ["OK"]]


def test_a_script_is_loaded_again_where_it_is_missing(mesh, servers, tmp_path):
    port = behind(mesh, servers[0].port, servers[1].port)
    with redis.Redis(port=port) as client:
        script = client.register_script(SCRIPT)
        script(keys=["n"])
        assert client.script_load(SCRIPT) == DIGEST
    for at in (0, 1):
        servers[at].signal(signal.SIGKILL)
        servers[at].process.wait(10)
        servers[at] = peers.RedisServer(f"again-{at}", tmp_path, port=servers[at].port)
    assert known(servers[:2]) == [0, 0]
    for number in range(16):
        with Client(port) as client:
            # In the order in which they were sent, and nothing between them.
            lines = [f"INCR k{number}", f"EVALSHA {DIGEST} 1 k{number}", f"INCR k{number}"]
            assert client.pipeline(*lines * 2) == [1, 2, 3, 4, 5, 6]
    assert known(servers[:2]) == [1, 1]
    with redis.Redis(port=port) as client:
        pipe = client.pipeline()
        for _ in range(3):
            client.register_script(SCRIPT)(keys=["piped"], client=pipe)
        assert pipe.execute() == [1, 2, 3]


def test_a_call_of_a_script_goes_to_another_server_if_one_does_not_listen(mesh, servers):
    port = behind(mesh, servers[0].port, free_port())
    with Client(port) as client:
        # What cannot be reached has no scripts, and gets them with the first call.
        assert client("SCRIPT", "LOAD", SCRIPT) == DIGEST
    for number in range(16):
        with Client(port) as client:
            assert client("EVALSHA", DIGEST, "1", "n") == number + 1


def test_functions_are_loaded_and_deleted_everywhere(mesh, servers):
    port = behind(mesh, servers[0].port, servers[1].port)
    with Client(port) as client:
        assert client("FUNCTION", "LOAD", LIBRARY) == "tools"
        for _ in range(16):
            with Client(port) as other:
                assert other("FCALL", "twice", "0", "21") == 42
        assert "already exists" in str(client("FUNCTION", "LOAD", LIBRARY))
        assert client("FUNCTION", "LOAD", "REPLACE", LIBRARY) == "tools"
        assert client("FUNCTION", "DELETE", "tools") == "OK"
        assert [direct(server, "FUNCTION", "LIST") for server in servers] == [[], [], []]
        # One server that refuses is enough.
        assert direct(servers[1], "FUNCTION", "LOAD", LIBRARY) == "tools"
        assert "already exists" in str(client("FUNCTION", "LOAD", LIBRARY))
        assert client("FUNCTION", "FLUSH") == "OK"
        assert "Error compiling" in str(client("SCRIPT", "LOAD", "return ("))
        servers[1].stop()
        refused = client("FUNCTION", "LOAD", LIBRARY)
        assert isinstance(refused, Refused) and f"127.0.0.1:{servers[1].port}" in str(refused)


def test_a_replica_gets_functions_from_its_leader(mesh, servers, tmp_path):
    leader = servers[0]
    replica = peers.RedisServer("fn-replica", tmp_path, "--replicaof", "127.0.0.1", str(leader.port))
    eventually(lambda: "master_link_status:up" in direct(replica, "INFO", "replication"))
    port = behind(mesh, leader.port, others=[replica.port])
    with Client(port) as client:
        assert client("FUNCTION", "LOAD", LIBRARY) == "tools"
        eventually(lambda: direct(replica, "FCALL_RO", "twice", "0", "1") != Refused("ERR Function not found"))
        assert client("SCRIPT", "LOAD", SCRIPT) == DIGEST
        assert known([leader, replica]) == [1, 1]
    replica.stop()


def test_who_may_not_call_or_load_scripts_does_neither(mesh, servers):
    deny = {"to": [{"operation": {"operations": ["evalsha"]}}]}
    spec = {"action": "DENY", "rules": [deny]}
    policy = config.resource(config.META_ROUTER, "AuthorizationPolicy", "no-evalsha", spec)
    first = behind(mesh, servers[0].port)
    second = behind(mesh, servers[1].port, documents=[policy])
    with Client(first) as client, Client(second) as other:
        assert client("SCRIPT", "LOAD", SCRIPT) == DIGEST
        assert "NOPERM" in str(other("EVALSHA", DIGEST, "1", "n"))
        # A user of the server that may not load scripts.
        direct(servers[0], "SCRIPT", "FLUSH")
        direct(servers[0], "ACL", "SETUSER", "caller", "on", ">p", "~*", "+evalsha", "+incr")
    with Client(first) as client:
        assert client("AUTH", "caller", "p") == "OK"
        assert "NOSCRIPT" in str(client("EVALSHA", DIGEST, "1", "n"))


def test_policies_of_the_cluster_that_is_reached_apply(mesh, servers):
    first, second = servers[:2]
    target = {"group": "networking.istio.io", "kind": "ServiceEntry", "name": OTHER.split(".")[0]}
    spec = {
        "action": "DENY",
        "targetRefs": [target],
        "rules": [{"to": [{"operation": {"operations": ["flushall", "script"]}}]}],
    }
    rule = config.resource(config.META_ROUTER, "AuthorizationPolicy", "keep", spec)
    port = behind(mesh, first.port, others=[second.port], documents=[rule])
    direct(second, "SET", "other:1", "kept")
    with Client(port) as client:
        assert isinstance(client("SCRIPT", "LOAD", SCRIPT), Refused)
        assert known(servers[1:2]) == [0]
    with Client(port) as client:
        client("WATCH", "other:1")
        assert isinstance(client("FLUSHALL"), Refused)
    assert direct(second, "GET", "other:1") == "kept"
    with Client(port) as client:
        assert client("FLUSHALL") == "OK"


def test_a_pinned_client_loads_in_order(mesh, servers):
    port = behind(mesh, servers[0].port)
    for number in range(30):
        text = f"return {number}"
        digest = hashlib.sha1(text.encode()).hexdigest()
        with Client(port) as client:
            client("WATCH", "q")
            client.say("SET", "big", "x" * 100_000)
            client.say("SCRIPT", "LOAD", text)
            client.say("EVALSHA", digest, "0")
            assert [client.read() for _ in range(3)] == ["OK", digest, number]
