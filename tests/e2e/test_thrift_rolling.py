"""Thrift servers are restarted one after the other, while clients call them."""

import collections
import signal
import threading
import time

import pytest
from harness import config, peers, thrifty
from harness.process import eventually, free_port

HOST = "thrift-rolling.test"
CLIENTS = 8


class Load(threading.Thread):
    """A client that calls one method after the other, on one connection."""

    def __init__(self, port, number):
        super().__init__()
        self.port, self.number = port, number
        self.done = threading.Event()
        self.answers = collections.Counter()

    def run(self):
        with thrifty.client(self.port, timeout=30.0) as client:
            step = 0
            while not self.done.is_set():
                step += 1
                try:
                    right = client.add(self.number, step) == self.number + step
                    self.answers["right" if right else "wrong"] += 1
                except Exception as error:  # noqa: BLE001 - what a client sees is what is counted
                    self.answers[str(error)] += 1


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_a_rolling_restart_fails_nothing_that_was_not_sent(mesh, tmp_path, kind):
    def server(number, port=None):
        tag = f"rolling-{number}"
        return peers.ThriftServer("python", tag, "framed", "binary", tmp_path, port=port)

    servers = [server(number) for number in range(3)]
    port = free_port()
    mesh(
        [
            config.gateway("gw", "thrift", port),
            config.service(HOST, "thrift", {"v1": [one.port for one in servers]}),
            config.meta_router("gw", HOST, [config.route(config.to(HOST))]),
        ]
    )
    loads = [Load(port, number) for number in range(CLIENTS)]
    try:
        for load in loads:
            load.start()
        for number, one in enumerate(servers):
            before = sum(load.answers["right"] for load in loads)
            eventually(lambda before=before: sum(load.answers["right"] for load in loads) > before + 200)
            one.signal(kind)
            one.process.wait(30)
            time.sleep(0.3)
            servers[number] = server(number, one.port)
        time.sleep(0.5)
    finally:
        for load in loads:
            load.done.set()
        for load in loads:
            load.join(60)
        for one in servers:
            one.stop()
    answers = sum((load.answers for load in loads), collections.Counter())
    failed = {text: count for text, count in answers.items() if text != "right"}
    assert answers["right"] > 600 and not answers["wrong"]
    # What failed had been sent: to the server that ended, or into the backlog of its socket.
    assert not [text for text in failed if "connecting" in text or "endpoint" in text], failed
    assert sum(failed.values()) <= 3 * CLIENTS * len(servers), failed
