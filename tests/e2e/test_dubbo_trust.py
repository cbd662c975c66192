"""What rules see of a call is what real Dubbo providers carry out, however the call is written."""

import collections
import random

import pytest
from harness import calls, config
from harness.config import route, to
from harness.process import free_port

SERVICE = "dubbo.test"
BY_HAND, WRITTEN = 3000, 500


def made(rng, module, logs, by_hand=BY_HAND, written=WRITTEN):
    """Frames by tag."""
    found = [
        *calls.bodies(rng, by_hand, module),
        *calls.written(rng, written, module, logs, start=by_hand),
    ]
    return calls.frames(found), {tag: kind for tag, kind, _ in found}


@pytest.mark.parametrize("module", ["dubbo2", "dubbo3"])
def test_what_is_seen_is_what_a_provider_carries_out(oracle, module, logs, tmp_path):
    """Sent to the provider itself: each attribute is what it acted on, or undetermined."""
    provider = oracle(module).ready()
    frames, kinds = made(random.Random(f"seen by {module}"), module, logs)
    seen = calls.seen(frames.values(), tmp_path)
    records = calls.carried_out(provider, provider.port, frames.values(), len(frames))

    wrong, certain, carried = [], 0, collections.Counter()
    for tag, record in records:
        carried[kinds[tag]] += 1
        # What the codec refuses does not reach a provider.
        if tag in seen:
            found = [*calls.differences(seen[tag], record)]
            certain += "undetermined" not in seen[tag]
            if found:
                wrong.append((tag, found, record, frames[tag]))
    assert not wrong, f"{len(wrong)} of {len(records)}, such as {wrong[:3]}"
    # The test would notice if nothing was carried out, or if nothing was certain.
    assert set(carried) == set(kinds.values()), carried
    assert len(records) > len(frames) / 2 and certain > len(frames) / 10


def attribute(name, value):
    return {"to": [{"operation": {"attributes": {name: [value]}}}]}


OPERATION = {"to": [{"operation": {"operations": ["secret"]}}]}
GREET = {"to": [{"operation": {"operations": ["greet"]}}]}
# A policy, and what the provider must have carried out under it: an attribute, and whether it is that value.
POLICIES = [
    ("DENY", OPERATION, "method", "secret", False),
    ("ALLOW", GREET, "method", "greet", True),
    ("DENY", attribute("interface", "demo.Admin"), "interface", "demo.Admin", False),
    ("ALLOW", attribute("interface", "demo.Greeter"), "interface", "demo.Greeter", True),
    ("DENY", attribute("version", "2.0.0"), "version", "2.0.0", False),
    ("DENY", attribute("group", "blue"), "group", "blue", False),
    ("DENY", attribute("tenant", "evil"), "tenant", "evil", False),
    ("ALLOW", attribute("tenant", "good"), "tenant", "good", True),
]


@pytest.mark.parametrize("module", ["dubbo2", "dubbo3"])
def test_a_denied_call_is_not_carried_out(oracle, mesh, module, logs):
    """Sent through the proxy: nothing that a policy denies reaches the provider."""
    provider = oracle(module).ready()
    rng = random.Random(f"denied by {module}")
    frames, _ = made(rng, module, logs, by_hand=1200, written=200)
    for action, rule, name, value, wanted in POLICIES:
        port = free_port()
        proxy = mesh(
            [
                config.gateway("gw", "dubbo", port),
                config.service(SERVICE, "dubbo", {"v1": provider.port}),
                config.destination_rule(SERVICE, subsets=["v1"]),
                config.meta_router("gw", SERVICE, [route(to(SERVICE))]),
                config.resource(
                    config.META_ROUTER,
                    "AuthorizationPolicy",
                    "policy",
                    {"action": action, "rules": [rule]},
                ),
            ]
        )
        sent = rng.sample([*frames.values()], 350)
        records = calls.carried_out(provider, port, sent, len(frames))
        wrong = [record for _, record in records if (record.get(name) == value) != wanted]
        assert not wrong, f"{action} {rule}: {wrong[:3]}"
        assert records, f"{action} {rule}: nothing came through"
        proxy.stop()
