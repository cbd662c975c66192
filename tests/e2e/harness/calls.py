"""Calls of Dubbo in thousands of spellings, each with a tag by which a provider's record is found."""

import json
import subprocess

from . import dubbo, hessian, jsonb
from .meltemi import command
from .peers import java
from .process import eventually
from .wire import Closed, Connection

TEXT = "Ljava/lang/String;"
GENERIC = f"{TEXT}[{TEXT}[Ljava/lang/Object;"
SERVICES = ["demo.Greeter", "demo.Admin"]
PATHS = [
    "context/demo.Admin",
    "blue/demo.Admin",
    "blue/demo.Admin:2.0.0",
    "demo.Admin:2.0.0",
    "demo.Admin:0.0.0",
    " demo.Admin",
    "demo.Admin ",
    "/demo.Admin",
    "demo.Nothing",
    "",
    None,
    7,
    True,
    ["demo.Admin"],
]
VERSIONS = ["0.0.0", "2.0.0"]
ODD_VERSIONS = ["", None, " 2.0.0", "1.0.0", 2, ["2.0.0"]]
GROUPS = ["blue", "", None, " blue", "blue/x", "context", 1, ["blue"]]
METHODS = ["greet", "secret"]
NAMES = ["path", "version", "group", "tenant", "interface", "generic", "dubbo", "method", "timeout", "x"]


CHECK = 1009


def tag(number):
    """The text in a call's arguments: it is no other call's after a change of a byte."""
    return f"tag-{number * CHECK + number * 7919 % CHECK};"


def number_of(record):
    """Whose record it is, if the tag is still as it was."""
    number, check = divmod(record["tag"], CHECK)
    return number if number * 7919 % CHECK == check else None


