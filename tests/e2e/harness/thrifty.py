"""Apache Thrift's own Python client, in any of its transports and protocols."""

import contextlib

from demo import Demo, Other
from demo.ttypes import Colour, Everything, Inner
from thrift.protocol import (
    TBinaryProtocol,
    TCompactProtocol,
    THeaderProtocol,
    TJSONProtocol,
    TMultiplexedProtocol,
)
from thrift.transport import THeaderTransport, TSocket, TTransport

PROTOCOLS = ["binary", "compact", "json"]

# What Python's library can speak, on both sides.
DIALECTS = [
    *(("framed", protocol) for protocol in PROTOCOLS),
    *(("buffered", protocol) for protocol in PROTOCOLS),
    ("header", "binary"),
    ("header", "compact"),
]

# What Node's library can speak as a client.
NODE_DIALECTS = [dialect for dialect in DIALECTS if dialect[0] != "header"]

EVERYTHING = Everything(
    yes=True,
    tiny=-7,
    small=-300,
    medium=70_000,
    large=-(1 << 60),
    real=2.5,
    text="Μελτέμι 😀",
    blob=bytes(range(256)),
    numbers=[1, -2, 3],
    words={"a", "b"},
    counts={"x": 1, "y": 1 << 40},
    nested={1: ["a", "b"], 2: []},
    inner=Inner(name="outer", children=[Inner(name="inner")]),
    colour=Colour.GREEN,
    far=False,
)


@contextlib.contextmanager
def client(
    port, transport="framed", protocol="binary", *, service=None, timeout=10.0, zlib=False
):
    """An open client of Demo (or of Other, by its name in a multiplexed server)."""
    socket = TSocket.TSocket("127.0.0.1", port)
    socket.setTimeout(timeout * 1000)
    if transport == "header":
        wire = socket
        kind = {
            "binary": THeaderTransport.THeaderSubprotocolID.BINARY,
            "compact": THeaderTransport.THeaderSubprotocolID.COMPACT,
        }[protocol]
        allowed = [THeaderTransport.THeaderClientType.HEADERS]
        speak = THeaderProtocol.THeaderProtocol(wire, allowed, default_protocol=kind)
        if zlib:
            speak.trans.add_transform(THeaderTransport.THeaderTransformID.ZLIB)
    else:
        wire = {
            "framed": TTransport.TFramedTransport,
            "buffered": TTransport.TBufferedTransport,
        }[transport](socket)
        speak = {
            "binary": TBinaryProtocol.TBinaryProtocol,
            "compact": TCompactProtocol.TCompactProtocol,
            "json": TJSONProtocol.TJSONProtocol,
        }[protocol](wire)
    kind = Demo.Client
    if service:
        speak = TMultiplexedProtocol.TMultiplexedProtocol(speak, service)
        kind = Other.Client if service == "Other" else Demo.Client
    speak.trans.open()
    try:
        yield kind(speak)
    finally:
        speak.trans.close()


def set_headers(client, headers):
    """Headers for the next call of a client of THeader."""
    for key, value in headers.items():
        client._oprot.trans.set_header(key.encode(), value.encode())


def answer_headers(client):
    """The headers that came with the last answer."""
    return {
        key.decode(): value.decode() for key, value in client._iprot.trans.get_headers().items()
    }
