"""Quill by hand: the invented protocol that is described in words. A client, a server, frames."""

import contextlib
import struct
import threading

from .wire import Closed

CALL, CAST, REPLY, PING, PONG, LEAVING = range(1, 7)
MAGIC = b"\x71\x7e"


def pack(kind, number=0, body=b"", *, wait=0, status=0, magic=MAGIC, flags=0x10, length=None):
    """A frame, with a false length if one is given."""
    size = 16 + len(body) if length is None else length
    return (
        magic
        + struct.pack(">BBI", flags, kind, size)
        + struct.pack("<Q", number)
        + struct.pack(">IHBB", wait, status, 1, 0)
        + body
    )


def short(text):
    raw = text.encode()
    return bytes([len(raw)]) + raw


def long(text):
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def metadata(entries):
    """Entries of a dictionary, or of pairs, in which a key may come twice."""
    pairs = entries.items() if isinstance(entries, dict) else entries or ()
    body = b"".join(short(key) + long(value) for key, value in pairs)
    return struct.pack(">H", len(body)) + body


def call(number, service, method, payload=b"", *, meta=None, kind=CALL, **options):
    """A call, or a cast."""
    body = short(service) + short(method) + metadata(meta) + payload
    return pack(kind, number, body, **options)


def reply(number, payload=b"", *, message="", meta=None, **options):
    """The answer to a call."""
    return pack(REPLY, number, long(message) + metadata(meta) + payload, **options)


class Frame:
    """One frame as it was read."""

    def __init__(self, raw):
        self.raw = raw
        self.kind = raw[3]
        (self.id,) = struct.unpack("<Q", raw[8:16])
        self.wait, self.status = struct.unpack(">IH", raw[16:22])
        self._at = 24
        self.meta = {}
        if self.kind in (CALL, CAST):
            self.service, self.method = self._text(1), self._text(1)
        if self.kind == REPLY:
            self.message = self._text(2)
        if self.kind in (CALL, CAST, REPLY):
            end = self._number(2) + self._at
            while self._at < end:
                key = self._text(1)
                self.meta[key] = self._text(2)
        self.payload = raw[self._at :]

    def _number(self, size):
        value = int.from_bytes(self.raw[self._at : self._at + size], "big")
        self._at += size
        return value

    def _text(self, size):
        length = self._number(size)
        value = self.raw[self._at : self._at + length].decode()
        self._at += length
        return value


def read(connection):
    """The next frame from a `Connection`."""
    head = connection.exactly(8)
    (length,) = struct.unpack(">I", head[4:8])
    return Frame(head + connection.exactly(length))


def serve(tag, magic=MAGIC, seen=None):
    """A server that answers every call with its tag; `slow` takes its payload's milliseconds."""

    def run(connection):
        lock = threading.Lock()

        def answer(data):
            # A late answer may find the connection closed.
            with lock, contextlib.suppress(OSError, Closed):
                connection.send(data)

        while True:
            frame = read(connection)
            frame.connection = connection
            if seen is not None:
                seen.append(frame)
            if frame.kind == PING:
                answer(pack(PONG, frame.id, magic=magic))
            elif frame.kind == CALL and frame.method == "slow":
                late = threading.Timer(
                    int(frame.payload) / 1000,
                    answer,
                    [reply(frame.id, tag.encode(), magic=magic)],
                )
                late.daemon = True
                late.start()
            elif frame.kind == CALL and frame.method == "fail":
                answer(reply(frame.id, message="it failed", status=1, magic=magic))
            elif frame.kind == CALL:
                payload = f"{tag}:{frame.method}:".encode() + frame.payload
                answer(reply(frame.id, payload, meta=frame.meta, magic=magic))

    return run
