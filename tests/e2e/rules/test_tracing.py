"""Traces: the caller's goes on, one begins where there is none, and a collector hears of both."""

import re
import secrets

import pytest
from harness import config
from harness.grid import rule
from harness.process import eventually
from harness.spans import Collector
from harness.stage import within
from harness.subjects.script import BROKEN

NO_METADATA = {"redis": "a command has no metadata to carry it"}


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def traced(stage, collector, *routes, sampling=None):
    """A mesh that tells the collector."""
    if not stage.servers:
        stage.server()
    extra = []
    if sampling is not None:
        spec = {"gateway": "default/gw", "tracing": {"sampling": sampling}}
        extra = [config.resource(config.META_ROUTER, "ListenerPolicy", "gw-traces", spec)]
    stage.run(*routes, extra=extra, args=["--otlp-endpoint", f"http://127.0.0.1:{collector.port}"])
    return stage.client()


def caller(sampled=True):
    """A trace, a span, and the header that tells of them."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-{'01' if sampled else '00'}"


def spans(collector, count=1):
    """So many spans, once they have come."""
    eventually(lambda: len(collector.spans) >= count, 15, f"{count} spans")
    return collector.spans


@rule("Tracing", "W3C: the caller's trace goes on", gaps=NO_METADATA)
def test_a_trace_goes_on(stage, collector):
    client = traced(stage, collector)
    trace, span, parent = caller()
    meta = {"traceparent": parent, "tracestate": "vendor=1", "x-other": "kept"}
    assert client.call("read", meta=meta).ok
    (call,) = stage.servers[0].calls
    seen = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01", call.meta["traceparent"])
    assert seen and seen[1] == trace and seen[2] != span, call.meta
    assert call.meta["tracestate"] == "vendor=1" and call.meta["x-other"] == "kept"
    (told,) = spans(collector)
    assert (told.trace, told.parent, told.id) == (trace, span, seen[2])


@rule("Tracing", "B3, in one header and in several", gaps=NO_METADATA)
def test_b3_goes_on(stage, collector):
    client = traced(stage, collector)
    trace, span, _ = caller()
    assert client.call("read", meta={"b3": f"{trace}-{span}-1"}).ok
    several = {"x-b3-traceid": trace, "x-b3-spanid": span, "x-b3-sampled": "1"}
    assert client.call("read", meta=several).ok
    one, other = stage.servers[0].calls
    single = one.meta["b3"].split("-")
    assert single[0] == trace and single[1] != span and single[2] == "1", one.meta
    assert other.meta["x-b3-traceid"] == trace and other.meta["x-b3-spanid"] != span, other.meta
    told = spans(collector, 2)
    assert [each.trace for each in told] == [trace, trace]
    assert {each.parent for each in told} == {span}


@rule("Tracing", "a new trace begins where there is none", gaps=NO_METADATA)
def test_a_trace_begins(stage, collector):
    client = traced(stage, collector)
    assert client.call("read", meta={"x-other": "kept"}).ok
    assert client.call("read", meta={"traceparent": "00-not-a-trace-01"}).ok
    told = spans(collector, 2)
    seen = [call.meta["traceparent"].split("-") for call in stage.servers[0].calls]
    assert {(part[1], part[2]) for part in seen} == {(each.trace, each.id) for each in told}
    assert len({each.trace for each in told}) == 2
    assert not any(each.parent for each in told)


@rule("Tracing", "spans say what was called, where, and how it went")
def test_spans_have_attributes(stage, collector):
    stage.server()
    client = traced(stage, collector, stage.route(name="the-route", retries={"attempts": 0}))
    assert client.call("read").ok
    stage.servers[0].will(BROKEN)
    assert not client.call("write").ok
    good, bad = sorted(spans(collector, 2), key=lambda span: span.failed)
    assert not good.failed and bad.failed
    expected = {
        "dubbo": {"rpc.system.name": "dubbo", "rpc.method": "demo.DemoService/read"},
        "thrift": {"rpc.system.name": "thrift", "rpc.method": "read"},
        "redis": {"db.system.name": "redis", "db.operation.name": "get"},
        "quill": {"rpc.system.name": "quill", "rpc.method": "rules.Service/read"},
    }[stage.protocol]
    expected |= {"server.port": stage.port, "network.peer.address": "127.0.0.1"}
    assert {key: good.attributes.get(key) for key in expected} == expected, good
    assert bad.attributes["error.type"], bad
    assert good.resource["service.name"] == "meltemi"
    assert 0 < good.seconds < 5


@rule("Tracing", "sampling; the caller's decision stands", gaps=NO_METADATA)
def test_sampling(stage, collector):
    client = traced(stage, collector, sampling=0)
    for _ in range(20):
        assert client.call("read", meta={"x-other": "1"}).ok
    _, _, no = caller(sampled=False)
    assert client.call("read", meta={"traceparent": no}).ok
    trace, _, yes = caller()
    assert client.call("read", meta={"traceparent": yes}).ok
    (told,) = spans(collector)
    assert told.trace == trace
    assert stage.servers[0].calls[20].meta["traceparent"].endswith("-00")


@rule("Tracing", "a share is sampled (binomial)")
def test_a_share_is_sampled(stage, collector):
    client = traced(stage, collector, sampling=25)
    assert all(outcome.ok for outcome in client.many(1_000))
    # The rest of the spans comes when it ends.
    stage.router.signal(15)
    stage.router.wait(20)
    assert within(len(collector.spans), 1_000, 0.25), len(collector.spans)


@rule("Tracing", "a collector that is gone or silent holds nobody up")
def test_no_collector(stage, collector):
    collector.close()
    client = traced(stage, collector)
    outcomes = [client.call("read") for _ in range(50)]
    assert all(outcome.ok and outcome.took < 0.5 for outcome in outcomes), outcomes
