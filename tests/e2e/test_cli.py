"""The commands: check, explain, decode, demo, run; what they print and how they end."""

import json
import re

import pytest
import yaml
from harness import config, dubbo, meltemi, quill
from harness.config import route, to
from harness.process import Child, free_port

SERVICE = "cli.test"


def documents(**options):
    return [
        config.gateway("gw", "dubbo", options.pop("port", 20881)),
        config.service(SERVICE, "dubbo", {"v1": 20891, "v2": 20892}),
        config.destination_rule(SERVICE),
        config.meta_router(
            "gw",
            SERVICE,
            [
                route(to(SERVICE, "v2"), when={"method": {"prefix": "say"}}, name="greetings"),
                route(to(SERVICE, "v1"), name="rest"),
            ],
        ),
    ]


@pytest.fixture
def file(tmp_path):
    """Writes a configuration and tells where."""

    def write(content=None):
        path = tmp_path / "mesh.yaml"
        content = documents() if content is None else content
        path.write_text(content if isinstance(content, str) else yaml.safe_dump_all(content))
        return path

    return write


def said(done):
    return done.stdout.decode() + done.stderr.decode()


def test_help_and_version():
    for args in (["--help"], ["run", "--help"], ["--version"]):
        done = meltemi.command(*args)
        assert done.returncode == 0 and done.stdout and not done.stderr
    assert re.match(r"meltemi \d+\.\d+", meltemi.command("--version").stdout.decode())


@pytest.mark.parametrize(
    "args", [[], ["fly"], ["run"], ["run", "x", "--admin", "nowhere"], ["check", "--fast", "x"]]
)
def test_a_wrong_command_line_ends_with_2(args):
    done = meltemi.command(*args)
    assert done.returncode == 2 and done.stderr


def test_check_accepts_and_refuses(file):
    good = meltemi.command("check", file())
    assert good.returncode == 0, said(good)
    assert meltemi.command("check", "--strict", file()).returncode == 0


TYPOS = {
    "a field": ("subset: v2", "subsett: v2", "subset"),
    "a kind": ("kind: MetaRouter", "kind: MetaRuoter", "MetaRouter"),
    "a subset": ("subset: v2", "subset: v3", "v3"),
    "a host": ("host: cli.test\n        port", "host: cil.test\n        port", "cil.test"),
    "a test": ("prefix: say", "perfix: say", "prefix"),
    "a number": ("number: 9000\n    protocol", "number: many\n    protocol", "many"),
    "an indent": ("  hosts:\n  - cli.test", "   hosts:\n  - cli.test", ""),
    "a protocol": ("tcp-dubbo-gw", "tcp-dubo-gw", "dubbo"),
}


@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_is_told_with_its_line_and_a_remedy(file, typo):
    good = yaml.safe_dump_all(documents())
    before, after, hint = TYPOS[typo]
    assert before in good, good
    path = file(good.replace(before, after))
    done = meltemi.command("check", "--strict", path)
    text = said(done)
    assert done.returncode == 1, text
    assert re.search(r"mesh\.yaml:\d+", text), text
    assert hint in text, text


def test_every_mistake_is_told_at_once(file):
    good = yaml.safe_dump_all(documents())
    path = file(good.replace("subset: v2", "subsett: v2").replace("prefix: say", "perfix: say"))
    text = said(meltemi.command("check", path))
    assert "subsett" in text and "perfix" in text


def test_missing_files_are_told(tmp_path):
    for command in ("check", "run"):
        done = meltemi.command(command, tmp_path / "none.yaml")
        assert done.returncode == 1 and b"none.yaml" in done.stderr, said(done)


def test_run_refuses_a_broken_configuration(file):
    done = meltemi.command("run", file("kind: [unclosed"), "--admin", "off")
    assert done.returncode == 1 and re.search(r"mesh\.yaml:\d+", said(done))


def test_run_refuses_a_port_in_use(file, tmp_path):
    from harness.wire import Server

    with Server(lambda connection: None) as taken:
        done = meltemi.command("run", file(documents(port=taken.port)), "--admin", "off")
    assert done.returncode == 1 and str(taken.port) in said(done), said(done)


def test_explain_names_the_route(file):
    path = file()
    for method, name, subset in [("sayHello", "greetings", "v2"), ("add", "rest", "v1")]:
        done = meltemi.command("explain", path, "--attribute", f"method={method}")
        text = said(done)
        assert done.returncode == 0, text
        assert name in text and f"|{subset}|" in text, text
        done = meltemi.command("explain", path, "-a", f"method={method}", "--format", "json")
        assert name in json.dumps(json.loads(done.stdout)), said(done)


def test_explain_tells_what_is_done_if_it_fails_and_takes_a_client(file):
    path = file()
    client = ["--source-ip", "10.0.0.1", "--principal", "spiffe://cluster.local/ns/shop/sa/web"]
    done = meltemi.command("explain", path, "-a", "method=add", *client)
    assert done.returncode == 0 and "retry up to 2 times, elsewhere" in said(done), said(done)
    done = meltemi.command("explain", path, "-a", "method=add", "--source-ip", "10.0.0")
    assert done.returncode == 2 and b"--source-ip" in done.stderr, said(done)


