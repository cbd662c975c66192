"""Quill, the private protocol that is described in words."""

import itertools

from .. import quill
from ..wire import Closed
from . import script

SERVICE = "rules.Service"


class Wire:
    ordered = False

    @staticmethod
    def op(name):
        return name

    @staticmethod
    def requests(connection):
        while True:
            frame = quill.read(connection)
            if frame.kind == quill.PING:
                call = script.Call("ping", probe=True)
            elif frame.kind in (quill.CALL, quill.CAST):
                call = script.Call(
                    frame.method,
                    frame.payload.decode(),
                    frame.meta,
                    oneway=frame.kind == quill.CAST,
                )
            else:
                continue

            def answer(do, tag, frame=frame):
                connection.send(reply(frame, do, tag))

            yield call, answer


def reply(frame, do, tag):
    if frame.kind == quill.PING:
        return quill.pack(quill.PONG, frame.id)
    if do.what == "answer":
        return quill.reply(frame.id, (do.text or tag).encode(), meta=do.meta)
    # 9 is no status that the description has a meaning for: the server failed.
    return quill.reply(frame.id, message=f"{tag} failed", status={"fail": 1, "broken": 9}[do.what])


class Client(script.Client):
    natives = {
        "bad_request": 2,
        "not_found": 3,
        "overloaded": 4,
        "timeout": 5,
        "denied": 6,
        "unavailable": 7,
        "internal": 1,
        "application": 1,
        "server": 9,
    }

    def __init__(self, port, **options):
        super().__init__(port, **options)
        self._connection = None
        self._ids = itertools.count(1)

    def close(self):
        if self._connection:
            self._connection.close()
            self._connection = None

    def _open(self):
        if not self._connection:
            self._connection = self.socket()
        return self._connection

    def _send(self, op, *, text="x", meta=None, user=None, oneway=False, safe=False, wait=0):
        number = next(self._ids)
        entries = {**(meta or {}), **({"x-user": user} if user else {})}
        kind = quill.CAST if oneway else quill.CALL
        self._open().send(
            quill.call(
                number,
                SERVICE,
                op,
                text.encode(),
                meta=entries,
                kind=kind,
                wait=wait,
                flags=0x11 if safe else 0x10,
            )
        )
        return number

    def _call(self, op, **options):
        try:
            number = self._send(op, **options)
            if options.get("oneway"):
                return script.Outcome(self.natives)
            frame = quill.read(self._connection)
        except (Closed, OSError) as error:
            self.close()
            raise script.Gone(repr(error)) from error
        assert frame.id == number, (frame.id, number)
        return self._outcome(frame)

    def _many(self, count, op, **options):
        numbers = {self._send(op, **options) for _ in range(count)}
        outcomes = []
        for _ in range(count):
            frame = quill.read(self._connection)
            numbers.remove(frame.id)
            outcomes.append(self._outcome(frame))
        return outcomes

    def _outcome(self, frame):
        if frame.status == 0:
            return script.Outcome(self.natives, value=frame.payload.decode(), meta=frame.meta)
        return script.Outcome(
            self.natives, native=frame.status, text=frame.message, meta=frame.meta
        )


class Quill:
    name = "quill"
    # Where a client's word for itself is found, and how the operation is called.
    user, operation = "meta.x-user", "method"
    header = "meta.{}".format
    # Tests of a response that says that the server failed.
    broken_status = {"status": "9"}
    metadata = response_metadata = True
    wire = Wire
    client = Client
