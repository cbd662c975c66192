"""Memory for what waits is bounded for the whole process, and slow readers are served as long as they read."""

import contextlib
import re
import threading
import time

import pytest
from harness import config
from harness.process import eventually, free_port
from harness.resp import Client, command

HOST = "redis-cache.test"

MIB = 1 << 20
BOUND = 256
# Beside what waits: the program, sockets, buffers that grew, what the allocator keeps.
CLIENTS = 60
MARGIN = 128


def single(mesh, port, *args, **limits):
    """A mesh in front of one server."""
    listener = free_port()
    documents = [
        config.gateway("gw", "redis", listener),
        config.service(HOST, "redis", {"v1": port}),
        config.redis_service(HOST, [(None, HOST)]),
    ]
    if limits:
        documents.append(config.listener_policy("gw", **limits))
    return listener, mesh(documents, args=args)


class Watch:
    """Notes the most memory that a process takes, and how long a client that reads waits for answers."""

    def __init__(self, process, port):
        self.process, self.port = process, port
        self.most, self.times, self.failed = 0, [], []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._watch, self._ask)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _watch(self):
        while not self._ended.wait(0.02):
            self.most = max(self.most, self.process.memory() // MIB)

    def _ask(self):
        with Client(self.port, timeout=30) as client:
            while not self._ended.wait(0.02):
                began = time.monotonic()
                try:
                    answer = client("GET", "small")
                except OSError as error:
                    self.failed.append(repr(error))
                    return
                self.times.append(time.monotonic() - began)
                if answer != "value":
                    self.failed.append(answer)


def test_clients_that_do_not_read_are_bounded_together(mesh, redis_server):
    server = redis_server("large")
    with Client(server.port, timeout=30) as admin:
        assert admin("SET", "small", "value") == "OK"
        assert admin("SET", "large", "x" * (25 * MIB)) == "OK"
    port, process = single(mesh, server.port, "--memory", f"{BOUND}MiB")
    with Client(port) as client:
        assert client("GET", "small") == "value"
    assert re.search(rf"bound of bytes that wait.*bytes={BOUND * MIB}", process.output())
    before = process.memory() // MIB
    with contextlib.ExitStack() as stack, Watch(process, port) as watch:
        silent = [stack.enter_context(Client(port)) for _ in range(CLIENTS)]
        for client in silent:
            client.say("GET", "large")
        eventually(lambda: process.total("meltemi_downstream_memory_cut_off_total") > 0, 30)
        time.sleep(3)
    try:
        times = sorted(watch.times)
        assert not watch.failed and len(times) > 10, (watch.failed, len(times))
        # One request may have met the large ones on its connection before the first of them was slow.
        assert times[-2] < 2, times[-5:]
        assert watch.most < before + BOUND + MARGIN, (before, watch.most)
        log = process.output()
        assert re.search(r"WARN client cut off: memory is short.*`--memory`.*downstream=127\S+.*bytes=\d+", log)
        eventually(lambda: process.total("meltemi_downstream_waiting_bytes") == 0, 10)
        eventually(lambda: process.memory() // MIB < before + 64, 10, "memory returns")
    finally:
        with Client(server.port, timeout=30) as admin:
            admin("DEL", "large")


@pytest.mark.parametrize("stops", [0, 5])
def test_a_slow_reader_of_many_replies_gets_them_all(mesh, redis_server, stops):
    """48 MiB of replies, read at 12 MB/s, by a client that shares its connection with others."""
    server = redis_server("large")
    # Small enough that none of them comes in pieces.
    text, count = "x" * (48 << 10), 1000
    with Client(server.port, timeout=30) as admin:
        assert admin("SET", "small", "value") == "OK"
        assert admin("SET", "medium", text) == "OK"
    port, process = single(mesh, server.port)
    with Watch(process, port) as watch, Client(port, timeout=30) as client:
        others = [Client(port, timeout=30) for _ in range(4)]
        client.sock.sendall(command("GET", "medium") * count)
        # They are behind it on its connection.
        for other in others:
            other.say("GET", "small")
        time.sleep(stops)
        for number in range(count):
            assert len(client.read()) == len(text), number
            time.sleep(1 / 250)
        # It has a connection of its own now.
        client.sock.sendall(command("GET", "medium") * count)
        for number in range(count):
            assert len(client.read()) == len(text), number
        for other in others:
            assert other.read() == "value"
            other.close()
    assert not watch.failed and max(watch.times) < 3, (watch.failed, sorted(watch.times)[-5:])
    assert process.total("meltemi_downstream_cut_off_total") == 0
