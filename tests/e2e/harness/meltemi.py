"""The program under test."""

import json
import os
import pathlib
import signal
import subprocess
import urllib.error
import urllib.request

import yaml

from .process import ROOT, Child, eventually, free_port


def binary():
    """The program: $MELTEMI_BIN, else what `cargo build --profile test` made."""
    path = pathlib.Path(os.environ.get("MELTEMI_BIN") or ROOT / "target" / "debug" / "meltemi")
    assert path.exists(), f"there is no {path}: run `make test`, or set MELTEMI_BIN"
    return path


def command(*args, stdin=None, timeout=20, cwd=None):
    """Runs one subcommand to its end."""
    return subprocess.run(
        [str(binary()), *map(str, args)],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        cwd=cwd,
        check=False,
    )


class Meltemi(Child):
    """`meltemi run` on a file of its own."""

    def __init__(self, directory, documents, *, name="meltemi", wait=True, args=(), env=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.file = self.directory / f"{name}.yaml"
        self.admin_port = free_port()
        self.write(documents)
        super().__init__(
            name,
            [binary(), "run", self.file, "--admin", f"127.0.0.1:{self.admin_port}", *args],
            self.directory,
            env=env,
        )
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.stop()
                raise

    def write(self, documents):
        """Replaces the file at once, as an editor or a ConfigMap would."""
        text = documents if isinstance(documents, str) else yaml.safe_dump_all(documents)
        fresh = self.file.with_suffix(".tmp")
        fresh.write_text(text)
        fresh.replace(self.file)

    def hang_up(self):
        """Asks it to read its file again."""
        self.signal(signal.SIGHUP)

    def wait_ready(self, timeout=20.0):
        def ready():
            assert self.alive(), f"meltemi ended early:\n{self.output()[-6000:]}"
            try:
                return self.admin("/ready")[0] == 200
            except OSError:
                return False

        eventually(ready, timeout, "readiness")

    def admin(self, path, method="GET"):
        """The status and the body of an admin page."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.admin_port}{path}", method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stats(self):
        """Every sample of /stats/prometheus, as {series: value}."""
        status, body = self.admin("/stats/prometheus")
        assert status == 200, body
        samples = {}
        for line in body.splitlines():
            if line and not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                samples[series] = float(value)
        return samples

    def total(self, name, **labels):
        """The sum of a metric's samples that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            value
            for series, value in self.stats().items()
            if series.split("{")[0] == name and all(label in series for label in wanted)
        )

    def dump(self):
        """/config_dump, parsed."""
        status, body = self.admin("/config_dump")
        assert status == 200, body
        return json.loads(body)

    def memory(self):
        """Resident bytes."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")
