"""Peers that lie, stall, stop half-way or never stop: each gets the protocol's own error, or is cut
off, and no other call notices."""

import contextlib
import os
import random
import struct
import threading
import time

import pytest
from harness import config, dubbo, quill, thrifty
from harness.config import route, to
from harness.process import eventually, free_port
from harness.wire import Closed, Connection, Server

SERVICE = "victim.test"
GIBI2 = (1 << 31) - 1
LIMITS = {"slowFrame": "2s", "frame": 16 << 20}


def documents(protocol, port, upstream, routes=None, **limits):
    return [
        config.gateway("gw", protocol, port),
        config.service(SERVICE, protocol, {"v1": upstream}),
        config.destination_rule(SERVICE, ["v1", "v9"]),
        config.meta_router("gw", SERVICE, routes or [route(to(SERVICE))]),
        config.listener_policy("gw", **{**LIMITS, **limits}),
    ]


def dubbo_server(connection):
    """Answers every request with its method's place in the body, and heartbeats."""
    while True:
        frame = dubbo.read(connection)
        if frame.is_event:
            connection.send(dubbo.frame(frame.id, b"N", flags=0x22, status=20))
        elif frame.flags & dubbo.TWO_WAY:
            connection.send(dubbo.response(frame.id, b"\x94" + dubbo.string("fine") + b"HZ"))


def thrift_call(method="add", number=1, body=b"\x08\x00\x01\x00\x00\x00\x28\x08\x00\x02\x00\x00\x00\x02\x00"):
    """A framed call of the binary protocol."""
    name = method.encode()
    message = b"\x80\x01\x00\x01" + struct.pack(">i", len(name)) + name
    message += struct.pack(">i", number) + body
    return struct.pack(">i", len(message)) + message


class Victim:
    """A protocol behind a mesh: a good request, and whether an answer is good."""

    def __init__(self, name, port, request, good):
        self.name, self.port, self._request, self._good = name, port, request, good

    def connect(self, **options):
        return Connection(self.port, **options)

    def request(self):
        return self._request

    def works(self, connection):
        """One good call on the connection."""
        connection.send(self._request)
        self._good(connection)
        return True


def _redis_good(connection):
    assert connection.line() == b"+PONG"


def _thrift_good(connection):
    (length,) = struct.unpack(">i", connection.exactly(4))
    answer = connection.exactly(length)
    assert answer[:4] == b"\x80\x01\x00\x02", answer


def _dubbo_good(connection):
    answer = dubbo.read(connection)
    assert (answer.status, answer.id) == (20, 77), (answer.status, answer.text())


def _quill_good(connection):
    answer = quill.read(connection)
    assert (answer.status, answer.id) == (0, 77), (answer.status, answer.message)


PROTOCOLS = ["redis", "thrift", "dubbo", "quill"]


@pytest.fixture
def victim_of(mesh, redis_server, thrift_server):
    """Starts a mesh for a protocol, with a good upstream unless another is given."""
    with contextlib.ExitStack() as stack:

        def start(protocol, upstream=None, routes=None, **limits):
            if upstream is None:
                upstream = {
                    "redis": lambda: redis_server("a").port,
                    "thrift": lambda: thrift_server("python", "v1", "framed", "binary").port,
                    "dubbo": lambda: stack.enter_context(Server(dubbo_server)).port,
                    "quill": lambda: stack.enter_context(Server(quill.serve("v1"))).port,
                }[protocol]()
            port = free_port()
            router = mesh(documents(protocol, port, upstream, routes, **limits))
            request, good = {
                "redis": (b"PING\r\n", _redis_good),
                "thrift": (thrift_call(), _thrift_good),
                "dubbo": (dubbo.request(77), _dubbo_good),
                "quill": (quill.call(77, "s", "m"), _quill_good),
            }[protocol]
            victim = Victim(protocol, port, request, good)
            victim.mesh = router
            return victim

        yield start


@pytest.fixture(params=PROTOCOLS)
def victim(request, victim_of):
    return victim_of(request.param)