class Calls:
    """Makes calls. `odd` is how often a call differs from the common form, in each of its parts."""

    def __init__(self, rng, odd):
        self.rng = rng
        self.odd = odd

    def _oddly(self):
        return self.rng.random() < self.odd

    def _one(self, common, odd):
        return self.rng.choice(odd if self._oddly() else common)

    def fields(self):
        path = self._one(SERVICES, PATHS)
        version = self._one(VERSIONS, ODD_VERSIONS)
        return [self._one(["2.0.2"], ["2.7.5", "2.0.0", "2.0.99", "", None, "9"]), path, version]

    def call(self, tag, writer):
        """The method, the types, and the arguments."""
        kind = self.rng.choice(["plain"] * 3 + ["generic"] * 3 + ["take", "add", "put"])
        if kind == "generic":
            return self.generic(tag, writer)
        if kind == "take":
            value = self.nested(writer, 3)
            return "take", f"Ljava/lang/Object;{TEXT}", [value, tag]
        if kind == "add":
            number = self._one([7], ["7", "x", None, [1], {"path": "demo.Admin"}, self.nested(writer, 2)])
            return "add", f"I{TEXT}", [number, tag]
        if kind == "put":
            values = self._one([{"a": "b"}], [None, "x", [1], self.nested(writer, 2)])
            return "put", f"Ljava/util/Map;{TEXT}", [values, tag]
        method = self._one(METHODS, [" secret", "secret ", "Secret", "secret()", "secret(String)"])
        return method, self._one([TEXT], ["", f"{TEXT}{TEXT}", "I", "Ljava/lang/Object;", None]), [tag]

    def generic(self, tag, writer):
        name = self._one(
            METHODS,
            [
                " secret ",
                "\tsecret\n",
                "secret\0",
                "\u00a0secret",
                "secret()",
                "secret(java.lang.String)",
                "secret(String)",
                "secretjava.lang.String",
                "secretjava.",
                "sec",
                "secretint",
                "SECRET",
                "$invoke",
                "demo.Admin.secret",
                None,
                7,
                ["secret"],
                writer.object("java.lang.StringBuilder", [("value", "secret")])
                if hasattr(writer, "object")
                else "secret",
            ],
        )
        types = self._one(
            [["java.lang.String"], None],
            [
                [],
                ["java.lang.String", "java.lang.String"],
                ["String"],
                ["lang.String"],
                ["retjava.lang.String"],
                ["java.", "lang.String"],
                ["", "java.lang.String"],
                ["java.lang.Object"],
                "java.lang.String",
                {"a": "java.lang.String"},
                [None],
            ],
        )
        values = self._one([[tag]], [tag, [], [[tag]], [tag, tag], {"x": tag}])
        method = self._one(["$invoke", "$invokeAsync"], ["$invokeX", "$echo"])
        described = self._one([GENERIC], [f"{TEXT}[{TEXT}", TEXT, "", f"{GENERIC}I"])
        return method, described, [name, types, values]

    def attachments(self, writer):
        entries = []
        if self.rng.random() < 0.8:
            entries.append(("generic", self._one(["true"], ["false", "bean", "nativejava", "gson", "raw.return"])))
        for _ in range(self.rng.choice([0, 1, 2, 3, 4, 8])):
            name = self.rng.choice(NAMES[:4] if self.rng.random() < 0.7 else NAMES)
            if name == "path":
                value = self._one(SERVICES, PATHS)
            elif name == "version":
                value = self._one(VERSIONS, ODD_VERSIONS)
            elif name == "group":
                value = self._one(["blue", ""], GROUPS)
            elif name == "generic":
                continue
            else:
                value = self._one(["good", "evil", "demo.Admin"], [None, "", 1, True, ["x"], self.nested(writer, 2)])
            if self._oddly() and self._oddly():
                name = self.rng.choice([None, 1, True, ["path"], f" {name}", name.upper(), f"{name} "])
            entries.append((name, value))
        self.rng.shuffle(entries)
        return entries

    def nested(self, writer, depth):
        """A value with whatever a reader may stumble over, and attachments that are none."""
        if depth == 0:
            return self.rng.choice(["x", 1, None, True, "path", "demo.Admin"])
        decoys = {"path": "demo.Admin", "version": "2.0.0", "group": "blue", "tenant": "evil"}
        chosen = self.rng.randrange(6)
        if chosen == 0:
            return writer.map(decoys.items())
        if chosen == 1:
            return [self.nested(writer, depth - 1) for _ in range(self.rng.randrange(4))]
        if chosen == 2 and hasattr(writer, "object"):
            kind = self.rng.choice(["demo.User", "demo.Nothing", "java.util.Date", "java.lang.Integer"])
            names = ["name", "age", "tags", "labels", "value"][: self.rng.randrange(1, 6)]
            return writer.object(kind, [(name, self.nested(writer, depth - 1)) for name in names])
        if chosen == 3 and hasattr(writer, "reference"):
            return writer.reference(self.rng.randrange(3))
        if chosen == 4:
            return {"a": self.nested(writer, depth - 1), "b": decoys}
        return decoys


def broken(writer, tag):
    """A call with an argument that cannot be what it should be, and attachments within."""
    hidden = writer.map([("path", "demo.Admin"), ("version", "2.0.0")], "H")
    number = writer.map([(tag, hidden), ("x", 1)], "H")
    return "add", f"I{TEXT}", [number, tag]


def bodies(rng, count, module, start=0):
    """(tag, serialization, body) of calls by hand, in the two serializations that are read."""
    for number in range(start, start + count):
        odd = rng.choice([0, 0.02, 0.1, 0.1, 0.3])
        fastjson = module == "dubbo3" and rng.random() < 0.5
        writer = (jsonb if fastjson else hessian).Writer(rng, odd)
        calls = Calls(rng, odd)
        # Dubbo 2.7 goes on behind an argument that it cannot read, which docs/authorization.md warns of.
        if module == "dubbo3" and rng.random() < 0.02:
            method, types, arguments = broken(writer, tag(number))
        else:
            method, types, arguments = calls.call(tag(number), writer)
        attachments = calls.attachments(writer)
        body = writer.body([*calls.fields(), method, types], arguments, attachments)
        if rng.random() < odd / 2:
            body = mutated(rng, body)
        yield number, 23 if fastjson else 2, body


def mutated(rng, body):
    """The same with a few bytes changed."""
    changed = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(changed))
        way = rng.randrange(4)
        if way == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            changed[at] = rng.randrange(256)
        elif way == 2:
            del changed[at]
        else:
            changed.insert(at, rng.choice(b"HMNZQRSC\x90\x60\x00\x05"))
    return bytes(changed)


