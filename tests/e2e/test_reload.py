"""Configuration that changes under load, and a shutdown that waits for its calls."""

import contextlib
import signal
import threading
import time

import pytest
import redis
import yaml
from harness import config, thrifty
from harness.config import route, to
from harness.process import eventually, free_port
from harness.wire import Closed, Connection
from test_dubbo import address, call

SERVICE = "reload.test"


def documents(port, protocol, versions, target="v1"):
    return [
        config.gateway("gw", protocol, port),
        config.service(SERVICE, protocol, versions),
        config.destination_rule(SERVICE),
        config.meta_router("gw", SERVICE, [route(to(SERVICE, target))]),
    ]


@pytest.fixture
def thrift(thrift_server):
    return {tag: thrift_server("python", tag, "framed", "binary").port for tag in ("v1", "v2")}


class Load:
    """Clients that call all the time and keep what they were answered."""

    def __init__(self, port, clients=4):
        self.answers, self.failures = [], []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(port,), daemon=True) for _ in range(clients)
        ]

    def _run(self, port):
        try:
            with thrifty.client(port) as client:
                while not self._stop.is_set():
                    self.answers.append(client.tag())
        except Exception as error:  # noqa: BLE001: told at the end
            self.failures.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.answers or self.failures, what="the first call")
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def latest(self, tag):
        """Whether the last calls all went there."""
        return len(self.answers) > 50 and set(self.answers[-50:]) == {tag}


@pytest.mark.parametrize("how", ["file", "SIGHUP"])
def test_routes_change_without_a_dropped_call(mesh, thrift, how):
    port = free_port()
    router = mesh(documents(port, "thrift", thrift))
    with Load(port) as load:
        target = "v1"
        for _ in range(4):
            eventually(lambda: load.latest(target), what=f"all calls going to {target}")  # noqa: B023
            target = "v2" if target == "v1" else "v1"
            router.write(documents(port, "thrift", thrift, target))
            if how == "SIGHUP":
                router.hang_up()
        eventually(lambda: load.latest(target), what=f"all calls going to {target}")
    assert not load.failures
    assert set(load.answers) == {"v1", "v2"}


def test_a_call_in_flight_ends_where_it_began(mesh, thrift):
    port = free_port()
    router = mesh(documents(port, "thrift", thrift))
    answers = []

    def slow():
        with thrifty.client(port) as client:
            answers.append(client.slow(2000))
            answers.append(client.tag())

    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.3)
    router.write(documents(port, "thrift", thrift, "v2"))
    router.hang_up()

    def moved():
        with thrifty.client(port) as client:
            return client.tag() == "v2"

    eventually(moved, what="the new route")
    thread.join()
    assert answers == ["v1", "v2"]


def test_a_typo_is_refused_and_the_old_configuration_stays(mesh, thrift):
    port = free_port()
    router = mesh(documents(port, "thrift", thrift))
    good = yaml.safe_dump_all(documents(port, "thrift", thrift, "v2"))
    with Load(port, clients=1) as load:
        for broken, hint in [
            (good.replace("subset:", "subsett:"), "subsett"),
            (good + "\n  bad: [unclosed", "meltemi.yaml:"),
            (good.replace("kind: MetaRouter", "kind: MetaRuoter"), "MetaRuoter"),
        ]:
            before = router.output()
            router.write(broken)
            router.hang_up()
            eventually(
                lambda: hint in router.output()[len(before) :],  # noqa: B023
                what=f"{hint!r} in the log",
            )
        eventually(lambda: load.latest("v1"), what="calls to v1")
        assert set(load.answers) == {"v1"}
        assert router.admin("/ready")[0] == 200
        router.write(good)
        router.hang_up()
        eventually(lambda: load.latest("v2"), what="calls to v2")
    assert not load.failures


def refused(router, text, hint):
    """Writes a configuration and waits until the log refuses it."""
    before = router.output()
    router.write(text)
    router.hang_up()

    def logged():
        said = router.output()[len(before) :]
        return hint in said and "the old" in said

    eventually(logged, what=f"{hint!r} in the log")


def test_a_live_listener_does_not_close_by_mistake(mesh, thrift):
    port = free_port()
    router = mesh(documents(port, "thrift", thrift))
    good = yaml.safe_dump_all(documents(port, "thrift", thrift))
    gateway = config.gateway("gw", "thrift", free_port())
    with Load(port, clients=1) as load:
        for broken, hint in [
            (good.replace("tcp-thrift-gw", "tcp-thrifd-gw"), "did you mean `thrift`?"),
            (good.replace("tcp-thrift-gw", "tcp"), "is still written, and would close"),
            (good.replace("tcp-thrift-gw", "http-gw"), "is still written, and would close"),
            (good + "---\n" + yaml.safe_dump(gateway), "is still written, and would close"),
            (yaml.safe_dump_all(documents(port, "thrift", thrift)[1:]), "has no listener"),
        ]:
            refused(router, broken, hint)
            time.sleep(0.1)
            with thrifty.client(port) as client:
                assert client.tag() == "v1"
    assert not load.failures


