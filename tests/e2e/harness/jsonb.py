"""JSONB, the binary format of fastjson2, in the many ways in which Java reads it."""

import struct


class Writer:
    """Writes values; `odd` is how often it chooses an uncommon spelling."""

    def __init__(self, rng, odd=0.1):
        self.rng = rng
        self.odd = odd

    def _oddly(self):
        return self.rng.random() < self.odd

    def value(self, value):
        """A Python value; bytes are written as they are."""
        if isinstance(value, bytes):
            return value
        if value is None:
            return b"\xaf"
        if isinstance(value, bool):
            return b"\xb1" if value else b"\xb0"
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, int):
            return self.integer(value)
        if isinstance(value, list):
            return self.list(value)
        return self.map(value.items())

    def integer(self, number):
        small = bytes([number & 0xFF]) if -16 <= number < 48 else None
        full = b"\x48" + struct.pack(">i", number)
        return full if small is None or self._oddly() else small

    def string(self, text):
        short = bytes([0x49 + len(text)]) + text.encode()
        latin = b"\x79" + self.integer(len(text)) + text.encode()
        if not self._oddly():
            return short if len(text) < 48 else latin
        return self.rng.choice(
            [
                latin,
                b"\x7a" + self.integer(len(text)) + text.encode(),
                b"\x7b" + self.integer(2 * len(text) + 2) + b"\xff\xfe" + text.encode("utf-16-le"),
                b"\x7b" + self.integer(2 * len(text) + 2) + b"\xfe\xff" + text.encode("utf-16-be"),
                b"\x7c" + self.integer(2 * len(text)) + text.encode("utf-16-le"),
                b"\x7d" + self.integer(2 * len(text)) + text.encode("utf-16-be"),
                b"\x7e" + self.integer(len(text)) + text.encode(),
                b"\x7f" + short + b"\x00",
            ]
        )

    def list(self, values):
        raw = b"".join(map(self.value, values))
        if len(values) < 16 and not self._oddly():
            return bytes([0x94 + len(values)]) + raw
        return b"\xa4" + self.integer(len(values)) + raw

    def map(self, entries, form=None):
        raw = b"\xa6" + b"".join(self.value(name) + self.value(value) for name, value in entries) + b"\xa5"
        if form == "M" or (form is None and self._oddly()):
            kind = self.rng.choice(["java.util.HashMap", "M", "LM", "java.util.TreeMap", "demo.Nothing"])
            return b"\x92" + self.string(kind) + b"\x00" + raw
        return raw

    def field(self, value):
        """A field of a body: its length, and the value."""
        raw = self.value(value)
        return struct.pack(">i", len(raw)) + raw

    def body(self, fields, arguments, attachments):
        """The body of a call: five strings, arguments, and pairs of attachments (or bytes)."""
        parts = [*fields, *arguments]
        if not isinstance(attachments, bytes):
            attachments = self.map(attachments)
        return b"".join(map(self.field, [*parts, attachments]))
