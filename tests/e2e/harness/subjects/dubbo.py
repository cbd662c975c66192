"""Dubbo over Hessian2: a server and a client of a few methods of strings."""

import itertools

from .. import dubbo
from ..wire import Closed
from . import script

SERVICE = "demo.DemoService"


class Wire:
    ordered = False

    @staticmethod
    def op(name):
        return name

    @staticmethod
    def requests(connection):
        while True:
            frame = dubbo.read(connection)
            if frame.is_event:
                if not frame.flags & dubbo.TWO_WAY or not frame.is_request:
                    continue
                call = script.Call("heartbeat", probe=True)
            elif frame.is_request:
                request = dubbo.Request(frame.body)
                call = script.Call(
                    request.method,
                    "".join(request.args),
                    request.attachments,
                    oneway=not frame.flags & dubbo.TWO_WAY,
                )
            else:
                continue

            def answer(do, tag, frame=frame):
                connection.send(reply(frame, do, tag))

            yield call, answer


def reply(frame, do, tag):
    if frame.is_event:
        return dubbo.frame(frame.id, b"N", flags=dubbo.EVENT | dubbo.HESSIAN2, status=20)
    if do.what == "answer":
        body = b"\x94" + dubbo.string(do.text or tag) + dubbo.attachments(do.meta or {})
        return dubbo.response(frame.id, body)
    status = {"fail": 70, "broken": 80}[do.what]
    return dubbo.response(frame.id, dubbo.string(f"{tag} failed"), status=status)


class Client(script.Client):
    natives = {
        "bad_request": 40,
        "not_found": 60,
        "overloaded": 100,
        "timeout": 31,
        "denied": 70,
        "unavailable": 80,
        "internal": 80,
        "application": 70,
        "server": 80,
    }

    def __init__(self, port, **options):
        super().__init__(port, **options)
        self._connection = None
        self._ids = itertools.count()

    def close(self):
        if self._connection:
            self._connection.close()
            self._connection = None

    def _send(self, op, *, text="x", meta=None, user=None, oneway=False, safe=False, wait=0):
        del safe  # Dubbo has no word for it.
        if not self._connection:
            self._connection = self.socket()
        number = next(self._ids)
        entries = dict(meta or {})
        if user:
            entries["x-user"] = user
        if wait:
            entries["timeout"] = str(wait)
        flags = dubbo.REQUEST | dubbo.HESSIAN2 | (0 if oneway else dubbo.TWO_WAY)
        data = dubbo.request(number, op, (text,), service=SERVICE, entries=entries, flags=flags)
        self._connection.send(data)
        return number

    def _next(self):
        while True:
            frame = dubbo.read(self._connection)
            if not frame.is_request:
                return frame

    def _call(self, op, **options):
        try:
            number = self._send(op, **options)
            if options.get("oneway"):
                return script.Outcome(self.natives)
            frame = self._next()
        except (Closed, OSError) as error:
            self.close()
            raise script.Gone(repr(error)) from error
        assert frame.id == number, (frame.id, number)
        return self._outcome(frame)

    def _many(self, count, op, **options):
        numbers = {self._send(op, **options) for _ in range(count)}
        outcomes = []
        for _ in range(count):
            frame = self._next()
            numbers.remove(frame.id)
            outcomes.append(self._outcome(frame))
        return outcomes

    def _outcome(self, frame):
        if frame.status == 20:
            value, meta = dubbo.result(frame.body)
            return script.Outcome(self.natives, value=value, meta=meta)
        text = dubbo.failure(frame.body)
        return script.Outcome(self.natives, native=frame.status, text=text)


class Dubbo:
    name = "dubbo"
    user, operation = "x-user", "method"
    header = "{}".format
    broken_status = {"status": "80"}
    metadata = response_metadata = True
    wire = Wire
    client = Client
