"""Calls of SOFARPC over SOFABolt in thousands of spellings, each with a tag by which its record is found."""

import struct
import zlib

from .calls import tag

REQUEST = "com.alipay.sofa.rpc.core.request.SofaRequest"
SERVICES = ["demo.Greeter:1.0", "demo.Admin:1.0", "demo.Admin:1.0:blue"]
METHODS = ["greet", "secret"]
FIELDS = ["targetAppName", "methodName", "targetServiceUniqueName", "requestProps", "methodArgSigs"]
NAMES = ["service", "sofa_head_target_service", "sofa_head_method_name", "sofa_head_target_app", "x"]


class Writer:
    """The draft of Hessian 2 that sofa-hessian writes; `odd` is how often it is spelled otherwise."""

    def __init__(self, rng, odd):
        self.rng = rng
        self.odd = odd

    def _oddly(self):
        return self.rng.random() < self.odd

    def _one(self, common, odd):
        return self.rng.choice(odd if self._oddly() else common)

    def integer(self, number):
        if -16 <= number < 48 and not self._oddly():
            return bytes([0x90 + number])
        if -2048 <= number < 2048:
            return bytes([0xC8 + (number >> 8), number & 0xFF])
        return b"I" + struct.pack(">i", number)

    def text(self, text):
        if text is None:
            return b"N"
        raw = text.encode()
        if len(raw) < 32 and not self._oddly():
            return bytes([len(raw)]) + raw
        cut = self.rng.randrange(len(raw) + 1)
        whole = b"S" + struct.pack(">H", len(raw)) + raw
        pieces = b"s" + struct.pack(">H", cut) + raw[:cut] + b"S" + struct.pack(">H", len(raw) - cut) + raw[cut:]
        return self.rng.choice([whole, whole, pieces]) if self._oddly() else whole

    def object(self, name, method, service):
        """The object in front of the arguments."""
        props = b"M" + self.text("k") + self.text("v") + b"z"
        signatures = b"Vt\0\x07[stringn\x01" + self.text("java.lang.String") + b"z"
        values = {
            "targetAppName": self.text(self._one(["oracle", None], ["", "secret"])),
            "methodName": self.text(method),
            "targetServiceUniqueName": self.text(service),
            "requestProps": self._one([props], [b"N", b"Mz", props]),
            "methodArgSigs": signatures,
        }
        fields = [(field, values[field]) for field in FIELDS]
        if self._oddly():
            self.rng.shuffle(fields)
        if self._oddly():
            field = self.rng.choice(FIELDS[:3])
            other = {"methodName": METHODS, "targetServiceUniqueName": SERVICES}.get(field, ["x"])
            extra = (self._one([field], ["other", "serialVersionUID"]), self.text(self.rng.choice(other)))
            fields.insert(self.rng.randrange(len(fields) + 1), extra)
        if self._oddly():
            del fields[self.rng.randrange(len(fields))]
        count = self.integer(len(fields))
        names = b"".join(self.text(field) for field, _ in fields)
        body = b"".join(value for _, value in fields)
        if self._oddly():
            raw = b"C" + self.text(name) + count + names
            return raw + self.rng.choice([b"\x60", b"O\x90"]) + body
        raw = b"O" + self.integer(len(name)) + name.encode() + count + names
        return raw + b"o" + self.integer(0) + body

    def content(self, number, method, service):
        name = self._one([REQUEST], ["demo.Nothing", REQUEST + "X"])
        return self.object(name, method, service) + self.text(tag(number))

    def header(self, method, service):
        """Pairs of names and values, which may differ from the content."""
        pairs = [
            ("sofa_head_target_service", self._one([service], SERVICES)),
            ("sofa_head_method_name", self._one([method], METHODS)),
            ("service", self._one([service], SERVICES)),
            ("sofa_head_target_app", "oracle"),
        ]
        if self._oddly():
            del pairs[self.rng.randrange(len(pairs))]
        for _ in range(self.rng.randrange(3) if self._oddly() else 0):
            name = self.rng.choice(NAMES)
            value = self.rng.choice([*SERVICES, *METHODS, "", "x"])
            pairs.insert(self.rng.randrange(len(pairs) + 1), (name, value))
        return pairs


def text(value):
    return struct.pack(">i", len(value)) + value.encode()


def frame(version, number, codec, name, pairs, content):
    """A request, in one of the two versions of the protocol."""
    header = b"".join(text(key) + text(value) for key, value in pairs)
    lengths = struct.pack(">hhi", len(name), len(header), len(content))
    body = lengths + name.encode() + header + content
    if version == 1:
        return b"\x01\x01\0\x01\x01" + struct.pack(">iB", number, codec) + struct.pack(">i", 3000) + body
    checked = version == 3
    front = b"\x02" + bytes([2 if checked else 1]) + b"\x01\0\x01\x01" + struct.pack(">iB", number, codec)
    whole = front + bytes([int(checked)]) + struct.pack(">i", 3000) + body
    return whole + struct.pack(">I", zlib.crc32(whole)) if checked else whole


def frames(rng, count):
    """Frames by tag."""
    found = {}
    for number in range(count):
        writer = Writer(rng, rng.choice([0, 0.05, 0.2]))
        method = writer._one(METHODS, [" secret", "secret ", "Secret", "", None])
        service = writer._one(SERVICES, ["demo.Admin", "demo.Admin:1.0:", ":blue", "", None])
        pairs = writer.header(method or "secret", service or SERVICES[1])
        content = writer.content(number, method, service)
        codec = writer._one([1], [0, 1, 2, 11, 12, 13, 22])
        name = writer._one([REQUEST], [REQUEST, "demo.Nothing", ""])
        if rng.random() < writer.odd / 2:
            changed = bytearray(content)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            content = bytes(changed)
        found[number] = frame(rng.choice([1, 1, 2, 3]), number, codec, name, pairs, content)
    return found
