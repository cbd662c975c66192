"""What a policy denies is not carried out by real Thrift servers, however the call is written."""

import itertools
import random
import socket
import struct
import zlib

import pytest
from harness import config, thrifty
from harness.config import route, to
from harness.process import free_port

SERVICE = "thrift.test"
ONEWAY = 4


def policies(port, server_port):
    spec = {
        "action": "DENY",
        "rules": [{"to": [{"operation": {"operations": ["fire"]}}]}],
    }
    return [
        config.gateway("gw", "thrift", port),
        config.service(SERVICE, "thrift", {"v1": server_port}),
        config.destination_rule(SERVICE, subsets=["v1"]),
        config.meta_router("gw", SERVICE, [route(to(SERVICE))]),
        config.resource(config.META_ROUTER, "AuthorizationPolicy", "no-fire", spec),
    ]


def binary(name, text, lax=False, kind=ONEWAY):
    size = struct.pack("!i", len(name))
    front = size + name + bytes([kind]) if lax else b"\x80\x01\0" + bytes([kind]) + size + name
    return front + struct.pack("!i", 7) + b"\x0b\0\x01" + struct.pack("!i", len(text)) + text + b"\0"


def compact(name, text, kind=ONEWAY):
    front = bytes([0x82, 1 | kind << 5, 7, len(name)])
    return front + name + b"\x18" + bytes([len(text)]) + text + b"\0"


def json(name, text, rng, kind=ONEWAY):
    def letter(char):
        escaped = rng.random() < 0.3
        return f"\\u{ord(char):04{rng.choice('xX')}}" if escaped else char

    written = "".join(letter(char) for char in name.decode("latin-1"))
    return f'[1,"{written}",{kind},7,{{"1":{{"str":"{text.decode()}"}}}}]'.encode()


def names(rng, multiplexed):
    yield from [b"fire", b"Demo:fire"] * 25
    parts = [b"Demo", b"", b"fire", b"Other", b"x"]
    for length in range(1, 5):
        for chosen in itertools.product(parts, repeat=length):
            if b"fire" in chosen and (multiplexed or rng.random() < 0.3):
                yield b":".join(chosen)


def calls(protocol, transport, multiplexed, rng):
    """Payloads that may call `fire`, each with a text of its own."""
    count = itertools.count()
    for name in names(rng, multiplexed):
        for way in range(4):
            text = f"t{next(count)}".encode()
            kind = rng.choice([ONEWAY, ONEWAY, 1])
            if protocol == "binary":
                lax = way == 1 and transport != "header"
                message = binary(name, text, lax=lax, kind=kind)
                front = binary(b"Demo:nothing" if multiplexed else b"nothing", b"")
            elif protocol == "compact":
                message = compact(name, text, kind)
                front = compact(b"Demo:nothing" if multiplexed else b"nothing", b"")
            else:
                message = json(name, text, rng, kind)
                front = json(b"Demo:nothing" if multiplexed else b"nothing", b"", rng)
            yield front + message if way == 2 else message


def framed(payload):
    return struct.pack("!i", len(payload)) + payload


def headed(payload, protocol, rng):
    """A frame of THeader, compressed in some way."""
    transforms = [1] * rng.choice([0, 1, 1, 2])
    for _ in transforms:
        payload = zlib.compress(payload)
        if rng.random() < 0.5:
            payload = payload[:2] + b"\0\0\0\xff\xff" * rng.choice([1, 200, 2000]) + payload[2:]
        if rng.random() < 0.2:
            payload = payload[:-4]
    block = bytes([{"binary": 0, "compact": 2}[protocol], len(transforms), *transforms])
    if rng.random() < 0.3:
        block += rng.choice([b"\x01\x01\x01a\x01b", b"\x02\x01\x01a\x01b", b"\x05"])
    block += b"\0" * (-len(block) % 4)
    return framed(b"\x0f\xff\0\0" + struct.pack("!iH", 7, len(block) // 4) + block + payload)


def send(port, message):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(message)
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(0.05)
        try:
            while sock.recv(4096):
                pass
        except OSError:
            pass


@pytest.mark.parametrize("multiplexed", [False, True], ids=["one", "multiplexed"])
@pytest.mark.parametrize(
    "language, transport, protocol",
    [
        ("python", "framed", "binary"),
        ("python", "framed", "compact"),
        ("python", "framed", "json"),
        ("python", "buffered", "json"),
        ("python", "header", "binary"),
        ("python", "header", "compact"),
        ("node", "framed", "binary"),
        ("node", "framed", "compact"),
        ("node", "buffered", "binary"),
    ],
)
def test_a_denied_method_is_not_carried_out(
    mesh, thrift_server, language, transport, protocol, multiplexed
):
    """The same bytes sent to a server directly carry it out: the test would see it."""
    if multiplexed and language == "node":
        pytest.skip("Node's peer has no multiplexed server")
    rng = random.Random(f"{language} {transport} {protocol}")
    options = {"multiplexed": True} if multiplexed else {}
    guarded = thrift_server(language, "v1", transport, protocol, **options)
    bare = thrift_server(language, "v2", transport, protocol, **options)
    port = free_port()
    mesh(policies(port, guarded.port))

    service = "Demo" if multiplexed else None

    def fired(server):
        with thrifty.client(server.port, transport, protocol, service=service) as client:
            return client.fired()

    # Other tests use the same servers.
    before, bare_before = fired(guarded), fired(bare)
    sent = list(calls(protocol, transport, multiplexed, rng))
    for payload in sent:
        if transport == "header":
            message = headed(payload, protocol, rng)
        else:
            message = framed(payload) if transport == "framed" else payload
        send(port, message)
        if rng.random() < 0.3:
            send(bare.port, message)

    assert fired(bare) != bare_before, "nothing reached the server that nobody guards"
    assert fired(guarded) == before
    # What is not denied goes through the same port.
    with thrifty.client(port, transport, protocol, service=service) as client:
        assert client.add(2, 3) == 5
