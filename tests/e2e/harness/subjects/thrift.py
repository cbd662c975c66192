"""Apache Thrift's own Python library on both sides: framed binary, and THeader for calls with
metadata. Methods take a string and give one; what they are called is up to the test."""

import contextlib

from thrift.protocol import TBinaryProtocol, THeaderProtocol
from thrift.Thrift import TApplicationException, TException, TMessageType, TType
from thrift.transport import THeaderTransport, TSocket, TTransport

from . import script

KINDS = THeaderTransport.THeaderClientType
BINARY = THeaderTransport.THeaderSubprotocolID.BINARY


class Wire:
    ordered = True

    @staticmethod
    def op(name):
        return name

    @staticmethod
    def requests(connection):
        wire = TSocket.TSocket()
        wire.setHandle(connection.sock)
        # It answers in what it was asked in.
        speak = THeaderProtocol.THeaderProtocol(
            TTransport.TBufferedTransport(wire), (KINDS.HEADERS, KINDS.FRAMED_BINARY)
        )
        while True:
            try:
                method, kind, number = speak.readMessageBegin()
                text = read_struct(speak).get(1, "")
                speak.readMessageEnd()
            except (TException, EOFError, OSError):
                return
            headers = {
                key.decode(): value.decode() for key, value in speak.trans.get_headers().items()
            }

            def answer(do, tag, method=method, number=number):
                for key, value in (do.meta or {}).items():
                    speak.trans.set_header(key.encode(), value.encode())
                write_reply(speak, method, number, do, tag)

            yield (
                script.Call(method, text, headers, oneway=kind == TMessageType.ONEWAY),
                answer,
            )


def read_struct(speak):
    """The strings and integers of a struct, by field."""
    found = {}
    speak.readStructBegin()
    while True:
        _, kind, number = speak.readFieldBegin()
        if kind == TType.STOP:
            break
        if kind == TType.STRING:
            found[number] = speak.readString()
        elif kind == TType.I32:
            found[number] = speak.readI32()
        else:
            speak.skip(kind)
        speak.readFieldEnd()
    speak.readStructEnd()
    return found


def write_string(speak, number, text):
    """A struct of one string; of none, if the field has no number."""
    speak.writeStructBegin("one")
    if number is not None:
        speak.writeFieldBegin("text", TType.STRING, number)
        speak.writeString(text)
        speak.writeFieldEnd()
    speak.writeFieldStop()
    speak.writeStructEnd()


def write_reply(speak, method, number, do, tag):
    if do.what == "broken":
        speak.writeMessageBegin(method, TMessageType.EXCEPTION, number)
        # A type that says nothing of the application.
        TApplicationException(TApplicationException.UNKNOWN, f"{tag} failed").write(speak)
    else:
        speak.writeMessageBegin(method, TMessageType.REPLY, number)
        if do.what == "answer":
            write_string(speak, 0, do.text or tag)
        else:
            # Field 1: the first exception that a method declares.
            write_string(speak, 1, f"{tag} failed")
    speak.writeMessageEnd()
    speak.trans.flush()


class Client(script.Client):
    natives = {
        "bad_request": TApplicationException.PROTOCOL_ERROR,
        "not_found": TApplicationException.UNKNOWN_METHOD,
        **{
            reason: TApplicationException.INTERNAL_ERROR
            for reason in ("unavailable", "timeout", "overloaded", "denied", "internal")
        },
        "application": "declared",
        "server": TApplicationException.UNKNOWN,
    }

    def __init__(self, port, **options):
        super().__init__(port, **options)
        self._open = {}
        self._number = 0

    def close(self):
        for connection, _ in self._open.values():
            connection.close()
        self._open.clear()

    def _speak(self, headers):
        if headers not in self._open:
            connection = self.socket()
            wire = TSocket.TSocket()
            wire.setHandle(connection.sock)
            if headers:
                speak = THeaderProtocol.THeaderProtocol(
                    TTransport.TBufferedTransport(wire), (KINDS.HEADERS,), default_protocol=BINARY
                )
            else:
                speak = TBinaryProtocol.TBinaryProtocol(TTransport.TFramedTransport(wire))
            self._open[headers] = connection, speak
        return self._open[headers][1]

    def _send(self, speak, op, *, text="x", oneway=False):
        self._number += 1
        speak.writeMessageBegin(
            op, TMessageType.ONEWAY if oneway else TMessageType.CALL, self._number
        )
        write_string(speak, 1, text)
        speak.writeMessageEnd()
        speak.trans.flush()
        return self._number

    def _call(
        self, op, *, text="x", meta=None, user=None, oneway=False, safe=False, wait=0, headers=False
    ):
        del safe, wait
        entries = {**(meta or {}), **({"x-user": user} if user else {})}
        try:
            speak = self._speak(bool(entries) or headers)
            for key, value in entries.items():
                speak.trans.set_header(key.encode(), value.encode())
            number = self._send(speak, op, text=text, oneway=oneway)
            if oneway:
                return script.Outcome(self.natives)
            return self._read(speak, op, number)
        except (TTransport.TTransportException, EOFError, OSError) as error:
            self.close()
            raise script.Gone(repr(error)) from error

    def _read(self, speak, op, number):
        method, kind, got = speak.readMessageBegin()
        if kind == TMessageType.EXCEPTION:
            failure = TApplicationException()
            failure.read(speak)
            speak.readMessageEnd()
            outcome = script.Outcome(self.natives, native=failure.type, text=failure.message or "")
        else:
            fields = read_struct(speak)
            speak.readMessageEnd()
            if 1 in fields:
                outcome = script.Outcome(self.natives, native="declared", text=fields[1])
            else:
                outcome = script.Outcome(self.natives, value=fields.get(0))
        assert (method, got) == (op, number), (method, got, op, number)
        with contextlib.suppress(AttributeError):
            outcome.meta = {
                key.decode(): value.decode() for key, value in speak.trans.get_headers().items()
            }
        return outcome

    def _many(self, count, op, *, text="x", user=None):
        if user:
            return [self._call(op, text=text, user=user) for _ in range(count)]
        speak = self._speak(False)
        numbers = [self._send(speak, op, text=text) for _ in range(count)]
        return [self._read(speak, op, number) for number in numbers]


class Thrift:
    name = "thrift"
    user, operation = "header.x-user", "method"
    header = "header.{}".format
    broken_status = {"exception": "unknown"}
    metadata = response_metadata = True
    wire = Wire
    client = Client
