"""The admin pages, as an operator and a scraper read them."""

import json

import pytest
import yaml
from harness import config, thrifty
from harness.config import route, to
from harness.process import free_port
from thrift.Thrift import TApplicationException

SERVICE = "admin.test"


@pytest.fixture
def router(mesh, thrift_server):
    versions = {tag: thrift_server("python", tag, "framed", "binary").port for tag in ("v1", "v2")}
    port = free_port()
    router = mesh(
        [
            config.gateway("gw", "thrift", port),
            config.service(SERVICE, "thrift", versions),
            config.destination_rule(SERVICE),
            config.meta_router(
                "gw",
                SERVICE,
                [
                    route(to(SERVICE, "v1"), when={"method": "tag"}, name="tags"),
                    route(to(SERVICE, "v2"), when={"method": "add"}, name="sums"),
                    route(to(SERVICE, "v1"), when={"method": "boom"}, name="booms"),
                ],
            ),
        ]
    )
    router.port = port
    return router


def test_ready(router):
    assert router.admin("/ready")[0] == 200
    assert router.admin("/nothing")[0] == 404
    assert router.admin("/ready", method="POST")[0] == 405
    assert "/stats/prometheus" in router.admin("/")[1]


def test_metrics_count_what_happened(router):
    with thrifty.client(router.port) as client:
        for _ in range(7):
            client.tag()
        for _ in range(3):
            client.add(1, 2)
        for _ in range(2):
            with pytest.raises(Exception):
                client.boom("x")
        with pytest.raises(TApplicationException):
            client.nothing()
        assert router.total("meltemi_downstream_connections_active") == 1
    assert router.total("meltemi_downstream_requests_total") == 13
    assert router.total("meltemi_route_requests_total", route="tags") == 7
    assert router.total("meltemi_route_requests_total", route="sums") == 3
    assert router.total("meltemi_local_replies_total", fault="no_route") == 1
    assert router.total("meltemi_upstream_requests_total") == 12
    assert router.total("meltemi_upstream_responses_failed_total") == 2
    assert router.total("meltemi_request_duration_seconds_count") >= 12
    assert router.total("meltemi_downstream_rx_bytes_total") > 100


def test_the_metrics_page_is_well_formed(router):
    with thrifty.client(router.port) as client:
        client.tag()
    status, body = router.admin("/stats/prometheus")
    assert status == 200
    types, seen = {}, set()
    for line in body.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types, f"{name} is declared twice"
            types[name] = kind
        elif line and not line.startswith("#"):
            series = line.rpartition(" ")[0]
            assert series not in seen, f"{series} is there twice"
            seen.add(series)
    assert "counter" in types.values() and "histogram" in types.values()
    assert body.endswith("# EOF\n") or "# EOF" not in body


def test_the_configuration_can_be_dumped_and_used_again(router, tmp_path):
    from harness import meltemi

    status, body = router.admin("/config_dump")
    assert status == 200
    kinds = {document["kind"] for document in yaml.safe_load_all(body) if document}
    assert {"Gateway", "ServiceEntry", "DestinationRule", "MetaRouter"} <= kinds
    file = tmp_path / "dump.yaml"
    file.write_text(body)
    checked = meltemi.command("check", file)
    assert checked.returncode == 0, checked.stderr.decode()


def test_secrets_are_not_dumped(mesh, redis_server):
    port = free_port()
    router = mesh(
        [
            config.gateway("gw", "redis", port),
            config.service(SERVICE, "redis", {"v1": redis_server("a").port}),
            config.redis_service(SERVICE, [(None, SERVICE)]),
            config.redis_password(SERVICE, "hunter2"),
        ]
    )
    assert "hunter2" not in router.admin("/config_dump")[1]
    assert "hunter2" not in router.admin("/clusters")[1]
    assert "hunter2" not in router.output()


def test_clusters(router):
    with thrifty.client(router.port) as client:
        client.tag()
        status, body = router.admin("/clusters")
    assert status == 200
    clusters = {cluster["name"]: cluster for cluster in json.loads(body)}
    name = f"outbound|{config.SERVICE_PORT}|v1|{SERVICE}"
    assert name in clusters, clusters
    assert clusters[name]["endpoints"][0]["address"].startswith("127.0.0.1:")