def test_explain_wants_attributes_that_exist(file):
    thrift = [
        config.gateway("gw", "thrift", 20881),
        config.service(SERVICE, "thrift", {"v1": 20891}),
        config.meta_router("gw", SERVICE, [route(to(SERVICE))]),
    ]
    done = meltemi.command("explain", file(thrift), "-a", "methud=x")
    assert done.returncode == 1 and b"method" in done.stderr


def test_explain_a_capture(file, tmp_path):
    capture = tmp_path / "capture.bin"
    capture.write_bytes(dubbo.request(1) + dubbo.request(2, "add", ()))
    done = meltemi.command("explain", file(), "--capture", capture)
    text = said(done)
    assert done.returncode == 0 and text.index("greetings") < text.rindex("rest"), text


def test_decode_requests_and_responses(tmp_path):
    capture = tmp_path / "capture.bin"
    capture.write_bytes(dubbo.request(7, entries={"user": "joe"}) + dubbo.request(8, "add", ()))
    for protocol in ("dubbo", "auto"):
        done = meltemi.command("decode", capture, "--protocol", protocol, "--format", "json")
        assert done.returncode == 0, said(done)
        first, second = (json.loads(line) for line in done.stdout.splitlines())
        assert first["kind"] == "request" and first["id"] == 7
        assert first["attributes"]["method"] == "sayHello"
        assert first["attributes"]["user"] == "joe"
        assert second["attributes"]["method"] == "add" and second["offset"] == first["length"]
    text = meltemi.command("decode", capture)
    assert text.returncode == 0 and b"sayHello" in text.stdout
    reply = meltemi.command(
        "decode", "-", "--protocol", "dubbo", "--side", "client", "--format", "json",
        stdin=dubbo.response(7) + dubbo.response(8, dubbo.string("no"), status=70),
    )  # fmt: skip
    good, bad = (json.loads(line) for line in reply.stdout.splitlines())
    assert (good["status"], bad["status"]) == ("ok", "failed"), said(reply)


def test_decode_knows_every_protocol_from_its_first_bytes():
    for data, name in [
        (dubbo.request(1), "dubbo"),
        (b"*1\r\n$4\r\nPING\r\n", "redis"),
        (b"\x80\x01\x00\x01\x00\x00\x00\x03add\x00\x00\x00\x01\x00", "thrift"),
        (quill.call(1, "s", "m"), "quill"),
    ]:
        told = meltemi.command("decode", "-", "--format", "json", stdin=data)
        named = meltemi.command("decode", "-", "--protocol", name, "--format", "json", stdin=data)
        assert told.returncode == named.returncode == 0, said(told)
        assert told.stdout == named.stdout and told.stdout


def test_decode_tells_what_is_wrong_and_where():
    done = meltemi.command(
        "decode", "-", "--protocol", "dubbo", "--format", "json", stdin=dubbo.request(1) + b"junk" * 9
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and lines[0]["kind"] == "request"
    assert lines[1]["error"]["offset"] == len(dubbo.request(1)), lines
    half = meltemi.command("decode", "-", "--format", "json", stdin=dubbo.request(1)[:-3])
    assert "incomplete" in json.loads(half.stdout.splitlines()[-1]), said(half)
    for args in (["--protocol", "smtp"], []):
        done = meltemi.command("decode", "-", *args, stdin=b"EHLO you\r\n")
        assert done.returncode == 1 and b"redis" in done.stderr, said(done)


def test_demo_shows_shares_and_ends():
    done = meltemi.command("demo", "--once", timeout=60)
    text = said(done)
    assert done.returncode == 0, text
    assert re.search(r"v1.*v2", text, re.S), text


def test_reference_pages():
    for page in ("configuration", "metrics", "protocols"):
        done = meltemi.command("reference", page)
        assert done.returncode == 0 and len(done.stdout) > 500
    assert b"meltemi_downstream_requests" in meltemi.command("reference", "metrics").stdout
    assert b"bolt" in meltemi.command("reference", "protocols").stdout


def test_run_without_an_admin_server(file, tmp_path):
    port = free_port()
    run = Child(
        "no-admin",
        [meltemi.binary(), "run", file(documents(port=port)), "--admin", "off"],
        tmp_path,
    )
    try:
        run.wait_port(port)
    finally:
        run.stop()


def test_access_log_has_a_line_per_request(mesh, tmp_path, redis_server):
    import redis as redis_py

    port = free_port()
    log = tmp_path / "access.log"
    router = mesh(
        [
            config.gateway("gw", "redis", port),
            config.service(SERVICE, "redis", {"v1": redis_server("a").port}),
            config.meta_router("gw", SERVICE, [route(to(SERVICE), name="all")]),
        ],
        args=["--access-log", "json", "--access-log-file", log],
    )
    with redis_py.Redis(port=port, protocol=2) as client:
        client.set("k", "v")
        client.get("k")
    router.stop()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    text = json.dumps(lines).lower()
    assert len(lines) >= 2 and '"get"' in text and '"set"' in text, text
