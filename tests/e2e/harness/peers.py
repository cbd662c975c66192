"""How each piece of foreign software is started."""

import json
import pathlib
import sys

import yaml

from .process import PEERS, Child, LinePeer, free_port

# Dubbo replaces a loopback address by the machine's own; a name it leaves alone.
HOST = "peers.test"

# What serializations look into.
_OPENS = [
    f"java.base/java.{package}"
    for package in "lang util math io text net util.concurrent util.concurrent.atomic".split()
] + ["java.sql/java.sql"]


def java(module, main, args, log_dir, properties=()):
    """A Java command line with a small, quickly started virtual machine."""
    target = PEERS / "java" / module / "target"
    hosts = pathlib.Path(log_dir) / "hosts"
    hosts.write_text(f"127.0.0.1 {HOST} localhost\n")
    opens = [part for name in _OPENS for part in ("--add-opens", f"{name}=ALL-UNNAMED")]
    return [
        "java",
        "-Xmx384m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        f"-Djdk.net.hosts.file={hosts}",
        "-Ddubbo.application.logger=jdk",
        *(f"-D{property}" for property in properties),
        *opens,
        "-cp",
        f"{target / 'classes'}:{target / 'lib'}/*",
        f"demo.{main}",
        *map(str, args),
    ]


class JavaServer(Child):
    """A provider of Dubbo or Bolt."""

    main = "Provider"

    def __init__(self, module, tag, log_dir, extra=(), properties=()):
        self.port = free_port()
        self.tag = tag
        super().__init__(
            f"{module}-{self.main.lower()}-{tag}",
            java(module, self.main, [HOST, self.port, tag, *extra], log_dir, properties),
            log_dir,
        )

    def ready(self):
        self.wait_for("READY")
        self.wait_port(self.port)
        return self

    def stop(self, grace=0.0):
        # Dubbo takes ten seconds to say goodbye.
        self.kill()
        super().stop()


class Oracle(JavaServer):
    """A provider that logs a line of JSON for every call that it carries out."""

    main = "Oracle"

    def __init__(self, module, log_dir):
        # Without the check, a provider takes every serialization that it has.
        super().__init__(module, "v1", log_dir, properties=["serialization.security.check=false"])

    def records(self):
        """What was carried out so far."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]


def java_client(module, log_dir):
    """A consumer of Dubbo or Bolt."""
    return LinePeer(f"{module}-consumer", java(module, "Consumer", [], log_dir), log_dir)


class ThriftServer(Child):
    """An Apache Thrift server in Python or Node."""

    def __init__(self, language, tag, transport, protocol, log_dir, multiplexed=False, port=None):
        self.port = port or free_port()
        self.tag = tag
        name = f"thrift-{language}-{transport}-{protocol}{'-mux' if multiplexed else ''}-{tag}"
        if language == "python":
            command = [
                sys.executable,
                PEERS / "thrift" / "server.py",
                "--port", self.port,
                "--tag", tag,
                "--transport", transport,
                "--protocol", protocol,
                *(["--multiplexed"] if multiplexed else []),
            ]  # fmt: skip
        else:
            command = ["node", PEERS / "node" / "thrift_server.js", self.port, tag, transport, protocol]
        super().__init__(name, command, log_dir)
        self.wait_for("READY")


def node_client(script, log_dir, *args):
    """A client in Node."""
    name = "-".join([script, *args])
    return LinePeer(name, ["node", PEERS / "node" / f"{script}.js", *args], log_dir)


class RedisServer(Child):
    """Debian's redis-server."""

    def __init__(self, tag, log_dir, *args, port=None):
        self.port = port or free_port()
        self.tag = tag
        super().__init__(
            f"redis-{tag}",
            [
                "redis-server",
                "--port", self.port,
                "--bind", "127.0.0.1",
                "--save", "",
                "--appendonly", "no",
                "--dir", log_dir,
                "--enable-debug-command", "local",
                *args,
            ],  # fmt: skip
            log_dir,
        )
        self.wait_port(self.port)


class RateLimitService(Child):
    """Envoy's reference implementation of its rate limit service, counting in a Redis server."""

    def __init__(self, redis_port, limits, log_dir):
        self.port = free_port()
        runtime = pathlib.Path(log_dir) / "ratelimit-runtime"
        config = runtime / "ratelimit" / "config"
        config.mkdir(parents=True, exist_ok=True)
        for domain, descriptors in limits.items():
            text = yaml.safe_dump({"domain": domain, "descriptors": descriptors})
            (config / f"{domain}.yaml").write_text(text)
        super().__init__(
            "ratelimit",
            [PEERS / "ratelimit" / "target" / "service_cmd"],
            log_dir,
            env={
                "BACKEND_TYPE": "redis",
                "REDIS_SOCKET_TYPE": "tcp",
                "REDIS_URL": f"127.0.0.1:{redis_port}",
                "RUNTIME_ROOT": str(runtime),
                "RUNTIME_SUBDIRECTORY": "ratelimit",
                "RUNTIME_WATCH_ROOT": "false",
                "GRPC_HOST": "127.0.0.1",
                "GRPC_PORT": str(self.port),
                "HOST": "127.0.0.1",
                "PORT": str(free_port()),
                "DEBUG_HOST": "127.0.0.1",
                "DEBUG_PORT": str(free_port()),
                "LOG_LEVEL": "warn",
                "USE_STATSD": "false",
            },
        )
        self.wait_port(self.port)
