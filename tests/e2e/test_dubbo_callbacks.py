"""Callback arguments of Dubbo: the server calls an object that lives at its client."""

import pytest
from harness import config
from harness.peers import HOST, java
from harness.process import Child, eventually, free_port

SERVICE = "dubbo-notifier.test"


class Notifier(Child):
    """A provider that calls its callers back."""

    def __init__(self, module, log_dir):
        self.port = free_port()
        command = java(module, "Callbacks", ["provider", HOST, self.port, "P"], log_dir)
        super().__init__(f"{module}-notifier", command, log_dir)
        self.wait_for("READY", timeout=60)
        self.wait_port(self.port)


class Listener(Child):
    """A consumer that subscribes by its name, and says what the provider answers to each line."""

    def __init__(self, module, port, name, log_dir):
        url = f"dubbo://{HOST}:{port}"
        command = java(module, "Callbacks", ["consumer", url, name], log_dir)
        super().__init__(f"listener-{name}", command, log_dir, pipes=True)
        assert self.answer() == "READY P"

    def answer(self):
        # Some libraries log to the standard output, whoever else uses it.
        for line in self.process.stdout:
            if line.startswith((b"READY", b"P")):
                return line.decode().strip()
        raise AssertionError(f"{self.name} ended:\n{self.output()[-4000:]}")

    def __call__(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        return self.answer()


@pytest.fixture
def notifier(tmp_path):
    # Dubbo 3.3 marks callbacks only for what a registry told it, and 2.7 cannot read its calls.
    child = Notifier("dubbo2", tmp_path)
    yield child
    child.kill()
    child.stop()


@pytest.fixture
def listen(tmp_path):
    """Starts a consumer that subscribes by its name."""
    started = []

    def start(port, name):
        started.append(Listener("dubbo2", port, name, tmp_path))
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.stop()


def behind(mesh, notifier, sharing):
    port = free_port()
    documents = [
        config.gateway("gw", "dubbo", port),
        config.service(SERVICE, "dubbo", {"v1": notifier.port}),
        config.meta_router("gw", SERVICE, [config.route(config.to(SERVICE))]),
    ]
    if sharing:
        documents.append(config.destination_policy(SERVICE, sharing=sharing))
    return port, mesh(documents)


def test_a_server_calls_each_of_its_clients(mesh, notifier, listen):
    port, process = behind(mesh, notifier, "exclusive")
    a, b = listen(port, "a"), listen(port, "b")
    for text in ("one", "two", "three"):
        assert a(text) == f"P; a heard {text}; b heard {text}"
    b.kill()
    eventually(lambda: process.total("meltemi_upstream_connections_active") == 1)
    assert a("four") in ("P; a heard four", "P; a heard four; b failed")
    assert process.total("meltemi_upstream_callbacks_total") == 7
    assert process.total("meltemi_upstream_server_requests_total") == 0


def test_over_a_shared_connection_it_cannot(mesh, notifier, listen):
    port, process = behind(mesh, notifier, None)
    a = listen(port, "a")
    for text in ("one", "two"):
        a(text)
    assert process.total("meltemi_upstream_server_requests_total") > 0
    warning = "over a connection that clients share"
    assert process.output().count(warning) == 1
