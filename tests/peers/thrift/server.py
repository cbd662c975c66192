"""An Apache Thrift server in Python, with any of its transports and protocols."""

import argparse
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "target"))

from demo import Demo, Other, ttypes  # noqa: E402
from thrift.protocol import (  # noqa: E402
    TBinaryProtocol,
    TCompactProtocol,
    THeaderProtocol,
    TJSONProtocol,
)
from thrift.server import TServer  # noqa: E402
from thrift.TMultiplexedProcessor import TMultiplexedProcessor  # noqa: E402
from thrift.transport import THeaderTransport, TSocket, TTransport  # noqa: E402

CALL = threading.local()


class Handler:
    """Answers with its tag."""

    def __init__(self, tag):
        self._tag = tag
        self._fired = []

    def tag(self):
        return self._tag

    def add(self, left, right):
        return left + right

    def echo(self, value):
        return value

    def bytes(self, value):
        return value

    def nothing(self):
        pass

    def boom(self, message):
        raise ttypes.Boom(message, 42)

    def broken(self, message):
        raise RuntimeError(message)

    def slow(self, millis):
        time.sleep(millis / 1000)
        return self._tag

    def fire(self, text):
        self._fired.append(text)

    def fired(self):
        return list(self._fired)

    def header(self, name):
        value = CALL.headers.get(name.encode(), b"")
        return value.decode()


class Headers:
    """A processor that keeps the call's headers where the handler finds them."""

    def __init__(self, processor):
        self._processor = processor

    def process(self, iprot, oprot):
        # The headers are those of the message that is being read, so they are looked up on use.
        class Late:
            def get(self, key, otherwise):
                if not isinstance(iprot.trans, THeaderTransport.THeaderTransport):
                    return otherwise
                return iprot.trans.get_headers().get(key, otherwise)

        CALL.headers = Late()
        if isinstance(oprot.trans, THeaderTransport.THeaderTransport):
            oprot.trans.set_header(b"served", b"yes")
        return self._processor.process(iprot, oprot)


def main():
    """Serves until it is told to stop; prints READY when it listens."""
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--tag", required=True)
    options.add_argument("--transport", choices=["framed", "buffered", "header"], default="framed")
    options.add_argument("--protocol", choices=["binary", "compact", "json"], default="binary")
    options.add_argument("--multiplexed", action="store_true")
    options = options.parse_args()

    processor = Demo.Processor(Handler(options.tag))
    if options.multiplexed:
        both = TMultiplexedProcessor()
        both.registerProcessor("Demo", processor)
        both.registerProcessor("Other", Other.Processor(Handler(options.tag + "-other")))
        processor = both
    if options.transport == "header":
        transport = TTransport.TTransportFactoryBase()
        kinds = THeaderTransport.THeaderClientType
        protocol = THeaderProtocol.THeaderProtocolFactory(
            (
                kinds.HEADERS,
                kinds.FRAMED_BINARY,
                kinds.FRAMED_COMPACT,
                kinds.UNFRAMED_BINARY,
                kinds.UNFRAMED_COMPACT,
            )
        )
    else:
        transport = {
            "framed": TTransport.TFramedTransportFactory,
            "buffered": TTransport.TBufferedTransportFactory,
        }[options.transport]()
        protocol = {
            "binary": TBinaryProtocol.TBinaryProtocolFactory,
            "compact": TCompactProtocol.TCompactProtocolFactory,
            "json": TJSONProtocol.TJSONProtocolFactory,
        }[options.protocol]()
    socket = TSocket.TServerSocket("127.0.0.1", options.port)
    socket.listen()
    print("READY", flush=True)
    socket.listen = lambda: None
    server = TServer.TThreadedServer(Headers(processor), socket, transport, protocol, daemon=True)
    server.serve()


if __name__ == "__main__":
    main()
