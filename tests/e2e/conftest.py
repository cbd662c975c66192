"""Fixtures: real servers for the whole run, a fresh meltemi for each test that asks."""

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "peers" / "thrift" / "target"))

from harness import grid, matrix, peers, real  # noqa: E402
from harness.meltemi import Meltemi  # noqa: E402
from harness.process import LIVE, ROOT, LinePeer  # noqa: E402
from harness.stage import Stage  # noqa: E402


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    """Where servers that live for the whole run write."""
    return tmp_path_factory.mktemp("peers")


@pytest.fixture
def mesh(tmp_path):
    """Starts meltemi on the given documents; ends it with the test."""
    started = []

    def start(documents, **options):
        options.setdefault("name", f"meltemi-{len(started)}" if started else "meltemi")
        started.append(Meltemi(tmp_path, documents, **options))
        return started[-1]

    yield start
    for child in started:
        child.stop()


@pytest.fixture
def stage(request, mesh, tmp_path):
    """Servers that do as they are told, a mesh, and clients, of the protocol in the rule's column."""
    made = Stage(request.param, mesh, tmp_path)
    yield made
    made.close()


class Pool:
    """Makes each peer once, when it is first asked for, and ends them all with the run."""

    def __init__(self, make):
        self._make = make
        self._made = {}

    def __call__(self, *key, **options):
        at = (key, tuple(sorted(options.items())))
        if at in self._made and not self._made[at].alive():
            self._made.pop(at).stop()
        if at not in self._made:
            self._made[at] = self._make(*key, **options)
        return self._made[at]

    def stop(self):
        for child in self._made.values():
            child.stop()


def pooled(make):
    """A session fixture that is a `Pool`."""

    @pytest.fixture(scope="session")
    def fixture(logs):
        pool = Pool(lambda *key, **options: make(logs, *key, **options))
        yield pool
        pool.stop()

    return fixture


redis_server = pooled(lambda logs, tag, *args: peers.RedisServer(tag, logs, *args))
thrift_server = pooled(
    lambda logs, language, tag, transport="framed", protocol="binary", **options: peers.ThriftServer(
        language, tag, transport, protocol, logs, **options
    )
)
dubbo_provider = pooled(
    lambda logs, module, tag: peers.JavaServer(module, tag, logs, ["blue:1.0.0", "green:2.0.0"])
)
oracle = pooled(lambda logs, module: peers.Oracle(module, logs))
java_consumer = pooled(lambda logs, module: peers.java_client(module, logs))
bolt_provider = pooled(lambda logs, tag: peers.JavaServer("bolt", tag, logs))
node = pooled(lambda logs, script, *args: peers.node_client(script, logs, *args))


@pytest.fixture
def pair(request, dubbo_provider, java_consumer, thrift_server, redis_server):
    """Two servers and a client of a protocol as their makers ship them."""
    made = {
        "dubbo": lambda: real.Dubbo(dubbo_provider, java_consumer),
        "thrift": lambda: real.Thrift(thrift_server),
        "redis": lambda: real.Redis(redis_server),
    }[request.param]()
    yield made
    made.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the last words of everything that runs."""
    outcome = yield
    report = outcome.get_result()
    grid.record(item, report)
    if not report.failed:
        return
    for child in LIVE:
        text = child.output()
        quiet = isinstance(child, LinePeer) and not text
        if not quiet:
            limit = 8000 if child.name.startswith("meltemi") else 1500
            report.sections.append((f"log of {child.name}", text[-limit:]))


def pytest_terminal_summary(terminalreporter):
    """Prints what was tried, and writes it to docs/ when asked."""
    for title, page, tried, made in [
        ("interop matrix", "interop.md", matrix.TRIED, matrix.markdown),
        ("rules and protocols", "rules.md", grid.tried(), grid.markdown),
    ]:
        if not tried:
            continue
        table = made()
        terminalreporter.section(title)
        terminalreporter.write(table)
        if os.environ.get("MELTEMI_WRITE_INTEROP") == "1":
            target = ROOT / "docs" / page
            target.write_text(table)
            terminalreporter.write_line(f"written to {target.relative_to(ROOT)}")
