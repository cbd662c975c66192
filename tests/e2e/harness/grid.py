"""The table of rules and protocols: which cell was tried, how it went, and why a cell is empty."""

import pytest

from .subjects import PROTOCOLS

# {(group, rule): {protocol: None, "works", "fails" or the reason of the gap}}
ROWS = {}
# {(group, rule): {protocol: what else it was tried with}}
REAL = {}
WORKS, FAILS = "works", "**fails**"
# In the order in which a request meets them.
GROUPS = [
    "Authorization",
    "Local rate limits",
    "Global rate limits",
    "Faults",
    "Mutation",
    "Mirrors",
    "Timeouts",
    "Retries",
    "Load balancing",
    "Outlier detection",
    "Health checks",
    "Circuit breaking",
    "Tracing",
    "Access log",
    "Refused at load",
    "Warned of at load",
]


def rule(group, name, gaps=None):
    """A test of a rule on every protocol that has no gap: it gets the fixture `stage`. Several tests
    may share a row. `gaps` is {protocol: why the rule makes no sense there}."""
    gaps = gaps or {}
    assert group in GROUPS, group
    unknown = set(gaps) - set(PROTOCOLS)
    assert not unknown, f"{name}: there is no {unknown}"
    row = ROWS.setdefault((group, name), {})
    for protocol, reason in gaps.items():
        row.setdefault(protocol, f"gap: {reason}")
    protocols = [protocol for protocol in PROTOCOLS if protocol not in gaps]

    def decorate(test):
        test = pytest.mark.parametrize("stage", protocols, indirect=True)(test)
        return pytest.mark.rule(group, name)(test)

    return decorate


def real(group, name, gaps=()):
    """A test of the same row between a client and servers that nobody here has written: it gets the
    fixture `pair`."""
    ROWS.setdefault((group, name), {})

    def decorate(test):
        protocols = [protocol for protocol in ("dubbo", "thrift", "redis") if protocol not in gaps]
        test = pytest.mark.parametrize("pair", protocols, indirect=True)(test)
        return pytest.mark.rule(group, name)(test)

    return decorate


def record(item, report):
    """Notes how a test of a cell went."""
    mark = item.get_closest_marker("rule")
    if mark is None or (report.when != "call" and report.passed):
        return
    row = tuple(mark.args)
    params = item.callspec.params
    protocol = params.get("stage") or params["pair"]
    if not report.passed:
        ROWS[row][protocol] = FAILS
        return
    if ROWS[row].get(protocol) != FAILS:
        ROWS[row][protocol] = WORKS
    if "pair" in params:
        REAL.setdefault(row, {}).setdefault(protocol, set()).add(item.funcargs["pair"].peers)


def tried():
    """Whether any cell was."""
    return any(cell in (WORKS, FAILS) for row in ROWS.values() for cell in row.values())


def markdown():
    """The table as a Markdown document."""
    lines = [
        "# Rules and protocols",
        "",
        "What `make test` has tried of every rule on every protocol, through the real program. *works* is",
        "a set of assertions that passed in the run that wrote this page",
        "(`MELTEMI_WRITE_INTEROP=1 make test`). Servers answer, fail, stall and vanish as each test needs;",
        "clients of Thrift and Redis are Apache Thrift's and redis-py. A number in brackets: also tried",
        "between the software that is listed below, as its makers ship it.",
        "",
        "What rules can see of each protocol, and what they do about the rest, is in",
        "[authorization.md](authorization.md).",
    ]
    peers = sorted({who for row in REAL.values() for names in row.values() for who in names})
    for group in sorted({group for group, _ in ROWS}, key=GROUPS.index):
        lines += ["", f"## {group}", "", f"| rule | {' | '.join(PROTOCOLS)} |"]
        lines.append("|---" * (len(PROTOCOLS) + 1) + "|")
        for (of, name), row in ROWS.items():
            if of == group:
                cells = [
                    _cell(row.get(one), REAL.get((of, name), {}).get(one), peers)
                    for one in PROTOCOLS
                ]
                lines.append(f"| {name} | {' | '.join(cells)} |")
    if peers:
        lines += ["", "## Software", ""]
        lines += [f"{number}. {who}" for number, who in enumerate(peers, 1)]
    return "\n".join(lines) + "\n"


def _cell(cell, real_peers, peers):
    marks = "".join(f" [{peers.index(who) + 1}]" for who in sorted(real_peers or ()))
    return f"{cell or '–'}{marks}"