@contextlib.contextmanager
def bystander(victim):
    """A client that calls all the time: nothing of what happens beside it may show."""
    failures = []
    calls = [0]
    stop = threading.Event()

    def run():
        try:
            with victim.connect() as connection:
                while not stop.is_set():
                    started = time.monotonic()
                    victim.works(connection)
                    calls[0] += 1
                    took = time.monotonic() - started
                    assert took < 1.5, f"a call took {took:.1f} s"
                    time.sleep(0.002)
        except Exception as error:  # noqa: BLE001: told below
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    eventually(lambda: calls[0] > 0 or failures, what="the bystander's first call")
    try:
        yield
        before = calls[0]
        eventually(lambda: calls[0] > before or failures, what="the bystander's last call")
    finally:
        stop.set()
        thread.join(timeout=10)
    assert not failures, failures[0]
    assert victim.mesh.alive()


def answered_or_closed(connection, seconds=5.0):
    """Everything that comes until the peer closes; it must close, or answer, in time."""
    connection.sock.settimeout(seconds)
    return connection.rest()


def test_garbage(victim):
    chance = random.Random(2)
    with bystander(victim):
        for size in (1, 7, 64, 4096, 70_000):
            with victim.connect() as bad, contextlib.suppress(Closed):
                bad.send(chance.randbytes(size))
                bad.finish()
                answered_or_closed(bad)


@pytest.mark.parametrize(
    "foreign",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 512,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["HTTP/1", "HTTP/2", "TLS", "SSH"],
)
def test_other_protocols(victim, foreign):
    with bystander(victim), victim.connect() as bad, contextlib.suppress(Closed):
        bad.send(foreign)
        bad.finish()
        answered_or_closed(bad)


def test_good_requests_before_garbage_are_answered(victim):
    with bystander(victim), victim.connect() as bad:
        victim.works(bad)
        with contextlib.suppress(Closed):
            bad.send(victim.request() + os.urandom(100))
        victim._good(bad)


def test_a_half_closed_client_gets_its_answers(victim):
    with bystander(victim), victim.connect() as half:
        half.send(victim.request() * 20)
        half.finish()
        for _ in range(20):
            victim._good(half)
        assert half.rest() == b""


def test_a_client_that_sends_half_a_message_and_leaves(victim):
    with bystander(victim):
        for cut in range(1, len(victim.request()), 3):
            with victim.connect() as half:
                half.send(victim.request()[:cut])


def test_a_client_that_stops_half_way_is_cut_off(victim):
    with bystander(victim), victim.connect() as slow:
        victim.works(slow)
        slow.send(victim.request()[:-1])
        started = time.monotonic()
        answered_or_closed(slow, 10)
        assert 1 < time.monotonic() - started < 6, "after the slow-frame timeout of 2 s"


def test_a_client_that_dribbles_a_byte_a_second(victim):
    """Its message never takes so long between two bytes, but too long altogether."""
    with bystander(victim), victim.connect() as slow:
        started = time.monotonic()
        try:
            for byte in victim.request() + b"x" * 10:
                slow.send(bytes([byte]))
                time.sleep(1)
                if time.monotonic() - started > 8:
                    raise AssertionError("it was never cut off")
        except Closed:
            pass
        assert time.monotonic() - started > 1.5


def test_bytes_one_by_one_are_as_good_as_any(victim):
    with bystander(victim), victim.connect() as slow:
        for byte in victim.request():
            slow.send(bytes([byte]))
            time.sleep(0.002)
        victim._good(slow)


HUGE = {
    "redis": b"*2\r\n$3\r\nGET\r\n$2147483647\r\nxxx",
    "redis array": b"*2147483647\r\n$3\r\nGET\r\n",
    "thrift": struct.pack(">i", GIBI2) + thrift_call()[4:],
    "thrift negative": struct.pack(">i", -5) + thrift_call()[4:],
    "dubbo": dubbo.frame(5, b"\x052.0.2", length=GIBI2),
    "dubbo negative": dubbo.frame(5, b"\x052.0.2", length=-1),
    "quill": quill.pack(quill.CALL, 5, b"\x01s\x01m", length=GIBI2),
}


@pytest.mark.parametrize("what", HUGE)
def test_a_length_of_two_gibibytes(victim_of, what):
    victim = victim_of(what.split()[0])
    with bystander(victim):
        before = victim.mesh.memory()
        for _ in range(20):
            with victim.connect() as bad, contextlib.suppress(Closed):
                bad.send(HUGE[what])
                answer = answered_or_closed(bad)
        assert victim.mesh.memory() - before < 32 << 20
    if what.startswith("redis"):
        assert answer.startswith(b"-ERR Protocol error"), answer
    if what in ("dubbo", "quill"):
        assert answer, "the request's id is known, so it is answered before the connection ends"


