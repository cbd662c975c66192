"""What was tried with which software, and how it went: the interop matrix."""

import contextlib
import platform
import subprocess

TRIED = {}


@contextlib.contextmanager
def tried(protocol, client, server, how, feature):
    """Records that a feature was tried between two pieces of software that are not ours."""
    row = TRIED.setdefault((protocol, client, server, how), {})
    row.setdefault(feature, True)
    try:
        yield
    except BaseException:
        row[feature] = False
        raise


def markdown():
    """The matrix as a Markdown document."""
    lines = [
        "# Interoperability",
        "",
        "What `make test` has tried through the real binary, with software that this project did not",
        "write. Each cell under *works* is an assertion that passed in the run that wrote this page",
        "(`MELTEMI_WRITE_INTEROP=1 make test`).",
        "",
        f"Run on {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"Node {_version('node', '--version')}, Java {_java()}.",
        "",
        "| protocol | client | server | over | works | fails |",
        "|---|---|---|---|---|---|",
    ]
    for (protocol, client, server, how), features in sorted(TRIED.items()):
        good = ", ".join(sorted(name for name, ok in features.items() if ok))
        bad = ", ".join(sorted(name for name, ok in features.items() if not ok))
        lines.append(f"| {protocol} | {client} | {server} | {how} | {good} | {bad or '–'} |")
    return "\n".join(lines) + "\n"


def _version(*command):
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "?"


def _java():
    text = _version("java", "--version")
    return text.split()[1] if len(text.split()) > 1 else "?"