def test_an_empty_file_is_no_configuration(mesh, thrift):
    """An editor that truncates before it writes must not end every listener."""
    port = free_port()
    router = mesh(documents(port, "thrift", thrift))
    with Load(port, clients=1) as load:
        for nothing in ("", "---\n", "# only a comment\n"):
            router.write(nothing)
            router.hang_up()
            time.sleep(0.3)
        with thrifty.client(port) as client:
            assert client.tag() == "v1"
        router.write(documents(port, "thrift", thrift, "v2"))
        router.hang_up()
        eventually(lambda: load.latest("v2"), what="calls to v2")
    assert not load.failures


def test_listeners_come_and_go(mesh, thrift):
    one, two = free_port(), free_port()
    router = mesh(documents(one, "thrift", thrift))
    more = [
        *documents(one, "thrift", thrift),
        config.gateway("gw2", "thrift", two),
        config.meta_router("gw2", SERVICE, [route(to(SERVICE, "v2"))]),
    ]
    with Load(one, clients=1) as load:
        router.write(more)
        router.hang_up()

        def second():
            with contextlib.suppress(Exception), thrifty.client(two) as client:
                return client.tag() == "v2"

        eventually(second, what="the second listener")
        with thrifty.client(two) as kept:
            assert kept.tag() == "v2"
            router.write(documents(one, "thrift", thrift))
            router.hang_up()

            def gone():
                try:
                    Connection(two, timeout=1).close()
                except OSError:
                    return True
                return False

            eventually(gone, what="the end of the second listener")
        eventually(lambda: load.latest("v1"), what="calls to v1")
    assert not load.failures


def test_endpoints_change_under_load(mesh, thrift):
    port = free_port()
    router = mesh(documents(port, "thrift", {"v1": thrift["v1"]}))
    with Load(port) as load:
        eventually(lambda: load.latest("v1"), what="calls to v1")
        # The same subset has another endpoint now.
        router.write(documents(port, "thrift", {"v1": thrift["v2"]}))
        router.hang_up()
        eventually(lambda: load.latest("v2"), what="calls to the new endpoint")
    assert not load.failures


def test_a_folder_of_files_is_watched(tmp_path, mesh, thrift):
    """As a ConfigMap is mounted: a link to a folder, which is swapped."""
    from harness.meltemi import Meltemi

    port = free_port()
    root = tmp_path / "mounted"

    def version(name, target):
        folder = root / name
        folder.mkdir(parents=True)
        for number, document in enumerate(documents(port, "thrift", thrift, target)):
            (folder / f"{number}.yaml").write_text(yaml.safe_dump(document))
        return folder

    version("..1", "v1")
    (root / "..data").symlink_to("..1")
    for number in range(4):
        (root / f"{number}.yaml").symlink_to(f"..data/{number}.yaml")

    class Folder(Meltemi):
        def write(self, documents):
            self.file = root

    router = Folder(tmp_path / "run", None)
    try:
        with Load(port, clients=1) as load:
            eventually(lambda: load.latest("v1"), what="calls to v1")
            version("..2", "v2")
            (root / "..tmp").symlink_to("..2")
            (root / "..tmp").rename(root / "..data")
            eventually(lambda: load.latest("v2"), what="calls to v2")
        assert not load.failures
    finally:
        router.stop()


def test_dubbo_calls_survive_reloads(mesh, dubbo_provider, java_consumer):
    versions = {tag: dubbo_provider("dubbo3", tag).ready().port for tag in ("v1", "v2")}
    port = free_port()
    router = mesh(documents(port, "dubbo", versions))
    client = java_consumer("dubbo3")
    url = address(port)
    call(client, url, "tag")
    answers = []
    for number in range(600):
        answers.append(client.send(url=url, method="slow", args=[20]))
        if number % 100 == 50:
            target = "v2" if number % 200 == 50 else "v1"
            router.write(documents(port, "dubbo", versions, target))
            router.hang_up()
        time.sleep(0.003)
    assert {answer.result() for answer in answers} == {"v1", "v2"}


