#!/usr/bin/env python3
"""Writes src/table.rs from what a Redis server says of itself (COMMAND).

    redis-server --port 6379 &
    python3 tools/table.py 127.0.0.1:6379 > src/table.rs

The committed table was made from Redis 7.0.15. What the server cannot tell (which commands are
idempotent, which tie a connection, what later versions added) stands below.
"""
import socket
import sys

IDEMPOTENT = set("""del unlink set setex psetex mset hset hmset hdel sadd srem zrem lset setbit
setrange pfadd persist xack xdel""".split())
HARMLESS = {"ping", "echo", "command"}
ACTS = {
    "hello": "Hello", "auth": "Auth", "select": "Select", "readonly": "ReadOnly",
    "readwrite": "ReadWrite", "multi": "Multi", "exec": "Exec", "discard": "Discard",
    "watch": "Watch", "unwatch": "Unwatch", "monitor": "Monitor", "asking": "Asking",
    "reset": "Reset", "quit": "Quit", "set": "Set", "xread": "BlockOption",
    "xreadgroup": "BlockOption", "wait": "Wait", "waitaof": "Wait", "shutdown": "Alone",
    "sync": "Refuse", "psync": "Refuse", "replconf": "Refuse",
    "subscribe": "Subscribe(Family::Channel)", "unsubscribe": "Unsubscribe(Family::Channel)",
    "psubscribe": "Subscribe(Family::Pattern)", "punsubscribe": "Unsubscribe(Family::Pattern)",
    "ssubscribe": "Subscribe(Family::Shard)", "sunsubscribe": "Unsubscribe(Family::Shard)",
    "client|setname": "SetName", "client|setinfo": "SetInfo", "client|reply": "Reply",
    "script|debug": "Own",
    "client|no-evict": "NoEvict", "client|no-touch": "NoTouch", "client|id": "Id",
    "scan": "Scan", "hscan": "Scan", "sscan": "Scan", "zscan": "Scan",
    "evalsha": "EvalSha", "evalsha_ro": "EvalSha", "script|load": "Load", "script|flush": "Every",
    "function|load": "Every", "function|delete": "Every", "function|flush": "Every",
    "function|restore": "Every",
    "client|info": "Info", "client|trackinginfo": "Ask", "client|getredir": "Ask",
    "client|tracking": "Tracking", "client|caching": "Own",
    # What is not known of CLIENT is taken for something that concerns the connection.
    "client": "Own",
}
# A connection is made different in a way that cannot be replayed.
for own in "capa import-source".split():
    ACTS["client|" + own] = "Own"
MOVABLE = {
    "xread": "Keys::Streams", "xreadgroup": "Keys::Streams", "sort": "Keys::Sort",
    "sort_ro": "Keys::SortRo", "georadius": "Keys::GeoRadius(6)",
    "georadiusbymember": "Keys::GeoRadius(5)", "migrate": "Keys::Migrate",
    # Its subcommands are not listed, and some take keys.
    "debug": "Keys::Hidden",
}
for script in "eval evalsha eval_ro evalsha_ro fcall fcall_ro".split():
    MOVABLE[script] = "Keys::Script"
# name, category, keys, safety: what versions after 7.0 added.
LATER = [
    ("client|setinfo", "connection", "Keys::None", "Unknown"),
    ("client|no-touch", "connection", "Keys::None", "Unknown"),
    ("waitaof", "blocking", "Keys::None", "Unknown"),
    ("msetex", "write", "Keys::Count(1, 2)", "Unknown"),
    ("client|capa", "connection", "Keys::None", "Unknown"),
    ("client|import-source", "admin", "Keys::None", "Unknown"),
    ("cluster|slot-stats", "admin", "Keys::None", "Unknown"),
    ("cluster|myshardid", "server", "Keys::None", "Unknown"),
    ("script|show", "scripting", "Keys::None", "Unknown"),
]
ONE = "Keys::Range(1, 1, 1)"
LATER += [(n, "write", ONE, "Unknown") for n in """hexpire hpexpire hexpireat hpexpireat hpersist
hgetdel hgetex hsetex xackdel xdelex delex delifeq vadd vrem vsetattr""".split()]
LATER += [(n, "read", ONE, "Read") for n in """httl hpttl hexpiretime hpexpiretime digest vsim vcard
vdim vemb vgetattr vinfo vlinks vrandmember vrange vismember""".split()]