def nested(depth):
    """A Thrift struct whose first field is a list of lists of … of this depth."""
    return b"\x0f\x00\x01" + b"\x0f\x00\x00\x00\x01" * depth + b"\x08\x00\x00\x00\x00" + b"\x00"


DEEP = {
    "redis": b"*1\r\n" * 10_000 + b"$4\r\nPING\r\n",
    "thrift": thrift_call(body=nested(10_000)),
    "thrift json": b"[1,\"add\",1,0," + b"[" * 10_000,
    "dubbo": dubbo.frame(
        5,
        dubbo.string("2.0.2")
        + dubbo.string("demo.DemoService")
        + dubbo.string("0.0.0")
        + dubbo.string("sayHello")
        + dubbo.string("Ljava/util/List;")
        + b"\x79" * 10_000
        + b"N"
        + dubbo.attachments({"user": "x"}),
    ),
}


@pytest.mark.parametrize("what", DEEP)
def test_ten_thousand_nested_arrays(victim_of, what):
    protocol = what.split()[0]
    # The Dubbo attachment lies behind the nested argument: a route by it has to look.
    routes = None
    if protocol == "dubbo":
        routes = [route(to(SERVICE, "v1"), when={"user": "x"}), route(to(SERVICE, "v1"))]
    victim = victim_of(protocol, routes=routes)
    with bystander(victim), victim.connect() as bad, contextlib.suppress(Closed):
        bad.send(DEEP[what])
        if what == "dubbo":
            answer = dubbo.read(bad)
            assert answer.id == 5
            victim.works(bad)
        else:
            bad.finish()
            answered_or_closed(bad)


