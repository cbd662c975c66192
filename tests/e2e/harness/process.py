"""A child process with a log, ended by its own pid and by nothing else."""

import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[2]
ROOT = TESTS.parent
PEERS = TESTS / "peers"


# Below those that the system gives to connections, which would take one between its choice and its use.
PORTS = random.sample(range(15_000, 32_000), 17_000)


def free_port():
    """A loopback port that nobody listens on; none is given twice."""
    while True:
        port = PORTS.pop()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def eventually(check, timeout=10.0, what="it"):
    """Waits until `check()` is true, and returns what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {timeout} s")
        time.sleep(0.02)


def accepts(port):
    """Whether somebody listens on the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


# Those that run now: a failed test shows their logs.
LIVE = []


class Child:
    """A started program. Its output goes to `log`, unless the caller reads its pipes."""

    def __init__(self, name, command, log_dir, *, pipes=False, env=None, cwd=None):
        self.name = name
        self.log = pathlib.Path(log_dir) / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log_file = self.log.open("ab")
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else self._log_file,
            stderr=self._log_file,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
        LIVE.append(self)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def output(self):
        """What it has logged so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, text, timeout=30.0):
        """Waits until its log has the text."""

        def seen():
            if text in self.output():
                return True
            assert self.alive(), f"{self.name} ended early:\n{self.output()[-4000:]}"
            return False

        eventually(seen, timeout, f"{text!r} in the log of {self.name}")

    def wait_port(self, port, timeout=30.0):
        """Waits until it listens."""

        def listening():
            assert self.alive(), f"{self.name} ended early:\n{self.output()[-4000:]}"
            return accepts(port)

        eventually(listening, timeout, f"{self.name} listening on {port}")

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=15.0):
        """Its exit status."""
        return self.process.wait(timeout)

    def stop(self, grace=3.0):
        """Asks it to end, then makes it."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    pass
        self._log_file.close()
        if self in LIVE:
            LIVE.remove(self)

    def kill(self):
        """Ends it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


class Failed(Exception):
    """A peer's call failed in the peer: what it told."""

    def __init__(self, error):
        super().__init__(f"{error.get('class')}: {error.get('message')}")
        self.kind = error.get("class") or ""
        self.text = error.get("message") or ""
        self.code = error.get("code")
        self.type = error.get("type")


class Answer:
    """What a peer answers to one command."""

    def __init__(self):
        self._done = threading.Event()
        self.raw = None

    def set(self, raw):
        self.raw = raw
        self._done.set()

    def done(self):
        return self._done.is_set()

    def result(self, timeout=20.0):
        """The value; raises `Failed` if the call failed."""
        return self.full(timeout).get("value")

    def full(self, timeout=20.0):
        """The whole answer, with attachments and times."""
        if not self._done.wait(timeout):
            raise AssertionError(f"the peer gave no answer within {timeout} s")
        if self.raw.get("error"):
            raise Failed(self.raw["error"])
        return self.raw


class LinePeer(Child):
    """A client in another language that takes commands and gives answers as lines of JSON."""

    def __init__(self, name, command, log_dir, **options):
        super().__init__(name, command, log_dir, pipes=True, **options)
        self._waiting = {}
        self._next = 0
        self._lock = threading.Lock()
        first = self.process.stdout.readline().decode()
        assert first.startswith("READY"), f"{name} said {first!r}:\n{self.output()[-4000:]}"
        self.version = first.split()[1] if " " in first else ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            if not line.startswith(b"{"):
                # Some libraries log to the standard output, whoever else uses it.
                self._log_file.write(line)
                self._log_file.flush()
                continue
            answer = json.loads(line)
            with self._lock:
                waiting = self._waiting.pop(answer["id"], None)
            if waiting:
                waiting.set(answer)

    def send(self, **command):
        """Sends a command and does not wait."""
        answer = Answer()
        with self._lock:
            self._next += 1
            command["id"] = self._next
            self._waiting[self._next] = answer
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
        return answer

    def ask(self, timeout=20.0, **command):
        """Sends a command and waits for its value."""
        return self.send(**command).result(timeout)
