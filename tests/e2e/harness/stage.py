"""A mesh in front of servers that do as they are told, for one protocol: what tests of rules use."""

import concurrent.futures
import contextlib
import time

from . import config
from .process import eventually, free_port
from .subjects import SUBJECTS
from .subjects.script import Gone, Upstream

HOST = "rules.test"


class Stage:
    """Servers, a mesh, clients. Everything ends with the test."""

    def __init__(self, protocol, start, directory):
        self.protocol = protocol
        self.subject = SUBJECTS[protocol]
        self.port = free_port()
        # Where files of the test may be.
        self.directory = directory
        self.router = None
        self.servers = []
        self._start = start
        self._cleanup = contextlib.ExitStack()

    def close(self):
        self._cleanup.close()
        for server in self.servers:
            server.stop()

    # Servers.

    def server(self, tag="v1", *, start=True):
        """A server that answers with its tag; one that is not started refuses connections."""
        server = Upstream(self.subject.wire, tag)
        self.servers.append(server)
        return server.start() if start else server

    def pair(self):
        """Two servers, v1 and v2."""
        return self.server("v1"), self.server("v2")

    # Documents.

    def host(self, *servers, host=HOST, policy=None, destination=None, subsets=None, places=None):
        """A service of these servers, one subset for each tag. `policy` is a DestinationRule's,
        `destination` the fields of a DestinationPolicy, `places` is {tag: fields of its endpoint}."""
        servers = servers or self.servers
        documents = [
            config.endpoints(
                host,
                self.protocol,
                [
                    {"port": one.port, "version": one.tag, **(places or {}).get(one.tag, {})}
                    for one in servers
                ],
            ),
            config.destination_rule(
                host, sorted({one.tag for one in servers}) if subsets is None else subsets, policy
            ),
        ]
        if destination:
            documents.append(config.destination_policy(host, **destination))
        return documents

    def route(self, *targets, when=None, host=HOST, **fields):
        """A route, to the whole host unless told otherwise. `when` may name `op` and `user`."""
        tests = {}
        for key, value in (when or {}).items():
            if key == "op":
                tests[self.subject.operation] = self.subject.wire.op(value)
            else:
                tests[self.subject.user if key == "user" else key] = value
        return config.route(*(targets or (config.to(host),)), when=tests, **fields)

    def gateway(self, **fields):
        return config.gateway("gw", self.protocol, self.port, **fields)

    def documents(self, *routes, hosts=None, router=None, extra=()):
        """Everything: `hosts` are lists of documents, by default the service of all servers."""
        lists = [self.host()] if hosts is None else hosts
        return [
            self.gateway(),
            *(document for one in lists for document in one),
            config.meta_router("gw", HOST, routes or [self.route()], **(router or {})),
            *extra,
        ]

    # The mesh.

    def run(self, *routes, args=(), **options):
        """Starts the mesh."""
        return self.start(self.documents(*routes, **options), args=args)

    def start(self, documents, **options):
        """Starts the mesh on these documents."""
        self.router = self._start(documents, **options)
        return self.router

    def faults(self, fault):
        """How many requests the mesh has answered itself because of the fault."""
        return self.router.total("meltemi_local_replies_total", fault=fault)

    # Clients.

    def client(self, **options):
        """A client; it is closed with the test."""
        return self._cleanup.enter_context(self.subject.client(self.port, **options))

    def at_once(self, count, op="read", **options):
        """So many calls, each of a client of its own, all at the same time."""

        def one(_):
            with self.subject.client(self.port) as client:
                try:
                    return client.call(op, **options)
                except Gone as gone:
                    return gone

        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, range(count)))

    def serves(self, op="read", timeout=10.0, **options):
        """Waits until a call works; its outcome."""

        def works():
            with self.subject.client(self.port) as client, contextlib.suppress(Gone):
                outcome = client.call(op, **options)
                return outcome if outcome.ok else None
            return None

        return eventually(works, timeout, "a call that works")


@contextlib.contextmanager
def takes(at_least=0.0, at_most=1.5):
    """What is done takes so long. Upper bounds are far up: the machine may be busy."""
    started = time.monotonic()
    yield
    took = time.monotonic() - started
    assert at_least <= took <= at_most, f"took {took:.3f} s, not {at_least} to {at_most} s"


def within(count, of, share):
    """Whether a count of successes is within five standard deviations: of a million runs one is not."""
    mean = of * share
    deviation = (of * share * (1 - share)) ** 0.5
    return abs(count - mean) <= 5 * deviation + 1
