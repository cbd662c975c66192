"""Policies on Redis: check, explain and run agree, whatever the case, and no spelling gets around them."""

import contextlib

import pytest
import redis
import yaml
from harness import config, meltemi
from harness.config import policy, route, to
from harness.process import free_port

HOST = "redis.test"


def documents(port, server, *extra):
    return [
        config.gateway("gw", "redis", port),
        config.service(HOST, "redis", {"v1": server}),
        *extra,
    ]


@pytest.fixture
def run(mesh, redis_server):
    """Runs a mesh with these documents: a client, and the file that it runs."""
    server = redis_server("a").port
    with contextlib.ExitStack() as stack:

        def make(*extra):
            port = free_port()
            made = documents(port, server, *extra)
            mesh(made)
            return stack.enter_context(redis.Redis(port=port, decode_responses=True)), made

        direct = stack.enter_context(redis.Redis(port=server))
        direct.flushall()
        yield make


def explained(made, tmp_path, *attributes):
    path = tmp_path / "mesh.yaml"
    path.write_text(yaml.safe_dump_all(made))
    arguments = [word for attribute in attributes for word in ("-a", attribute)]
    done = meltemi.command("explain", path, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def denied(client, *words):
    try:
        client.execute_command(*words)
    except redis.exceptions.NoPermissionError:
        return True
    except redis.ResponseError as error:
        return "denied by policy" in str(error)
    return False


def test_explain_and_run_agree_whatever_the_case(run, tmp_path):
    client, made = run(policy("no-flush", "DENY", {"operations": ["FLUSHALL"]}))
    assert "denied" in explained(made, tmp_path, "command=FlushAll")
    assert denied(client, "FLUSHALL") and denied(client, "flushall") and denied(client, "FlushAll")
    assert not denied(client, "PING")


def test_a_category_and_a_subcommand_are_denied(run):
    client, _ = run(
        policy("no-writes", "DENY", {"attributes": {"category": ["Write"]}}),
        policy("no-config", "DENY", {"operations": ["CONFIG"], "attributes": {"subcommand": ["SET"]}}),
    )
    assert denied(client, "SET", "k", "v") and not denied(client, "GET", "k")
    assert denied(client, "config", "set", "maxmemory", "0")
    assert not denied(client, "CONFIG", "GET", "maxmemory")


def test_routes_take_commands_whatever_the_case(mesh, redis_server):
    ports = {name: redis_server(name).port for name in ("a", "b")}
    port = free_port()
    mesh(
        [
            config.gateway("gw", "redis", port),
            config.service(HOST, "redis", {"v1": ports["a"]}),
            config.service("writes.test", "redis", {"v1": ports["b"]}),
            config.meta_router(
                "gw",
                HOST,
                [route(to("writes.test"), when={"command": "SET"}), route(to(HOST))],
            ),
        ]
    )
    with redis.Redis(port=port) as client, redis.Redis(port=ports["b"]) as behind:
        behind.delete("routed")
        client.set("routed", "v")
        assert behind.get("routed") == b"v" and client.get("routed") is None


def test_no_spelling_gets_around_a_key(run):
    client, _ = run(policy("no-secrets", "DENY", {"keys": ["secret:*"]}))
    for words in [
        ("GET", "secret:a"),
        ("SORT", "l", "BY", "nosort", "GET", "secret:*"),
        ("EVAL", "return redis.call('get', 'secret:a')", "0"),
        ("EVAL", "return 1", "+1", "secret:a"),
        ("ZINTERSTORE", "d", "+1", "secret:a"),
        ("JSON.MGET", "a", "secret:a", "$"),
        ("CMS.MERGE", "d", "1", "secret:a"),
        ("NOSUCH", "a"),
    ]:
        assert denied(client, *words), words
    assert not denied(client, "SORT", "l", "BY", "nosort")
    assert not denied(client, "MGET", "a", "b")


def test_declared_keys_of_scripts_can_be_enough(run):
    client, _ = run(policy("no-secrets", "DENY", {"keys": ["secret:*"]}, undetermined="BestGuess"))
    assert client.eval("return redis.call('set', KEYS[1], 'v')", 1, "open") == "OK"
    assert denied(client, "EVAL", "return 1", "1", "secret:a")


def test_scripts_are_denied_with_the_commands_that_they_may_call(run):
    client, _ = run(policy("ops", "DENY", {"operations": ["flushall", "getdel"]}))
    assert denied(client, "FLUSHALL")
    for call in (("EVAL", "return redis.call('flushall')", "0"), ("EVALSHA", "0" * 40, "0"), ("FCALL", "f", "0")):
        assert denied(client, *call), call
    client, _ = run(policy("ops", "DENY", {"operations": ["flushall"]}, undetermined="BestGuess"))
    assert denied(client, "FLUSHALL")
    assert client.eval("return 1", 0) == 1
    client, _ = run(policy("ops", "DENY", {"operations": ["eval"]}))
    assert denied(client, "EVAL", "return 1", "0")
    assert client.execute_command("EVAL_RO", "return 1", "0") == 1
    client, _ = run(policy("ops", "ALLOW", {"operations": ["eval", "hello", "client"]}))
    assert client.eval("return 1", 0) == 1


@pytest.mark.parametrize("mute", ["OFF", "SKIP"])
def test_a_denied_command_without_a_reply_shifts_none(run, mute):
    client, _ = run(policy("ops", "DENY", {"operations": ["getdel"]}))
    client.mset({"a": "A", "b": "B"})
    raw = client.connection_pool.get_connection()
    ends = [("CLIENT", "REPLY", "ON")] if mute == "OFF" else []
    requests = [("CLIENT", "REPLY", mute), ("GETDEL", "x"), *ends, ("GET", "a"), ("GET", "b")]
    for request in requests:
        raw.send_command(*request)
    expected = ["OK", "A", "B"] if ends else ["A", "B"]
    assert [raw.read_response() for _ in expected] == expected
    # A transaction that lacks the denied command is not carried out.
    requests = [("CLIENT", "REPLY", mute), ("MULTI",), ("SET", "half", "1"), ("GETDEL", "x"), ("EXEC",), *ends, ("ECHO", "e")]
    for request in requests:
        raw.send_command(*request)
    while True:
        try:
            if raw.read_response() == "e":
                break
        except redis.ResponseError:
            pass
    assert client.get("half") is None
