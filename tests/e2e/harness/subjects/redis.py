"""Redis: redis-py as the client, and a server that answers as it is told (real ones cannot fail on
demand; they have tests of their own)."""

import redis
from redis.connection import Connection as RedisConnection

from . import script

# What the operations of the other protocols are here: a read and a write that a proxy can tell
# apart, and others.
OPS = {"read": "get", "write": "append", "other": "strlen", "third": "type"}


class Wire:
    ordered = True

    @staticmethod
    def op(name):
        return OPS.get(name, name)

    @staticmethod
    def requests(connection):
        while True:
            command = read_command(connection)
            name = command[0].lower()
            if name in ("client", "hello", "select"):
                connection.send(b"+OK\r\n")
                continue
            key = command[1] if len(command) > 1 else ""
            call = script.Call(name, key, {"key": key}, probe=name == "ping")

            def answer(do, tag, probe=call.probe):
                connection.send(reply(probe, do, tag))

            yield call, answer


def read_command(connection):
    """An array of strings; a client that is a proxy sends nothing else."""
    head = connection.line()
    assert head[:1] == b"*", head
    words = []
    for _ in range(int(head[1:])):
        size = connection.line()
        assert size[:1] == b"$", size
        words.append(connection.exactly(int(size[1:])).decode())
        connection.exactly(2)
    return words


def reply(probe, do, tag):
    if do.what == "answer":
        if probe:
            return b"+PONG\r\n"
        text = (do.text or tag).encode()
        return b"$%d\r\n%s\r\n" % (len(text), text)
    code = {"fail": "WRONGTYPE", "broken": "MISCONF"}[do.what]
    return f"-{code} {tag} failed\r\n".encode()


class Bound(RedisConnection):
    """redis-py's connection, from the wished address."""

    def __init__(self, connect, **options):
        super().__init__(**options)
        self._make = connect

    def _connect(self):
        return self._make().sock


class Client(script.Client):
    natives = {
        "bad_request": "ERR bad request",
        "not_found": "ERR no route",
        "unavailable": "ERR upstream unavailable",
        "timeout": "ERR upstream timeout",
        "overloaded": "ERR overloaded",
        "denied": "NOPERM denied by policy",
        "internal": "ERR proxy failure",
        "application": "WRONGTYPE",
        "server": "MISCONF",
    }

    def __init__(self, port, **options):
        super().__init__(port, **options)
        self._connection = Bound(
            self.socket, port=port, protocol=2, decode_responses=True, socket_timeout=self.timeout,
            driver_info=None,
        )  # fmt: skip

    def close(self):
        self._connection.disconnect()

    def _send(self, op, *, text="x", meta=None, user=None, oneway=False, safe=False, wait=0):
        del safe, wait
        assert not meta and not oneway, "Redis has no metadata, and no one-way commands"
        name = OPS.get(op, op)
        self._connection.send_command(
            name, user or text, *(["more"] if name == "append" else []), check_health=False
        )

    def _read(self):
        try:
            return script.Outcome(self.natives, value=self._connection.read_response())
        except redis.ResponseError as error:
            return self._failed(error)

    def _failed(self, error):
        # redis-py takes some codes off, and makes a class of its own of them.
        codes = {redis.exceptions.NoPermissionError: "NOPERM "}
        text = str(error)
        for kind, code in codes.items():
            if isinstance(error, kind) and not text.startswith(code):
                text = code + text
        if isinstance(error, redis.ResponseError) and not text.split(" ")[0].isupper():
            text = "ERR " + text
        native = text.split(":")[0] if text.startswith(("ERR", "NOPERM")) else text.split(" ")[0]
        return script.Outcome(self.natives, native=native, text=text)

    def _call(self, op, **options):
        try:
            self._send(op, **options)
            return self._read()
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            self.close()
            raise script.Gone(repr(error)) from error

    def command(self, *words):
        """Any command."""
        self._connection.send_command(*words, check_health=False)
        return self._read()

    def _many(self, count, op, **options):
        name = OPS.get(op, op)
        rest = ["more"] if name == "append" else []
        word = options.get("user") or options.get("text") or "x"
        self._connection.send_packed_command(
            self._connection.pack_commands([(name, word, *rest)] * count), check_health=False
        )
        return [self._read() for _ in range(count)]


class Redis:
    name = "redis"
    user, operation = "key", "command"
    header = None
    broken_status = {"error": "MISCONF"}
    metadata = response_metadata = False
    wire = Wire
    client = Client
