"""Policies on Redis: check, explain and run agree, whatever the case, and no spelling gets around them."""

import contextlib

import pytest
import redis
import yaml
from harness import config, meltemi
from harness.config import route, to
from harness.process import free_port

HOST = "redis.test"


def policy(name, action, operation, **fields):
    spec = {"action": action, "rules": [{"to": [{"operation": operation}]}], **fields}
    return config.resource(config.META_ROUTER, "AuthorizationPolicy", name, spec)


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
