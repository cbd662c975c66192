"""Dubbo's frames and Hessian's bytes by hand, for what no real client would send."""

import struct

MAGIC = b"\xda\xbb"
REQUEST, TWO_WAY, EVENT = 0x80, 0x40, 0x20
HESSIAN2 = 2


def string(text):
    """A short Hessian string of ASCII."""
    raw = text.encode("ascii")
    if len(raw) < 32:
        return bytes([len(raw)]) + raw
    return b"S" + struct.pack(">H", len(raw)) + raw


class Values:
    """Reads what the functions here write, and the other short forms of the same."""

    def __init__(self, body):
        self._body, self._at = body, 0

    def _take(self, count):
        got = self._body[self._at : self._at + count]
        assert len(got) == count, (self._body, self._at)
        self._at += count
        return got

    def ended(self):
        return self._at >= len(self._body)

    def next(self):
        (tag,) = self._take(1)
        if tag < 0x20:
            return self._take(tag).decode()
        if 0x30 <= tag < 0x34:
            return self._take((tag - 0x30 << 8) + self._take(1)[0]).decode()
        if tag == ord("S"):
            return self._take(struct.unpack(">H", self._take(2))[0]).decode()
        if 0x80 <= tag < 0xC0:
            return tag - 0x90
        if tag in b"HM":
            if tag == ord("M"):
                self.next()
            entries = {}
            while self._body[self._at] != ord("Z"):
                key = self.next()
                entries[key] = self.next()
            self._take(1)
            return entries
        assert tag == ord("N"), f"{tag:#x} in {self._body!r}"
        return None


def attachments(entries):
    """An untyped map of strings."""
    body = b"".join(string(key) + string(value) for key, value in entries.items())
    return b"H" + body + b"Z"


def frame(number, body, flags=REQUEST | TWO_WAY | HESSIAN2, status=0, length=None):
    """A frame, with a false length if one is given."""
    size = len(body) if length is None else length
    return MAGIC + struct.pack(">BBqi", flags, status, number, size) + body


def request(
    number, method="sayHello", args=("you",), *, service="demo.DemoService", entries=None, flags=None
):
    """A call of strings."""
    body = b"".join(
        [
            string("2.0.2"),
            string(service),
            string("0.0.0"),
            string(method),
            string("Ljava/lang/String;" * len(args)),
            *(string(arg) for arg in args),
            attachments({"path": service, "interface": service, **(entries or {})}),
        ]
    )
    return frame(number, body, REQUEST | TWO_WAY | HESSIAN2 if flags is None else flags)


class Request:
    """The body of a request of strings."""

    def __init__(self, body):
        values = Values(body)
        self.dubbo, self.service, self.version, self.method, types = (
            values.next() for _ in range(5)
        )
        self.args = [values.next() for _ in range(types.count(";"))]
        self.attachments = values.next()


def result(body):
    """The value and the attachments of a response."""
    values = Values(body)
    kind = values.next()
    value = values.next() if kind in (1, 4) else None
    return value, values.next() if kind >= 3 and not values.ended() else {}


def failure(body):
    """The text of a response that says that the call failed."""
    return Values(body).next()


def response(number, body=b"\x94\x01x\x48Z", status=20):
    """An answer."""
    return frame(number, body, flags=HESSIAN2, status=status)


HEARTBEAT_FLAGS = REQUEST | TWO_WAY | EVENT | HESSIAN2


class Frame:
    """One frame as it was read."""

    def __init__(self, raw):
        self.flags, self.status, self.id, self.length = struct.unpack(">BBqi", raw[2:16])
        self.body = raw[16:]

    @property
    def is_request(self):
        return bool(self.flags & REQUEST)

    @property
    def is_event(self):
        return bool(self.flags & EVENT)

    def text(self):
        """The body as far as it is legible."""
        return self.body.decode("latin-1")


def read(connection):
    """The next frame from a `Connection`."""
    head = connection.exactly(16)
    assert head[:2] == MAGIC, head
    (length,) = struct.unpack(">i", head[12:])
    return Frame(head + connection.exactly(length))
