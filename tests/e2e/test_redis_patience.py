"""Redis commands that take long, and clients that come and go in great number: as on direct connections."""

import concurrent.futures
import time

import pytest
import redis
from harness import config
from harness.process import free_port
from harness.resp import Client

HOST = "redis-patient.test"


def single(mesh, port, **policy):
    """A mesh in front of one server."""
    listener = free_port()
    documents = [
        config.gateway("gw", "redis", listener),
        config.service(HOST, "redis", {"v1": port}),
        config.redis_service(HOST, [(None, HOST)]),
    ]
    if policy:
        documents.append(config.destination_policy(HOST, **policy))
    mesh(documents)
    return listener


# A script that takes so many microseconds.
SLOW = """
local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end
local begin = now()
while now() - begin < tonumber(ARGV[1]) do end
return redis.call('INCR', 'ran')
"""


def patient(port):
    """A client that waits long, and says everything once."""
    return redis.Redis(port=port, socket_timeout=60, retry=None, decode_responses=True)


def took(use):
    begin = time.monotonic()
    answer = use()
    return answer, time.monotonic() - begin


def test_commands_may_take_long(mesh, redis_server):
    """Longer than any heartbeat waits for its answer, however often connections are asked."""
    # A server that works on a script says so to others after a while, unless it is told not to.
    busy = redis_server("busy", "--busy-reply-threshold", "0")
    calm = redis_server("calm")
    policies = [{}, {"keepalive": "1s"}]
    ports = [(single(mesh, busy.port, **one), single(mesh, calm.port, **one)) for one in policies]
    for server in (busy, calm):
        with redis.Redis(port=server.port) as direct:
            direct.flushall()
    blocking = {
        "blpop": lambda client: client.blpop("nothing", 32) is None,
        "xread": lambda client: client.xread({"none": "$"}, block=32_000) in ([], {}),
        "wait": lambda client: client.wait(1, 32_000) == 0,
    }

    def behind(port):
        # On the connection of the script, and answered after it.
        with patient(port) as client:
            time.sleep(1)
            return client.incr("neighbours")

    def alone(port, use):
        with patient(port) as client:
            return use(client)

    def beside(port):
        with patient(port) as client:
            worst = 0
            for _ in range(300):
                worst = max(worst, took(lambda: client.incr("beside"))[1])
                time.sleep(0.1)
            return worst

    def long_script(port):
        with patient(port) as client:
            return took(lambda: client.eval(SLOW, 0, 25_000_000))

    with concurrent.futures.ThreadPoolExecutor(64) as threads:
        waits = [
            (name, threads.submit(took, lambda port=port, use=use: alone(port, use)))
            for _, port in ports
            for name, use in blocking.items()
        ]
        besides = [threads.submit(beside, port) for _, port in ports]
        scripts = [threads.submit(long_script, ports[0][0])]
        time.sleep(0.2)
        neighbours = [threads.submit(behind, port) for port, _ in ports for _ in range(8)]
        for name, future in waits:
            answer, seconds = future.result()
            assert answer and 31 < seconds < 36, (name, answer, seconds)
        for future in besides:
            assert future.result() < 2
        for future in scripts:
            answer, seconds = future.result()
            assert answer == 1 and 24 < seconds < 31, seconds
        assert sorted(future.result() for future in neighbours) == list(range(1, 17))


CROWD = 1100


@pytest.fixture(scope="module")
def hotel(redis_server):
    """A server with many databases and many users."""
    server = redis_server("hotel", "--databases", str(CROWD + 1))
    with redis.Redis(port=server.port) as admin:
        pipe = admin.pipeline(transaction=False)
        for number in range(CROWD):
            pipe.execute_command("ACL", "SETUSER", f"u{number}", "on", f">p{number}", "~*", "+@all")
        pipe.execute()
    return server


@pytest.mark.parametrize(
    "words",
    ["CLIENT SETNAME pod-{}", "AUTH u{} p{}", "SELECT {}", "CLIENT SETINFO lib-name lib-{}"],
)
def test_clients_with_sessions_of_their_own_do_not_fill_the_pool(mesh, hotel, words):
    port = single(mesh, hotel.port)
    known = isinstance(Client(hotel.port)(*words.format(0, 0).split()), str)
    assert known or "SETINFO" in words
    for number in range(CROWD):
        with Client(port) as client:
            assert (client(*words.format(number, number).split()) == "OK") == known
            assert client("GET", "nothing") is None
    for number in (3, CROWD - 3, 500):
        with Client(port) as plain, Client(port) as named:
            assert plain("SET", "k", "v") == "OK" and plain("DEL", "k") == 1
            assert (named(*words.format(number, number).split()) == "OK") == known
            assert named("GET", "nothing") is None


def test_many_clients_with_sessions_at_once_are_served(mesh, hotel):
    port = single(mesh, hotel.port)
    clients = []
    try:
        for number in range(1000):
            clients.append(Client(port))
            assert clients[-1]("CLIENT", "SETNAME", f"pod-{number}") == "OK"
            assert clients[-1]("GET", "nothing") is None
        for client in clients[::7]:
            assert client("GET", "nothing") is None
    finally:
        for client in clients:
            client.close()
    with Client(port) as client:
        assert client("CLIENT", "SETNAME", "last") == "OK" and client("GET", "nothing") is None
