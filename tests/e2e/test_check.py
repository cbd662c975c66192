"""What `check` says of rules, and that it, `explain` and `run` mean the same by them, whatever the case."""

import json
import random

import pytest
import yaml
from harness import config, meltemi
from harness.config import policy, route, to
from harness.process import eventually, free_port
from harness.resp import Client, command

HOST, OTHER = "redis.test", "other.test"


def documents(*extra, port=7000, servers=(7001, 7002)):
    return [
        config.gateway("gw", "redis", port),
        config.service(HOST, "redis", {"v1": servers[0]}),
        config.service(OTHER, "redis", {"v1": servers[1]}),
        *extra,
    ]


@pytest.fixture
def check(tmp_path):
    """The lines that `check --strict` prints, and whether it finds nothing wrong."""

    def run(*extra):
        path = tmp_path / "mesh.yaml"
        path.write_text(yaml.safe_dump_all(documents(*extra)))
        done = meltemi.command("check", "--strict", path)
        return done.returncode == 0, (done.stderr + done.stdout).decode().splitlines()

    return run


NOTHING_ROUTED = config.meta_router("gw", HOST, [route(to(HOST))])


@pytest.mark.parametrize(
    ("action", "fields", "then"),
    [
        ("DENY", {}, "then the policy denies the request"),
        ("ALLOW", {}, "then the policy does not allow the request"),
        ("AUDIT", {}, "then the policy matches the request"),
        ("DENY", {"undetermined": "BestGuess"}, "then the policy tests the values that the codec reads"),
    ],
)
def test_a_note_says_what_the_codec_cannot_always_determine(check, action, fields, then):
    fine, lines = check(
        NOTHING_ROUTED,
        # The same policy on another listener of the protocol is not said twice.
        config.gateway("gw2", "redis", 7003),
        config.meta_router("gw2", OTHER, [route(to(OTHER))]),
        policy("keys", action, {"keys": ["secret:*"], "operations": ["GET"]}, **fields),
    )
    notes = [line for line in lines if "note:" in line]
    assert fine and len(notes) == 1, lines
    assert "AuthorizationPolicy default/keys" in notes[0]
    assert "redis cannot always determine `keys` (scripts" in notes[0]
    assert then in notes[0] and "`undetermined` in the access log" in notes[0]
    assert any("1 notes" in line for line in lines), lines


def test_no_note_where_everything_can_be_told(check):
    fine, lines = check(
        NOTHING_ROUTED,
        policy("commands", "DENY", {"attributes": {"subcommand": ["SETNAME"], "category": ["Admin"]}}),
    )
    assert fine and not any("note" in line for line in lines), lines


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        (policy("p", "DENY", {"operations": ["CONFIG|SET"]}), "no `command` ever is `config|set`"),
        (policy("p", "DENY", {"operations": ["config set"]}), "`subcommand` is set"),
        (policy("p", "DENY", {"operations": ["config|*"]}), "no `command` ever starts with `config|`"),
        (policy("p", "DENY", {"attributes": {"subcommand": ["config|set"]}}), "no `subcommand` ever"),
        (policy("p", "DENY", {"attributes": {"category": ["@write"]}}), "it can be read, write, blocking"),
        (
            config.meta_router("gw", HOST, [route(to(OTHER), when={"category": "writes"}), route(to(HOST))]),
            "no `category` ever is `writes`",
        ),
        (
            config.meta_router(
                "gw", HOST, [route(to(OTHER), when={"command": {"prefix": "CONFIG|"}}), route(to(HOST))]
            ),
            "no `command` ever starts with `config|`",
        ),
    ],
)
def test_a_value_that_no_request_has_is_warned_of(check, extra, what):
    router = [] if extra["kind"] == "MetaRouter" else [NOTHING_ROUTED]
    fine, lines = check(*router, extra)
    warnings = [line for line in lines if "warning:" in line]
    assert not fine and len(warnings) == 1 and what in warnings[0], lines


def test_values_that_requests_have_are_not_warned_of(check):
    fine, lines = check(
        config.meta_router(
            "gw",
            HOST,
            [
                route(to(OTHER), when={"command": {"regex": "GET|SET"}, "category": "Write"}),
                route(to(HOST), when={"category": {"prefix": "RE"}}),
                route(to(HOST)),
            ],
        ),
        policy(
            "p",
            "DENY",
            {"operations": ["CONFIG", "FT.*", "unheard-of"], "attributes": {"subcommand": ["SET"]}},
        ),
    )
    assert fine, lines


