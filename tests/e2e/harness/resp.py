"""A Redis client that says single commands and gives back whatever is answered, errors too."""

import sys
import socket


class Refused(Exception):
    """An error reply. Two with the same text are equal."""

    def __eq__(self, other):
        return isinstance(other, Refused) and self.args == other.args

    __hash__ = Exception.__hash__


def command(*words):
    """A command as it is on the wire."""
    parts = [word if isinstance(word, bytes) else word.encode() for word in words]
    bulks = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), bulks)


class Client:
    """A connection on which one command is said after the other."""

    def __init__(self, port, timeout=10.0):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._file.close()
        self.sock.close()

    def __call__(self, *words):
        self.say(*words)
        return self.read()

    def say(self, *words):
        self.sock.sendall(command(*words))

    def pipeline(self, *lines):
        """Says all of these at once, and gives back all answers."""
        self.sock.sendall(b"".join(command(*line.split()) for line in lines))
        return [self.read() for _ in lines]

    def read(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection was closed")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return rest
        if kind == b"-":
            return Refused(rest)
        if kind == b":":
            return int(rest)
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == "t"
        if kind in (b",", b"("):
            return rest
        if kind in (b"$", b"=", b"!"):
            if rest == "-1":
                return None
            text = self._file.read(int(rest) + 2)[:-2].decode()
            return Refused(text) if kind == b"!" else text
        if kind == b"%":
            return {str(self.read()): self.read() for _ in range(int(rest))}
        if kind in (b"*", b"~", b">"):
            return None if rest == "-1" else [self.read() for _ in range(int(rest))]
        raise ConnectionError(f"what is {line!r}?")

# Deep replies are read by recursion.
sys.setrecursionlimit(20_000)