def test_redis_pipelines_survive_reloads(mesh, redis_server):
    a, b = redis_server("a").port, redis_server("b").port
    port = free_port()
    router = mesh(documents(port, "redis", {"v1": a, "v2": b}))
    with redis.Redis(port=port) as client:
        for number in range(60):
            pipeline = client.pipeline(transaction=False)
            for at in range(200):
                pipeline.echo(f"{number}-{at}")
            if number % 10 == 5:
                target = "v2" if number % 20 == 5 else "v1"
                router.write(documents(port, "redis", {"v1": a, "v2": b}, target))
                router.hang_up()
            assert pipeline.execute() == [f"{number}-{at}".encode() for at in range(200)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_shutdown_waits_for_its_calls(mesh, thrift, number):
    port = free_port()
    router = mesh(documents(port, "thrift", thrift))
    answers = []

    def slow():
        with thrifty.client(port) as client:
            answers.append(client.slow(1500))

    threads = [threading.Thread(target=slow) for _ in range(5)]
    for thread in threads:
        thread.start()
    with thrifty.client(port) as idle:
        idle.tag()
        time.sleep(0.3)
        router.signal(number)

        def refuses():
            try:
                Connection(port, timeout=1).close()
            except OSError:
                return True
            return False

        eventually(refuses, what="the end of new connections")
        for thread in threads:
            thread.join(timeout=10)
        assert answers == ["v1"] * 5
        # An idle connection does not hold the shutdown up.
        assert router.wait(timeout=8) == 0


def test_a_drain_shows_in_readiness(mesh, thrift):
    port = free_port()
    router = mesh(documents(port, "thrift", thrift))
    done = []

    def slow():
        with thrifty.client(port) as client:
            done.append(client.slow(1500))

    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.3)
    router.signal(signal.SIGTERM)
    eventually(lambda: router.admin("/ready")[0] == 503, timeout=1.2, what="readiness turning off")
    thread.join()
    assert done == ["v1"] and router.wait() == 0


def test_a_drain_has_an_end(mesh, thrift):
    port = free_port()
    router = mesh(documents(port, "thrift", thrift), args=["--drain-timeout", "1s"])
    with Connection(port) as stuck:
        stuck.send(b"\x00\x00\x01\x00\x80\x01\x00\x01")
        with thrifty.client(port) as client:
            thread = threading.Thread(target=lambda: _quietly(client.slow, 20_000))
            thread.start()
            time.sleep(0.3)
            started = time.monotonic()
            router.signal(signal.SIGTERM)
            router.wait(timeout=5)
            assert 0.8 < time.monotonic() - started < 4
            thread.join(timeout=5)
            assert not thread.is_alive()


def _quietly(do, *args):
    with contextlib.suppress(Exception):
        do(*args)


def test_a_second_signal_ends_at_once(mesh, thrift):
    port = free_port()
    router = mesh(documents(port, "thrift", thrift))
    with thrifty.client(port) as client:
        thread = threading.Thread(target=lambda: _quietly(client.slow, 20_000))
        thread.start()
        time.sleep(0.3)
        router.signal(signal.SIGTERM)
        time.sleep(0.3)
        router.signal(signal.SIGTERM)
        router.wait(timeout=3)
        thread.join(timeout=5)


def test_dubbo_clients_are_told_to_go_elsewhere(mesh, dubbo_provider):
    """A read-only event, as Dubbo's own servers send when they leave."""
    from harness import dubbo

    port = free_port()
    server = dubbo_provider("dubbo3", "v1").ready()
    router = mesh(documents(port, "dubbo", {"v1": server.port}))
    with Connection(port) as client:
        client.send(dubbo.request(1))
        assert dubbo.read(client).id == 1
        router.signal(signal.SIGTERM)
        with contextlib.suppress(Closed):
            event = dubbo.read(client)
            assert event.is_event and event.is_request and b"R" in event.body
        assert router.wait() == 0


@pytest.mark.parametrize("whose", ["gateway", "service"])
def test_a_mistyped_port_name_is_refused_and_the_listener_goes_on(mesh, thrift, whose):
    port = free_port()
    router = mesh(documents(port, "thrift", thrift))
    good = yaml.safe_dump_all(documents(port, "thrift", thrift, "v2"))
    mistyped = {
        "gateway": ("tcp-thrift-gw", "tcp-thrfit-gw"),
        "service": ("tcp-metaprotocol-thrift", "tcp-metaprotocol-thrfit"),
    }[whose]
    with Load(port, clients=1) as load:
        refused(router, good.replace(*mistyped), "thrfit")
        assert "did you mean `thrift`?" in router.output()
        with thrifty.client(port) as client:
            assert client.tag() == "v1"
        router.write(good)
        router.hang_up()
        eventually(lambda: load.latest("v2"), what="calls to v2")
    assert not load.failures