def test_limits_that_differ_in_case_alone_hide_each_other(check):
    def condition(name):
        bucket = {"maxTokens": 1, "fillInterval": "1s"}
        return {"match": {"attributes": {"command": {"exact": name}}}, "tokenBucket": bucket}

    limit = {"conditions": [condition("SET"), condition("get"), condition("Set")]}
    fine, lines = check(config.meta_router("gw", HOST, [route(to(HOST))], localRateLimit=limit))
    warnings = [line for line in lines if "limits nothing" in line]
    assert not fine and len(warnings) == 1 and "conditions[2]" in warnings[0], lines


COMMANDS = ["GET k", "SET k v", "DEL k", "INCR n", "CONFIG GET maxmemory", "CLIENT ID", "EXISTS secret:a"]


def mixed(rng, text):
    return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in text)


def matcher(rng, word):
    at = rng.randrange(1, len(word))
    made = {"exact": word, "prefix": word[:at], "suffix": word[at:], "regex": f"{word}|x"}
    kind = rng.choice([*made])
    return {kind: mixed(rng, made[kind])}


def rules(rng):
    """Routes and policies by names in any case."""
    names = [line.split()[0] for line in COMMANDS]
    routes = [
        route(to(rng.choice([HOST, OTHER])), name=f"r{at}", when={"command": matcher(rng, rng.choice(names))})
        for at in range(3)
    ]
    routes.append(route(to(OTHER), name="writes", when={"category": mixed(rng, "write")}))
    routes.append(route(to(HOST), name="rest"))
    denied = [mixed(rng, name) for name in rng.sample(names, 2)]
    return [
        config.meta_router("gw", HOST, routes),
        policy("no", "DENY", {"operations": denied}),
        policy("no-reads", "DENY", {
            "attributes": {"category": [mixed(rng, "read")]}, "keys": ["secret:*"],
        }),
        policy("no-sub", "DENY", {"attributes": {"subcommand": [mixed(rng, rng.choice(["get", "id"]))]}}),
    ]  # fmt: skip


def decided(path, *args, stdin=None):
    """What `explain` decides on each request: the policy that denies it, or its route."""
    done = meltemi.command("explain", path, "--format", "json", *args, stdin=stdin)
    assert done.returncode == 0, done.stderr
    outcomes = []
    for line in done.stdout.splitlines():
        decision = json.loads(line)
        access = decision["asked"]["access"]
        denied = access and not access["allowed"]
        outcomes.append(("denied", access["policy"]) if denied else ("routed", decision["route"]))
    return outcomes


@pytest.mark.parametrize("seed", range(4))
def test_explain_and_run_decide_the_same(mesh, redis_server, tmp_path, seed):
    rng = random.Random(seed)
    port, log = free_port(), tmp_path / "access.log"
    servers = redis_server("a").port, redis_server("b").port
    router = mesh(
        documents(*rules(rng), port=port, servers=servers),
        args=["--access-log", "json", "--access-log-file", log],
    )
    said = []
    for line in rng.choices(COMMANDS, k=40):
        name, *rest = line.split()
        said.append([mixed(rng, name), *(mixed(rng, word) if len(rest) < 1 else word for word in rest)])
    with Client(port) as client:
        for words in said:
            client(*words)

    def lines():
        return [json.loads(line) for line in log.read_text().splitlines()]

    eventually(lambda: len(lines()) == len(said), what="a line for each request")
    ran = [
        ("denied", line["policy"]) if line["fault"] == "denied" else ("routed", line["route"])
        for line in lines()
    ]
    capture = b"".join(command(*words) for words in said)
    explained = decided(router.file, "--capture", "-", stdin=capture)
    for words, one, other in zip(said, ran, explained, strict=True):
        assert one == other, (words, one, other)
    assert {kind for kind, _ in ran} == {"denied", "routed"}
    # The same by attributes, which are written in any case, too.
    for words, one in list(zip(said, ran, strict=True))[:8]:
        name = words[0].lower()
        attributes = {"command": words[0], "category": mixed(rng, category(name))}
        if name in ("config", "client"):
            attributes["subcommand"] = mixed(rng, words[1])
        elif len(words) > 1:
            attributes |= {"key": words[1], "keys": words[1]}
        pairs = [word for pair in attributes.items() for word in ("-a", "=".join(pair))]
        assert decided(router.file, *pairs) == [one], words


def category(name):
    return {"get": "read", "exists": "read", "config": "admin", "client": "connection"}.get(name, "write")
