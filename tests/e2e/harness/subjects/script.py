"""Servers that do as they are told, request by request, whatever protocol they speak, and that
remember what they got. How bytes are read and written is the affair of a `Wire`."""

import collections
import contextlib
import dataclasses
import threading
import time

from ..process import free_port
from ..wire import Closed, Connection, Server

# Calls that a client has in flight at most.
WINDOW = 200


@dataclasses.dataclass(frozen=True)
class Do:
    """What a server does about one request, after so many seconds."""

    what: str
    seconds: float = 0.0
    text: str | None = None
    meta: dict | None = None


# It answers with its tag; says that the application failed; says that the server failed; never
# answers; closes the connection instead.
ANSWER, FAIL, BROKEN, HANG, DROP = (
    Do(what) for what in ("answer", "fail", "broken", "hang", "drop")
)
# Bytes that are no message of the protocol.
GARBAGE = Do("garbage")


def late(seconds, do=ANSWER):
    """The same, only later."""
    return dataclasses.replace(do, seconds=seconds)


def say(text, **meta):
    """An answer of this text, with metadata."""
    return Do("answer", text=text, meta=meta)


@dataclasses.dataclass
class Call:
    """A request as a server got it."""

    op: str
    text: str = ""
    meta: dict = dataclasses.field(default_factory=dict)
    oneway: bool = False
    probe: bool = False
    connection: int = 0
    at: float = 0.0


class Upstream:
    """A server of a protocol. Until `start` its port refuses connections."""

    def __init__(self, wire, tag):
        self.tag = tag
        self.port = free_port()
        self.calls = []
        self.probes = []
        # What is done on every new connection: None, or DROP (before anything is read).
        self.on_connect = None
        self._wire = wire
        self._lock = threading.Lock()
        self._next = collections.deque()
        self._always = ANSWER
        self._by_op = {}
        self._probed = ANSWER
        self._server = None
        self._connections = 0

    # What it is told.

    def start(self):
        self._server = Server(self._serve, self.port)
        return self

    def stop(self):
        """Closes every connection, and refuses new ones."""
        if self._server:
            self._server.close()
            self._server = None

    def will(self, *script):
        """The next requests get these, one each; those behind them get what they always get."""
        with self._lock:
            self._next.extend(script)
        return self

    def always(self, do, op=None):
        """Every request gets this; or every request of one operation."""
        if op is None:
            self._always = do
        else:
            self._by_op[self._wire.op(op)] = do
        return self

    def probed(self, do):
        """Heartbeats and probes get this."""
        self._probed = do
        return self

    # What it remembers.

    @property
    def accepted(self):
        """Connections since it started."""
        return self._connections

    def count(self, op=None, **meta):
        """Requests so far: all, those of an operation, those with some metadata."""
        with self._lock:
            calls = list(self.calls)
        return sum(
            1
            for call in calls
            if (op is None or call.op == self._wire.op(op))
            and all(call.meta.get(key) == value for key, value in meta.items())
        )

    def forget(self):
        with self._lock:
            self.calls.clear()
            self.probes.clear()

    # How it does it.

    def _decide(self, call):
        with self._lock:
            if call.probe:
                self.probes.append(call)
                return self._probed
            self.calls.append(call)
            if self._next:
                return self._next.popleft()
            return self._by_op.get(call.op, self._always)

    def _serve(self, connection):
        with self._lock:
            self._connections += 1
            number = self._connections
        if self.on_connect is DROP:
            return
        writing = threading.Lock()
        for call, answer in self._wire.requests(connection):
            call.connection, call.at = number, time.monotonic()
            do = self._decide(call)
            if do.what == "drop" and not do.seconds:
                return
            if do.what == "answer" and not do.seconds:
                if not call.oneway:
                    with writing:
                        answer(do, self.tag)
                continue
            if self._wire.ordered:
                if do.seconds:
                    time.sleep(do.seconds)
                if do.what == "hang":
                    # What is behind it waits, too, as on a real server.
                    connection.rest()
                    return
                if not self._carry_out(connection, call, answer, do, writing):
                    return
            elif do.what != "hang":
                act = (connection, call, answer, do, writing)
                if do.seconds:
                    timer = threading.Timer(do.seconds, self._carry_out, act)
                    timer.daemon = True
                    timer.start()
                elif not self._carry_out(*act):
                    return

    def _carry_out(self, connection, call, answer, do, writing):
        """Whether the connection goes on."""
        with contextlib.suppress(OSError, Closed), writing:
            if do.what == "drop":
                connection.abort()
                return False
            if do.what == "garbage":
                connection.send(b"\xff\x00garbage that is no message of any protocol\r\n" * 4)
            elif not call.oneway:
                answer(do, self.tag)
        return True


class Outcome:
    """How a call went, as its client saw it."""

    def __init__(self, natives, *, value=None, native=None, text="", meta=None, took=0.0):
        self.value, self.native, self.text = value, native, text
        self.meta = meta or {}
        self.took = took
        self._natives = natives

    @property
    def ok(self):
        return self.native is None

    def is_(self, reason):
        """Whether it is the protocol's own word for the reason."""
        return self.native is not None and self.native == self._natives[reason]

    def __repr__(self):
        shown = self.value if self.ok else f"{self.native} {self.text!r}"
        return f"<{shown} after {self.took:.3f} s>"


class Gone(Exception):
    """The client got no answer: the connection was closed, or its own time ran out."""

    ok, value = False, None

    def is_(self, reason):
        """It is no word of the protocol."""
        del reason
        return False


class Client:
    """One connection of a client. Subclasses say how a call is made: `_call(op, text, meta, …)`."""

    natives = {}

    def __init__(self, port, timeout=10.0, source=None):
        self.port, self.timeout, self.source = port, timeout, source

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        raise NotImplementedError

    def socket(self):
        """A socket that is connected, from the wished address."""
        return Connection(self.port, timeout=self.timeout, source=self.source)

    def call(self, op="read", **options):
        """Calls, and tells how it went and how long it took."""
        started = time.monotonic()
        outcome = self._call(op, **options)
        outcome.took = time.monotonic() - started
        return outcome

    def _call(self, op, **options):
        raise NotImplementedError

    def many(self, count, op="read", **options):
        """So many calls, up to `WINDOW` of them at once."""
        outcomes = []
        while len(outcomes) < count:
            outcomes += self._many(min(WINDOW, count - len(outcomes)), op, **options)
        return outcomes

    def _many(self, count, op, **options):
        raise NotImplementedError