def ask(address):
    host, port = address.rsplit(":", 1)
    stream = socket.create_connection((host, int(port))).makefile("rwb")
    stream.write(b"*1\r\n$7\r\nCOMMAND\r\n")
    stream.flush()

    def read():
        line = stream.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            text = stream.read(int(rest) + 2)
            return text[:-2].decode()
        assert kind == b"*", line
        return [read() for _ in range(int(rest))]

    return read()


def fields(flat):
    return dict(zip(flat[::2], flat[1::2]))


def keys(name, first, last, step, specs):
    if name in MOVABLE:
        return MOVABLE[name]
    if not specs:
        return "Keys::None"
    shapes = []
    for spec in map(fields, specs):
        begin, find = fields(spec["begin_search"]), fields(spec["find_keys"])
        assert begin["type"] == "index", name
        shapes.append((fields(begin["spec"])["index"], find["type"]))
    if shapes[-1][1] == "keynum":
        at = shapes[-1][0]
        return f"Keys::Count({at}, 1)" if len(shapes) == 1 else "Keys::Into"
    return f"Keys::Range({first}, {last}, {step})"


def category(name, flags, acl):
    if ACTS.get(name) == "Block" or ("blocking" in flags and ACTS.get(name) != "BlockOption"):
        return "blocking"
    for kind in "admin pubsub transaction scripting connection".split():
        if "@" + kind in acl or kind in flags:
            return kind
    return "read" if "readonly" in flags else "write" if "write" in flags else "server"


def safety(name, flags):
    if "readonly" in flags or name in HARMLESS or name.startswith("command|"):
        return "Read"
    return "Idempotent" if name in IDEMPOTENT else "Unknown"


def collect(reply, out):
    for name, _, flags, first, last, step, acl, _, specs, subs in reply:
        out[name] = (category(name, flags, acl), keys(name, first, last, step, specs),
                     safety(name, flags))
        collect(subs, out)


def of_containers(commands):
    """A container whose subcommand is not known is what most of its subcommands are."""
    for name in {n.split("|")[0] for n in commands if "|" in n}:
        kinds = [c[0] for n, c in commands.items() if n.startswith(name + "|")]
        most = max(sorted(set(kinds)), key=kinds.count)
        commands[name] = (most, *commands[name][1:])


def row(name, commands, subs):
    kind, where, safe = commands[name]
    act = ACTS.get(name, "Block" if kind == "blocking" else "Plain")
    short = name.split("|")[-1]
    return f'row("{short}", "{kind}", {where}, {safe}, Act::{act}, {subs}),'


def main():
    commands = {}
    collect(ask(sys.argv[1]), commands)
    for name, *rest in LATER:
        commands.setdefault(name, tuple(rest))
    of_containers(commands)
    tops = sorted(n for n in commands if "|" not in n)
    print("""//! Every command of Redis 7.0.15, and what later versions added: written by `tools/table.py` from
//! what the server says of itself (`COMMAND`). It knows names, categories, where keys stand, and
//! what a command does to its connection; it must not know bytes.

use super::command::{Act, Command, Keys, row};
use super::subscriptions::Family;
use meltemi_frame::Safety::{Idempotent, Read, Unknown};

/// Commands in alphabetical order.""")
    print("#[rustfmt::skip]\npub(crate) static COMMANDS: &[Command] = &[")
    containers = []
    for name in tops:
        has = any(n.startswith(name + "|") for n in commands)
        if has:
            containers.append(name)
        print("    " + row(name, commands, name.upper() if has else "&[]"))
    print("];")
    for name in containers:
        print(f"\n#[rustfmt::skip]\nstatic {name.upper()}: &[Command] = &[")
        for sub in sorted(n for n in commands if n.startswith(name + "|")):
            print("    " + row(sub, commands, "&[]"))
        print("];")


main()
