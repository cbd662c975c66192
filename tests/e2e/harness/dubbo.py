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