def test_nested_replies_of_a_server(victim_of):
    def serve(connection):
        connection.until(b"\r\n")
        connection.send(b"*1\r\n" * 10_000 + b":1\r\n")
        connection.exactly(1)

    with Server(serve) as server:
        victim = victim_of("redis", server.port)
        with victim.connect() as client:
            client.send(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
            answer = client.line()
            # Passed through or refused, but the mesh is still there.
            assert answer[:1] in (b"*", b"-")
        assert victim.mesh.alive()
        with victim.connect() as client:
            client.send(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
            assert client.line()


def test_unbounded_replies_of_a_server_that_nobody_reads(victim_of):
    """A client that asks for much and reads nothing is cut off; memory stays bounded."""
    blob = b"$1048576\r\n" + b"x" * (1 << 20) + b"\r\n"

    def serve(connection):
        while True:
            connection.until(b"k\r\n")
            connection.send(blob)

    with Server(serve) as server:
        victim = victim_of("redis", server.port)
        before = victim.mesh.memory()
        with victim.connect() as client:
            with contextlib.suppress(Closed, OSError):
                client.send(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * 300)
            time.sleep(1.5)
            assert victim.mesh.memory() - before < 128 << 20
        assert victim.mesh.alive()


STRAY = {
    "redis": b"+NOBODY ASKED\r\n",
    "thrift": thrift_call()[:4] + b"\x80\x01\x00\x02" + thrift_call(number=99)[8:],
    "dubbo": dubbo.response(987_654),
    "quill": quill.reply(987_654, b"stray"),
}


def _thrift_asked(connection):
    return connection.exactly(struct.unpack(">i", connection.exactly(4))[0])


def _thrift_answer(asked):
    body = b"\x80\x01\x00\x02\x00\x00\x00\x03add" + asked[11:15] + b"\x00"
    return struct.pack(">i", len(body)) + body


# How a scripted server of each protocol reads a request, and answers it well.
SCRIPTS = {
    "redis": (lambda connection: connection.until(b"PING\r\n"), lambda _: b"+PONG\r\n"),
    "thrift": (_thrift_asked, _thrift_answer),
    "dubbo": (
        dubbo.read,
        lambda asked: dubbo.response(asked.id, b"\x94" + dubbo.string("fine") + b"HZ"),
    ),
    "quill": (quill.read, lambda asked: quill.reply(asked.id, b"fine")),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("when", ["idle", "before", "after"])
def test_replies_that_nobody_asked_for(victim_of, protocol, when):
    """They reach no caller: not this one, and above all not the next."""
    take, answer = SCRIPTS[protocol]
    stray = STRAY[protocol]

    def serve(connection):
        if when == "idle":
            connection.send(stray)
        while True:
            asked = take(connection)
            if getattr(asked, "is_event", False) or getattr(asked, "kind", None) == quill.PING:
                continue
            before = stray if when == "before" else b""
            after = stray if when == "after" else b""
            connection.send(before + answer(asked) + after)

    by_order = protocol in ("redis", "thrift")
    with Server(serve) as server:
        victim = victim_of(protocol, server.port)
        for _ in range(5):
            with victim.connect() as client, contextlib.suppress(Closed):
                client.send(victim.request())
                if by_order and when != "after":
                    # Without ids nobody can tell which reply is whose: one comes, or an error.
                    client.exactly(1)
                else:
                    victim._good(client)
            time.sleep(0.02)
        assert victim.mesh.alive()


def test_a_stray_redis_reply_never_reaches_the_next_client(victim_of):
    """The second reply to one command closes the connection, or is dropped."""

    def serve(connection):
        while True:
            key = connection.until(b"\r\n")
            while not key.startswith(b"k"):
                key = connection.until(b"\r\n")
            value = key.strip()
            connection.send(b"$%d\r\n%s\r\n" % (len(value), value) + b"$5\r\nSTRAY\r\n")

    with Server(serve) as server:
        victim = victim_of("redis", server.port)
        for number in range(50):
            key = b"k%d" % number
            with victim.connect() as client, contextlib.suppress(Closed):
                client.send(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key))
                first = client.line()
                if not first.startswith(b"-"):
                    assert client.line() == key
            time.sleep(0.01)


def test_a_response_sent_by_a_client(victim_of):
    for protocol, response in [("dubbo", dubbo.response(5)), ("quill", quill.reply(5, b"what"))]:
        victim = victim_of(protocol)
        with bystander(victim), victim.connect() as bad:
            bad.send(response)
            # Its extent is known, so the connection goes on.
            victim.works(bad)


def test_a_response_sent_by_a_client_of_thrift(victim_of):
    victim = victim_of("thrift")
    with bystander(victim), victim.connect() as bad, contextlib.suppress(Closed):
        bad.send(STRAY["thrift"])
        bad.finish()
        answered_or_closed(bad)


@pytest.mark.parametrize("protocol", ["dubbo", "quill"])
def test_a_request_sent_by_a_server(victim_of, protocol):
    """A server that calls its client: the mesh has nobody to give it to, and goes on."""

    def serve(connection):
        while True:
            if protocol == "dubbo":
                frame = dubbo.read(connection)
                if frame.is_event:
                    continue
                connection.send(dubbo.request(4711, "callBack"))
                connection.send(dubbo.response(frame.id, b"\x94" + dubbo.string("fine") + b"HZ"))
            else:
                frame = quill.read(connection)
                if frame.kind != quill.CALL:
                    continue
                connection.send(quill.call(4711, "s", "callBack"))
                connection.send(quill.reply(frame.id, b"fine"))

    with Server(serve) as server:
        victim = victim_of(protocol, server.port)
        with victim.connect() as client:
            for _ in range(10):
                victim.works(client)
            assert client.silent(0.2)


def test_heartbeats_of_dubbo_servers_are_answered(victim_of):
    """Dubbo's servers ask as well as its clients."""
    answers = []

    def serve(connection):
        dubbo.read(connection)
        connection.send(dubbo.frame(31, b"N", flags=dubbo.HEARTBEAT_FLAGS))
        answers.append(dubbo.read(connection))

    with Server(serve) as server:
        victim = victim_of("dubbo", server.port)
        with victim.connect() as client:
            client.send(victim.request())
            eventually(lambda: answers, what="the answer to the server's heartbeat")
        assert answers[0].id == 31 and answers[0].is_event and not answers[0].is_request


def test_heartbeats_of_clients_are_answered(victim_of):
    victim = victim_of("dubbo")
    with victim.connect() as client:
        client.send(dubbo.frame(9, b"N", flags=dubbo.HEARTBEAT_FLAGS))
        pong = dubbo.read(client)
        assert (pong.id, pong.is_event, pong.is_request, pong.status) == (9, True, False, 20)
        # Events that are no heartbeats want no answer.
        client.send(dubbo.frame(10, b"\x01R", flags=dubbo.REQUEST | dubbo.EVENT | 2))
        victim.works(client)


@pytest.mark.parametrize("number", [0, 5, 9, 13, 31])
def test_an_unknown_serialization(victim_of, number):
    """A route that needs nothing of the body is taken; one that needs it is not."""
    flags = dubbo.REQUEST | dubbo.TWO_WAY | number
    odd = dubbo.frame(6, os.urandom(40), flags=flags)
    by_method = [route(to(SERVICE, "v1"), when={"method": "sayHello"})]
    victim = victim_of("dubbo", routes=by_method)
    with bystander(victim), victim.connect() as client:
        client.send(odd)
        answer = dubbo.read(client)
        assert (answer.id, answer.status != 20) == (6, True)
        victim.works(client)
    victim = victim_of("dubbo")
    with victim.connect() as client:
        client.send(odd)
        answer = dubbo.read(client)
        assert answer.id == 6
        victim.works(client)


def test_a_broken_body_behind_a_good_header(victim_of):
    by_method = [route(to(SERVICE, "v1"), when={"method": "sayHello"})]
    victim = victim_of("dubbo", routes=by_method)
    with bystander(victim), victim.connect() as client:
        for body in (b"", b"\x05", b"\x40" * 30, b"\xff" * 100, dubbo.string("2.0.2") * 2):
            client.send(dubbo.frame(6, body))
            answer = dubbo.read(client)
            assert answer.id == 6 and answer.status != 20 and answer.text()
            victim.works(client)


def test_a_one_way_request_is_never_answered(victim_of):
    by_method = [route(to(SERVICE, "v1"), when={"method": "sayHello"})]
    victim = victim_of("dubbo", routes=by_method)
    with victim.connect() as client:
        client.send(dubbo.request(5, "noSuchRoute", flags=dubbo.REQUEST | 2))
        client.send(dubbo.frame(6, b"\xff" * 10, flags=dubbo.REQUEST | 2))
        assert client.silent(0.3)
        victim.works(client)


def test_errors_of_a_missing_route_are_in_each_protocols_words(victim_of):
    nowhere = {
        "redis": [route(to(SERVICE, "v1"), when={"command": "PING"})],
        "thrift": [route(to(SERVICE, "v1"), when={"method": "other"})],
        "dubbo": [route(to(SERVICE, "v1"), when={"method": "other"})],
        "quill": [route(to(SERVICE, "v1"), when={"method": "other"})],
    }
    victim = victim_of("redis", routes=nowhere["redis"])
    with victim.connect() as client:
        client.send(b"GET k\r\n")
        assert client.line().startswith(b"-ERR")
    victim = victim_of("thrift", routes=nowhere["thrift"])
    with victim.connect() as client:
        client.send(thrift_call(number=12345))
        (length,) = struct.unpack(">i", client.exactly(4))
        answer = client.exactly(length)
        assert answer[:4] == b"\x80\x01\x00\x03" and answer[11:15] == struct.pack(">i", 12345)
    victim = victim_of("dubbo", routes=nowhere["dubbo"])
    with victim.connect() as client:
        client.send(victim.request())
        answer = dubbo.read(client)
        assert (answer.id, answer.status) == (77, 60) and "route" in answer.text()
    victim = victim_of("quill", routes=nowhere["quill"])
    with victim.connect() as client:
        client.send(victim.request())
        answer = quill.read(client)
        assert (answer.id, answer.status) == (77, 3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_route_to_a_subset_without_endpoints(victim_of, protocol):
    victim = victim_of(protocol, routes=[route(to(SERVICE, "v9"))])
    with victim.connect() as client:
        client.send(victim.request() if protocol != "redis" else b"GET k\r\n")
        if protocol == "redis":
            assert client.line().startswith(b"-")
        elif protocol == "thrift":
            (length,) = struct.unpack(">i", client.exactly(4))
            assert client.exactly(length)[:4] == b"\x80\x01\x00\x03"
        elif protocol == "dubbo":
            assert dubbo.read(client).status != 20
        else:
            assert quill.read(client).status == 7


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_answers_with_garbage(victim_of, protocol):
    def serve(connection):
        connection.exactly(4)
        connection.send(b"\xff\x00\x13garbage" * 10)
        time.sleep(5)

    with Server(serve) as server:
        victim = victim_of(protocol, server.port)
        with victim.connect() as client:
            client.send(victim.request() if protocol != "redis" else b"GET k\r\n")
            started = time.monotonic()
            if protocol == "redis":
                assert client.line().startswith(b"-")
            elif protocol == "thrift":
                (length,) = struct.unpack(">i", client.exactly(4))
                assert client.exactly(length)[:4] == b"\x80\x01\x00\x03"
            elif protocol == "dubbo":
                assert dubbo.read(client).status != 20
            else:
                assert quill.read(client).status != 0
            assert time.monotonic() - started < 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_closes_on_every_request(victim_of, protocol):
    def serve(connection):
        connection.exactly(4)

    with Server(serve) as server:
        victim = victim_of(protocol, server.port)
        with victim.connect() as client:
            for _ in range(3):
                client.send(victim.request() if protocol != "redis" else b"GET k\r\n")
                if protocol == "redis":
                    assert client.line().startswith(b"-")
                elif protocol == "thrift":
                    (length,) = struct.unpack(">i", client.exactly(4))
                    assert client.exactly(length)[:4] == b"\x80\x01\x00\x03"
                elif protocol == "dubbo":
                    assert dubbo.read(client).status != 20
                else:
                    assert quill.read(client).status != 0


def test_a_server_that_dribbles_holds_up_nobody(victim_of):
    """One answer takes ages; the calls beside it, to the same server, do not."""

    def serve(connection):
        while True:
            frame = quill.read(connection)
            if frame.method == "drip":
                for byte in quill.reply(frame.id, b"x" * 100):
                    connection.send(bytes([byte]))
                    time.sleep(1)
            connection.send(quill.reply(frame.id, b"fine"))

    with Server(serve) as server:
        routes = [route(to(SERVICE, "v1"), timeout="1s")]
        victim = victim_of("quill", server.port, routes)
        with victim.connect() as slow:
            slow.send(quill.call(5, "s", "drip"))
            started = time.monotonic()
            late = quill.read(slow)
            assert (late.id, late.status) == (5, 5)
            assert time.monotonic() - started < 2
            # The connection that drips is of no use to anyone; others are made.
            good = 0
            for number in range(10):
                slow.send(quill.call(100 + number, "s", "quick"))
                good += quill.read(slow).status == 0
            assert good >= 8


def test_many_connections_at_once(victim):
    with contextlib.ExitStack() as stack, bystander(victim):
        clients = [stack.enter_context(victim.connect()) for _ in range(300)]
        for client in clients:
            client.send(victim.request())
        for client in clients:
            client.sock.settimeout(20)
            victim._good(client)


def test_connections_over_the_limit_are_refused(victim_of):
    victim = victim_of("redis", connections=5)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(victim.connect()) for _ in range(5)]
        assert all(victim.works(client) for client in clients)
        with victim.connect() as sixth:
            with contextlib.suppress(Closed):
                sixth.send(b"PING\r\n")
            assert sixth.rest() == b""
        assert all(victim.works(client) for client in clients)


def test_a_request_over_the_limit_is_refused(victim_of):
    victim = victim_of("redis", frame=1 << 20)
    with bystander(victim), victim.connect() as client, contextlib.suppress(Closed):
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2097152\r\n" + b"x" * 100)
        assert client.line().startswith(b"-ERR")
    victim = victim_of("dubbo", frame=1 << 20)
    with bystander(victim), victim.connect() as client:
        client.send(dubbo.frame(5, b"", length=2 << 20))
        assert dubbo.read(client).status != 20


def test_thrift_clients_of_the_library_see_a_limit_as_an_exception(victim_of):
    from thrift.Thrift import TApplicationException
    from thrift.transport.TTransport import TTransportException

    victim = victim_of("thrift", frame=1 << 20)
    with (
        bystander(victim),
        thrifty.client(victim.port) as client,
        pytest.raises((TApplicationException, TTransportException, OSError)),
    ):
        client.bytes(b"x" * (2 << 20))