def written(rng, count, module, log_dir, start=0):
    """(tag, serialization, body) of calls that Dubbo has written, each in one of the serializations that it has."""
    calls = []
    for number in range(start, start + count):
        text = tag(number)
        generic = rng.random() < 0.4
        attachments = {"path": rng.choice(SERVICES)} if rng.random() < 0.5 else {}
        for name, values in [("version", VERSIONS), ("group", ["blue"]), ("tenant", ["good", "evil"])]:
            if rng.random() < 0.4:
                attachments[name] = rng.choice(values)
        if generic:
            attachments["generic"] = "true"
        name = rng.choice([*METHODS, " secret ", "secret"])
        arguments = [name, rng.choice([["java.lang.String"], None]), {"objects": [text]}] if generic else [text]
        calls.append(
            {
                "path": rng.choice(SERVICES),
                "version": rng.choice(VERSIONS),
                "method": "$invoke" if generic else rng.choice(METHODS),
                "types": GENERIC if generic else TEXT,
                "args": arguments,
                "attachments": attachments,
            }
        )
    lines = "".join(json.dumps(call) + "\n" for call in calls)
    done = subprocess.run(
        java(module, "Writer", [], log_dir),
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == count, done.stderr[-2000:]
    for number, line in enumerate(answers, start):
        serialization, body = rng.choice(sorted(json.loads(line).items()))
        yield number, int(serialization), bytes.fromhex(body)


def frames(calls):
    """The frames of (tag, serialization, body), by tag."""
    flags = dubbo.REQUEST | dubbo.TWO_WAY
    return {tag: dubbo.frame(tag, body, flags | kind) for tag, kind, body in calls}


def send(port, frames, batch=50):
    """Sends frames, some on each connection, and waits for their answers."""
    frames = list(frames)
    while frames:
        front, frames = frames[:batch], frames[batch:]
        with Connection(port, timeout=0.3) as connection:
            try:
                connection.send(b"".join(front))
                for _ in front:
                    dubbo.read(connection)
            except (Closed, OSError):
                pass


def carried_out(oracle, port, frames, last):
    """(tag, record) of the frames that the provider has carried out. `last` is a tag of nobody."""
    before = len(oracle.records())
    send(port, frames)
    send(oracle.port, [dubbo.request(last, "greet", [tag(last)], service="demo.Greeter")])

    def done():
        records = [(number_of(record), record) for record in oracle.records()[before:]]
        return records if any(number == last for number, _ in records) else None

    return [
        (number, record)
        for number, record in eventually(done, what="the last call")
        if number not in (None, last)
    ]


def seen(frames, directory, protocol="dubbo"):
    """What `meltemi decode` shows of frames, by tag."""
    file = directory / "frames.bin"
    file.write_bytes(b"".join(frames))
    shown = command("decode", "--protocol", protocol, "--format", "json", file, timeout=60)
    lines = map(json.loads, shown.stdout.decode().splitlines())
    return {line["id"]: line for line in lines if "id" in line}


def differences(line, record):
    """Where a decoded request shows something else than what the provider has carried out."""
    attributes, hidden = line["attributes"], line.get("undetermined", [])
    generic = attributes.get("method") in ("$invoke", "$invokeAsync")
    tenant = record.get("tenant")
    carried = {
        "interface": record["interface"],
        "path": record["path"],
        "version": record["version"] or "0.0.0",
        "group": record["group"],
        "generic.method" if generic else "method": record["method"],
        # Numbers and truth values are shown as text, values with parts are not.
        "tenant": None if isinstance(tenant, (list, dict)) else tenant,
    }
    for name, value in carried.items():
        if (name if name != "tenant" else "<name>") in hidden:
            continue
        found = attributes.get(name, "" if name == "group" else None)
        found = found[-1] if isinstance(found, list) else found
        if isinstance(value, (bool, int)):
            value = json.dumps(value)
        # A group counts as one, also where a context path has its name.
        if name == "group" and f"{found}/{record['interface']}" == record["path"]:
            continue
        if found != value:
            yield name, found, value
