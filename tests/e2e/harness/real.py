"""Servers and clients as their makers ship them, all called in the same way: a call names its case,
which the mesh routes by, and tells which server answered."""

import importlib.metadata
import signal
import subprocess

import redis
from thrift.Thrift import TApplicationException

from . import config, thrifty
from .config import to
from .peers import HOST
from .process import Failed, free_port


class Refused(Exception):
    """The call failed in the words of the protocol."""


class Pair:
    """Servers v1 and v2. Subclasses say how calls are made."""

    def __init__(self, servers):
        self.servers = servers
        self.port = free_port()
        self.host = f"real-{self.protocol}.test"

    def close(self):
        for server in self.servers.values():
            server.signal(signal.SIGCONT)

    def documents(self, *routes, tags=("v1",), dead=False, policy=None, destination=None, extra=()):
        """The routes of this service. With `dead` there is an endpoint that refuses connections."""
        versions = {tag: self.servers[tag].port for tag in tags}
        if dead:
            versions["dead"] = free_port()
        documents = [
            config.gateway("gw", self.protocol, self.port),
            config.service(self.host, self.protocol, versions),
            config.destination_rule(self.host, [*versions], policy),
            config.meta_router("gw", self.host, routes or [self.route()]),
            *extra,
        ]
        if destination:
            documents.append(config.destination_policy(self.host, **destination))
        return documents

    def route(self, case=None, *targets, **fields):
        """A route of the calls of one case, or of all."""
        when = {self.attribute: {"prefix": case}} if case else None
        return config.route(*(targets or (to(self.host),)), when=when, **fields)

    def mirror(self, tag):
        """The host of one server alone, and its document."""
        host = f"copies-{self.protocol}.test"
        return host, config.service(host, self.protocol, {tag: self.servers[tag].port})


class Dubbo(Pair):
    protocol, attribute = "dubbo", "x-case"
    heartbeat, probe = True, None
    # What the server can be asked not to do.
    forbidden = "told"
    header = "{}".format

    def __init__(self, provider, consumer):
        servers = {tag: provider("dubbo3", tag) for tag in ("v1", "v2")}
        super().__init__({tag: server.ready() for tag, server in servers.items()})
        self._client = consumer("dubbo3")
        self.peers = f"Dubbo {self._client.version.split('-')[0]}, client and server"

    def _call(self, method, *args, case="", port=None, attachments=None, **options):
        options["attachments"] = {"x-case": case, **(attachments or {})}
        url = f"dubbo://{HOST}:{port or self.port}?serialization=hessian2"
        try:
            return self._client.send(url=url, method=method, args=list(args), **options).full()
        except Failed as failed:
            raise Refused(failed.text) from failed

    def ask(self, case="", **headers):
        return self._call("tag", case=case, attachments=headers)["value"]

    def slow(self, case, millis):
        return self._call("slow", millis, case=case)["value"]

    def note(self, text, case=""):
        self._call("tell", text, case=case)

    def noted(self, tag, text):
        return text in self._call("told", port=self.servers[tag].port)["value"]

    def forbid(self):
        self._call("told")

    def seen(self, name, case="", **headers):
        return self._call("attachment", name, case=case, attachments=headers)["value"]

    def answer(self, case=""):
        return self._call("tag", case=case)["attachments"]


class Thrift(Pair):
    protocol, attribute = "thrift", "header.x-case"
    heartbeat, probe = False, "nothing"
    forbidden = "broken"
    header = "header.{}".format
    peers = f"Apache Thrift {importlib.metadata.version('thrift')} (Python), client and server"

    def __init__(self, server):
        super().__init__({tag: server("python", tag, "header", "binary") for tag in ("v1", "v2")})

    def _call(self, use, case="", port=None, headers=None):
        with thrifty.client(port or self.port, "header", "binary") as client:
            thrifty.set_headers(client, {"x-case": case, **(headers or {})})
            try:
                return use(client)
            except TApplicationException as failure:
                raise Refused(failure.message) from failure

    def ask(self, case="", **headers):
        return self._call(lambda client: client.tag(), case, headers=headers)

    def slow(self, case, millis):
        return self._call(lambda client: client.slow(millis), case)

    def note(self, text, case=""):
        self._call(lambda client: client.fire(text), case)

    def noted(self, tag, text):
        return text in self._call(lambda client: client.fired(), port=self.servers[tag].port)

    def forbid(self):
        self._call(lambda client: client.broken("not by the mesh"))

    def seen(self, name, case="", **headers):
        return self._call(lambda client: client.header(name), case, headers=headers)

    def answer(self, case=""):
        def use(client):
            client.tag()
            return thrifty.answer_headers(client)

        return self._call(use, case)


# A script that takes so many microseconds. Blocking commands would be no test of timeouts: how long
# they take is what they say themselves.
SLOW = """
local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end
local begin = now()
while now() - begin < tonumber(ARGV[1]) do end
return redis.call('GET', KEYS[1])
"""


class Redis(Pair):
    protocol, attribute = "redis", "key"
    heartbeat, probe = True, None
    forbidden = "flushall"
    header = None

    def __init__(self, server):
        super().__init__({tag: server(f"rules-{tag}") for tag in ("v1", "v2")})
        self._direct = {
            tag: redis.Redis(port=one.port, decode_responses=True)
            for tag, one in self.servers.items()
        }
        self._client = redis.Redis(
            port=self.port, decode_responses=True, socket_timeout=10, retry=None
        )
        version = (
            subprocess.run(
                ["redis-server", "--version"], capture_output=True, text=True, check=True
            )
            .stdout.split("v=")[1]
            .split()[0]
        )
        self.peers = f"redis-py {redis.__version__}, redis-server {version}"
        for tag, one in self._direct.items():
            one.flushall()
            # Whatever case is asked for, the server's tag is there.
            for case in (
                "",
                "timeout",
                "delay",
                "abort",
                "mirror",
                "limit",
                "changed:limit",
                "free",
            ):
                one.set(f"{case}:tag", tag)

    def close(self):
        super().close()
        self._client.close()
        for one in self._direct.values():
            one.close()

    @staticmethod
    def _try(use):
        try:
            return use()
        except redis.ResponseError as error:
            raise Refused(str(error)) from error

    def ask(self, case="", **headers):
        del headers
        return self._try(lambda: self._client.get(f"{case}:tag"))

    def slow(self, case, millis):
        return self._try(lambda: self._client.eval(SLOW, 1, f"{case}:tag", millis * 1000))

    def note(self, text, case=""):
        self._try(lambda: self._client.set(f"{case}:{text}", "yes"))

    def noted(self, tag, text):
        return bool(self._direct[tag].keys(f"*{text}"))

    def forbid(self):
        self._try(self._client.flushall)
