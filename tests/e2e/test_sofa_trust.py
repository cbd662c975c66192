"""What rules see of a call is what a real SOFARPC server carries out, however the call is written."""

import random
import struct
import time

from harness import bolt, calls, config
from harness.config import route, to
from harness.process import free_port
from harness.wire import Closed, Connection

SERVICE = "sofa.test"


def carried_out(server, port, frames):
    """(tag, record) of the frames that the server has carried out."""
    before = len(server.records())
    frames = list(frames)
    # A frame that the server cannot read may end the connection.
    while frames:
        front, frames = frames[:10], frames[10:]
        with Connection(port, timeout=0.2) as connection:
            try:
                connection.send(b"".join(front))
                for _ in front:
                    answer(connection)
            except (Closed, OSError):
                pass
    time.sleep(0.2)
    found = [(calls.number_of(record), record) for record in server.records()[before:]]
    return [(number, record) for number, record in found if number is not None]


def answer(connection):
    """Passes over a response."""
    first = connection.exactly(1)
    head = connection.exactly(19 if first == b"\x01" else 21)
    lengths = struct.unpack(">hhi", head[-8:])
    connection.exactly(sum(lengths) + (4 if first == b"\x02" and head[0] == 2 and head[10] & 1 else 0))


def test_what_is_seen_is_what_a_server_carries_out(oracle, tmp_path):
    """Sent to the server itself: service and method are what it acted on, or undetermined."""
    server = oracle("sofa").ready()
    frames = bolt.frames(random.Random("sofa"), 3000)
    seen = calls.seen(frames.values(), tmp_path, "bolt")
    records = carried_out(server, server.port, frames.values())
    wrong, certain = [], 0
    for number, record in records:
        line = seen.get(number)
        if line is None:
            continue
        attributes, hidden = line["attributes"], line.get("undetermined", [])
        certain += not hidden
        for name in ("service", "method"):
            if name not in hidden and attributes.get(name) != record[name]:
                wrong.append((name, attributes.get(name), record, frames[number]))
    assert not wrong, f"{len(wrong)} of {len(records)}, such as {wrong[:4]}"
    assert len(records) > len(frames) / 2 and certain > len(frames) / 10


def test_a_denied_call_is_not_carried_out(oracle, mesh):
    """Sent through the proxy: nothing that a policy denies reaches the server."""
    server = oracle("sofa").ready()
    frames = bolt.frames(random.Random("sofa, denied"), 600)
    for action, operation, name, value, wanted in [
        ("DENY", {"operations": ["secret"]}, "method", "secret", False),
        ("ALLOW", {"operations": ["greet"]}, "method", "greet", True),
        ("DENY", {"attributes": {"service": ["demo.Admin:1.0"]}}, "service", "demo.Admin:1.0", False),
        ("ALLOW", {"attributes": {"service": ["demo.Greeter:1.0"]}}, "service", "demo.Greeter:1.0", True),
    ]:
        port = free_port()
        spec = {"action": action, "rules": [{"to": [{"operation": operation}]}]}
        proxy = mesh(
            [
                config.gateway("gw", "bolt", port),
                config.service(SERVICE, "bolt", {"v1": server.port}),
                config.destination_rule(SERVICE, subsets=["v1"]),
                config.meta_router("gw", SERVICE, [route(to(SERVICE))]),
                config.resource(config.META_ROUTER, "AuthorizationPolicy", "policy", spec),
            ]
        )
        records = carried_out(server, port, frames.values())
        wrong = [record for _, record in records if (record[name] == value) != wanted]
        assert not wrong, f"{action} {operation}: {wrong[:3]}"
        assert records, f"{action} {operation}: nothing came through"
        proxy.stop()
