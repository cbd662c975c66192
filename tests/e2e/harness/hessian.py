"""Hessian2 in the many ways in which Java reads it."""

import struct

MAPS = [
    "java.util.HashMap",
    "java.util.LinkedHashMap",
    "java.util.TreeMap",
    "java.util.Hashtable",
    "java.util.Properties",
    "java.util.WeakHashMap",
    "java.util.IdentityHashMap",
    "java.util.concurrent.ConcurrentHashMap",
    "java.util.Map",
    "[string",
    "demo.Nothing",
    "",
]


class Writer:
    """Writes values; `odd` is how often it chooses an uncommon spelling."""

    def __init__(self, rng, odd=0.1):
        self.rng = rng
        self.odd = odd
        self.classes = 0

    def _oddly(self):
        return self.rng.random() < self.odd

    def value(self, value):
        """A Python value; bytes are written as they are."""
        if isinstance(value, bytes):
            return value
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return b"T" if value else b"F"
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, int):
            return self.integer(value)
        if isinstance(value, list):
            return self.list(value)
        return self.map(value.items())

    def string(self, text):
        if not self._oddly():
            return self._chunk(text, final=True)
        cut = self.rng.randrange(len(text) + 1)
        return self.rng.choice(
            [
                lambda: self._chunk(text[:cut], final=False) + self._chunk(text[cut:], final=True),
                lambda: b"R\0\0" + self._chunk(text, final=True),
                lambda: b"S" + struct.pack(">H", len(text)) + text.encode(),
                lambda: b"0" + bytes([len(text)]) + text.encode(),
                lambda: self._chunk(text, final=True, overlong=cut),
            ]
        )()

    def _chunk(self, text, final, overlong=None):
        raw = b"".join(
            bytes([0xC0 | ord(char) >> 6, 0x80 | ord(char) & 0x3F]) if at == overlong else char.encode()
            for at, char in enumerate(text)
        )
        if not final:
            return b"R" + struct.pack(">H", len(text)) + raw
        if len(text) < 32:
            return bytes([len(text)]) + raw
        return bytes([0x30 | len(text) >> 8, len(text) & 0xFF]) + raw

    def integer(self, number):
        if self._oddly():
            return self.rng.choice([b"I" + struct.pack(">i", number), b"Y" + struct.pack(">i", number)])
        return bytes([0x90 + number]) if -16 <= number < 48 else b"I" + struct.pack(">i", number)

    def list(self, values):
        raw = b"".join(map(self.value, values))
        count = self.integer(len(values))
        return self.rng.choice(
            [
                bytes([0x78 + len(values)]) + raw if len(values) < 8 else b"X" + count + raw,
                b"X" + count + raw,
                b"W" + raw + b"Z",
                b"V" + self.string("[object") + count + raw,
                b"U" + self.string("java.util.ArrayList") + raw + b"Z",
            ]
        )

    def map(self, entries, form=None):
        """Pairs of values, in one of the forms of a map."""
        form = form or self.rng.choices(["H", "M", "C"], [20, 3, 1 if self.odd else 0])[0]
        entries = list(entries)
        if form == "C":
            return self.object(self.rng.choice(MAPS), entries)
        raw = b"".join(self.value(name) + self.value(value) for name, value in entries)
        if form == "H":
            return b"H" + raw + b"Z"
        return b"M" + self.string(self.rng.choice(MAPS)) + raw + b"Z"

    def object(self, kind, fields):
        """A class definition, and one object of it."""
        fields = list(fields)
        head = b"C" + self.string(kind) + self.integer(len(fields))
        names = b"".join(self.value(name) for name, _ in fields)
        number = self.classes
        self.classes += 1
        start = bytes([0x60 + number]) if number < 16 else b"O" + self.integer(number)
        return head + names + start + b"".join(self.value(value) for _, value in fields)

    def reference(self, number):
        return b"Q" + self.integer(number)

    def body(self, fields, arguments, attachments):
        """The body of a call: five strings, arguments, and pairs of attachments (or bytes)."""
        front = b"".join(map(self.value, fields))
        raw = b"".join(map(self.value, arguments))
        if isinstance(attachments, bytes):
            return front + raw + attachments
        return front + raw + self.map(attachments)
