"""Servers that hold the same data are restarted one after the other, while clients ask them."""

import collections
import signal
import threading
import time

import pytest
from harness import config, peers
from harness.process import eventually, free_port
from harness.resp import Client, command

HOST = "redis-rolling.test"
KEYS, CLIENTS, DEPTH = 64, 8, 16


class Replica:
    """A server that can be restarted on its port, with its data."""

    def __init__(self, tag, log_dir):
        dump = ("--dbfilename", f"{tag}.rdb")
        self._make = lambda port: peers.RedisServer(tag, log_dir, *dump, port=port)
        self.server = self._make(None)
        self.port = self.server.port
        with Client(self.port) as direct:
            for number in range(KEYS):
                assert direct("SET", f"k{number}", f"v{number}") == "OK"
            assert direct("SAVE") == "OK"

    def restart(self, kind):
        if kind == "shutdown":
            self.server.signal(signal.SIGTERM)
        else:
            self.server.signal(signal.SIGKILL)
        self.server.process.wait(30)
        time.sleep(0.3)
        self.server = self._make(self.port)


class Load(threading.Thread):
    """A client that asks for values, many at once."""

    def __init__(self, port, number):
        super().__init__()
        self.port, self.number = port, number
        self.done = threading.Event()
        self.answers = collections.Counter()
        self.batches = 0

    def run(self):
        with Client(self.port, timeout=30) as client:
            while not self.done.is_set():
                keys = [(self.number + self.batches + step) % KEYS for step in range(DEPTH)]
                client.sock.sendall(b"".join(command("GET", f"k{key}") for key in keys))
                for key in keys:
                    answer = client.read()
                    right = answer == f"v{key}"
                    self.answers["right" if right else str(answer)] += 1
                self.batches += 1


@pytest.mark.parametrize("kind", ["shutdown", "kill"])
@pytest.mark.parametrize("retries", [False, True])
def test_a_rolling_restart_fails_nothing_that_was_not_sent(mesh, tmp_path, kind, retries):
    replicas = [Replica(f"rolling-{number}", tmp_path) for number in range(3)]
    port = free_port()
    fields = {"retries": {"attempts": 3, "on": ["reset"]}} if retries else {}
    mesh(
        [
            config.gateway("gw", "redis", port),
            config.service(HOST, "redis", {"v1": [one.port for one in replicas]}),
            config.destination_policy(HOST, replicas=True, retryBudget={"minRetryConcurrency": 1000}),
            config.meta_router("gw", HOST, [config.route(config.to(HOST), **fields)]),
        ]
    )
    loads = [Load(port, number) for number in range(CLIENTS)]
    try:
        for load in loads:
            load.start()
        for replica in replicas:
            before = sum(load.batches for load in loads)
            eventually(lambda before=before: sum(load.batches for load in loads) > before + 50)
            replica.restart(kind)
        time.sleep(0.5)
    finally:
        for load in loads:
            load.done.set()
        for load in loads:
            load.join(60)
        for replica in replicas:
            replica.server.stop()
    answers = sum((load.answers for load in loads), collections.Counter())
    failed = {text: count for text, count in answers.items() if text != "right"}
    # A client that has closed its connection would have ended its thread.
    assert all(load.batches > 20 for load in loads) and answers["right"] > 10_000
    # What failed was on its way to the server that ended.
    assert not [text for text in failed if "connection" not in text or "connecting" in text], failed
    assert sum(failed.values()) <= CLIENTS * DEPTH * len(replicas), failed
    if retries:
        assert not failed
