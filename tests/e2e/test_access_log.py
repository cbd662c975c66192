"""The access log keeps every line, also those of the last moment, and counts those that it cannot keep."""

import contextlib
import json
import os
import signal
import socket
import threading
import time

import pytest
import redis
from harness import config
from harness.process import eventually, free_port
from harness.resp import command

HOST = "redis.test"


def documents(port, server):
    return [
        config.gateway("gw", "redis", port),
        config.service(HOST, "redis", {"v1": server}),
    ]


def mark(count):
    return b"".join(command("ECHO", f"m{number}") for number in range(count))


@pytest.fixture
def pipe(tmp_path):
    """A log that is read only when somebody reads it."""
    path = tmp_path / "access.pipe"
    os.mkfifo(path)
    # Opened for both, so that neither end waits for the other.
    reader = os.open(path, os.O_RDWR)
    yield path, reader
    with contextlib.suppress(OSError):
        os.close(reader)


def say(port, count):
    """Sends so many requests and reads all answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        sender = threading.Thread(target=client.sendall, args=(mark(count),))
        sender.start()
        left = count
        with client.makefile("rb") as answers:
            while left:
                assert answers.readline().startswith(b"$")
                answers.readline()
                left -= 1
        sender.join()


def test_every_line_is_written_before_the_end(mesh, redis_server, pipe):
    path, reader = pipe
    port = free_port()
    router = mesh(
        documents(port, redis_server("a").port),
        args=["--access-log", "json", "--access-log-file", path],
    )
    count = 3000
    say(port, count)
    router.signal(signal.SIGTERM)
    time.sleep(0.3)
    text, ended = b"", time.monotonic() + 20
    os.set_blocking(reader, False)
    while time.monotonic() < ended:
        try:
            text += os.read(reader, 1 << 20)
        except BlockingIOError:
            if not router.alive():
                break
            time.sleep(0.005)
    assert router.wait() == 0
    operations = [json.loads(line)["operation"] for line in text.splitlines()]
    assert operations.count("echo") == count


def test_lines_that_nobody_takes_are_counted(mesh, redis_server, pipe):
    path, _ = pipe
    port = free_port()
    router = mesh(
        documents(port, redis_server("a").port),
        args=["--access-log", "json", "--access-log-file", path],
    )
    series = "meltemi_access_log_dropped_total"
    assert router.total(series, target=path) == 0 and series in str(router.stats())
    say(port, 18_000)
    eventually(lambda: router.total(series, target=path) > 0, what="dropped lines in the metrics")
    with redis.Redis(port=port) as client:
        assert client.ping()
    # A log that nobody reads does not hold up the end for ever.
    started = time.monotonic()
    router.signal(signal.SIGTERM)
    router.wait(timeout=10)
    assert time.monotonic() - started < 8


def test_requests_that_are_cut_off_at_the_end_are_logged(mesh, redis_server, pipe):
    path, reader = pipe
    port = free_port()
    router = mesh(
        documents(port, redis_server("a").port),
        args=["--access-log", "json", "--access-log-file", path, "--drain-timeout", "1s"],
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(command("BLPOP", "nothing-comes", "30"))
        time.sleep(0.3)
        router.signal(signal.SIGTERM)
        assert router.wait() == 0
    os.set_blocking(reader, False)
    lines = [json.loads(line) for line in os.read(reader, 1 << 20).splitlines()]
    [line] = [line for line in lines if line["operation"] == "blpop"]
    assert line["fault"] == "reset" and "the proxy ended" in line["details"]
