"""Which endpoint gets a request."""

import concurrent.futures
import time

from harness import config
from harness.grid import rule
from harness.process import eventually
from harness.stage import HOST, within
from harness.subjects.script import late

ONLY_KEYS = {
    name: "a tag in braces is Redis's way to keep keys together"
    for name in ("dubbo", "thrift", "quill")
}


def balanced(stage, count=3, places=None, **balancer):
    """A mesh in front of so many servers, and a client of it."""
    servers = [stage.server(f"v{number}") for number in range(1, count + 1)]
    stage.run(hosts=[stage.host(policy={"loadBalancer": balancer}, places=places)])
    return servers, stage.client()


@rule("Load balancing", "round robin")
def test_round_robin(stage):
    servers, client = balanced(stage, simple="ROUND_ROBIN")
    values = [client.call("read").value for _ in range(30)]
    assert [server.count() for server in servers] == [10, 10, 10]
    # In turn, and not ten times the one and then the other.
    assert all(len(set(values[at : at + 3])) == 3 for at in range(28)), values


@rule("Load balancing", "random")
def test_random(stage):
    servers, client = balanced(stage, simple="RANDOM")
    values = [client.call("read").value for _ in range(600)]
    assert all(within(server.count(), 600, 1 / 3) for server in servers)
    turns = sum(len(set(values[at : at + 3])) == 3 for at in range(0, 600, 3))
    # Of three in a row all are different in two of nine cases.
    assert within(turns, 200, 2 / 9), turns


@rule("Load balancing", "least request")
def test_least_request(stage):
    (slow, quick), _ = balanced(stage, 2, simple="LEAST_REQUEST")
    slow.always(late(0.15))

    def caller(_):
        with stage.subject.client(stage.port) as client:
            return [client.call("read").ok for _ in range(15)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(all(calls) for calls in pool.map(caller, range(8)))
    assert slow.count() + quick.count() == 120
    # In turn, or at random, it would be 60.
    assert quick.count() >= 85, (slow.count(), quick.count())


def sticks(stage, **balancer):
    """The same value goes to the same server, many values to all of them, and so it stays."""
    servers, client = balanced(stage, 3, consistentHash=balancer)
    users = [f"user-{number}" for number in range(60)]

    def homes(client):
        found = {user: client.call("read", user=user).value for user in users}
        for user in users[:20]:
            assert client.call("read", user=user).value == found[user]
        return found

    before = homes(client)
    shares = {server.tag: list(before.values()).count(server.tag) for server in servers}
    assert min(shares.values()) >= 5, shares
    # Another client, and another process, see the same homes.
    assert homes(stage.client()) == before
    stage.router.stop()
    stage.run(hosts=[stage.host(policy={"loadBalancer": {"consistentHash": balancer}})])
    assert homes(stage.client()) == before
    # Of a server that leaves, the users go elsewhere; those of the others mostly stay.
    stage.router.stop()
    stage.run(
        hosts=[stage.host(*servers[:2], policy={"loadBalancer": {"consistentHash": balancer}})]
    )
    after = homes(stage.client())
    assert "v3" not in after.values()
    moved = [user for user in users if before[user] != "v3" and before[user] != after[user]]
    assert len(moved) <= 6, moved


@rule("Load balancing", "ring hash by an attribute")
def test_ring_hash(stage):
    sticks(stage, attribute=stage.subject.user, ringHash={"minimumRingSize": 1024})


@rule("Load balancing", "Maglev by an attribute")
def test_maglev(stage):
    sticks(stage, attribute=stage.subject.user, maglev={"tableSize": 4093})


@rule("Load balancing", "by the source address")
def test_by_source(stage):
    balanced(stage, 3, consistentHash={"useSourceIp": True})
    homes = []
    for number in range(2, 22):
        client = stage.client(source=f"127.0.0.{number}")
        values = {client.call("read").value for _ in range(3)}
        assert len(values) == 1, values
        homes += values
    assert len(set(homes)) >= 2, homes


@rule("Load balancing", "by the tag in a key", gaps=ONLY_KEYS)
def test_hash_tags(stage):
    _, client = balanced(stage, 3, consistentHash={"attribute": "key{}"})
    homes = set()
    for number in range(30):
        tag = f"{{user-{number}}}"
        values = {
            client.call("read", user=key).value
            for key in (f"{tag}:name", f"cart:{tag}", f"a{tag}b", f"user-{number}")
        }
        assert len(values) == 1, (tag, values)
        homes |= values
    assert len(homes) == 3


@rule("Load balancing", "weights of destinations (binomial, 10,000 requests; Thrift: 2,000)")
def test_weights(stage):
    count = 2_000 if stage.protocol == "thrift" else 10_000
    one, two = stage.pair()
    stage.run(stage.route(config.to(HOST, "v1", 80), config.to(HOST, "v2", 20)))
    outcomes = stage.client().many(count)
    assert all(outcome.ok for outcome in outcomes)
    assert within(one.count(), count, 0.8), one.count()
    assert one.count() + two.count() == count


@rule("Load balancing", "weights of endpoints")
def test_weights_of_endpoints(stage):
    places = {"v1": {"weight": 3}, "v2": {"weight": 1}, "v3": {"weight": 0}}
    servers, client = balanced(stage, 3, places, simple="ROUND_ROBIN")
    for _ in range(80):
        assert client.call("read").ok
    assert [server.count() for server in servers] == [60, 20, 0]


@rule(
    "Load balancing",
    "a subset without endpoints: an error, all endpoints, or those with other labels",
)
def test_subsets_may_fall_back(stage):
    stage.pair()
    subsets = ("v1", "v2", "v3")

    def run(**destination):
        if stage.router:
            stage.router.stop()
        stage.run(
            stage.route(config.to(HOST, "v3")),
            hosts=[
                stage.host(
                    subsets=subsets,
                    destination=destination,
                    policy={"loadBalancer": {"simple": "ROUND_ROBIN"}},
                )
            ],
        )
        client = stage.client()
        return [client.call("read") for _ in range(10)]

    outcomes = run()
    assert all(outcome.is_("unavailable") for outcome in outcomes), outcomes
    assert stage.faults("no_endpoint") == 10
    values = [outcome.value for outcome in run(subsetFallback="any")]
    assert values.count("v1") == values.count("v2") == 5, values
    values = [outcome.value for outcome in run(subsetFallback={"version": "v2"})]
    assert values == ["v2"] * 10, values


NEAR, FAR = {"locality": "north/a"}, {"locality": "south/a"}
TRIED = {"consecutive5xxErrors": 1, "baseEjectionTime": "60s", "maxEjectionPercent": 100}


def placed(stage, setting, near=2, **policy):
    """Servers near and one far away, seen from region north."""
    servers = [stage.server(f"v{number}") for number in range(1, near + 2)]
    places = {server.tag: NEAR for server in servers[:-1]}
    places[servers[-1].tag] = FAR
    balancer = {"simple": "ROUND_ROBIN", "localityLbSetting": setting}
    stage.run(
        hosts=[stage.host(places=places, policy={"loadBalancer": balancer, **policy})],
        args=["--locality", "north/a"],
    )
    return servers, stage.client()


@rule("Load balancing", "locality: failover by region")
def test_another_region_stands_in(stage):
    setting = {"enabled": True, "failover": [{"from": "north", "to": "south"}]}
    (one, two, far), client = placed(stage, setting, outlierDetection=TRIED)
    for _ in range(20):
        assert client.call("read").ok
    assert far.count() == 0 and one.count() == two.count() == 10
    one.stop()
    two.stop()
    # The first calls may find out that nobody is at home.
    for _ in range(6):
        client.call("read")
    before = far.count()
    outcomes = [client.call("read") for _ in range(10)]
    assert all(outcome.value == "v3" for outcome in outcomes), outcomes
    assert far.count() - before == 10


@rule("Load balancing", "locality: shares")
def test_regions_have_shares(stage):
    setting = {"distribute": [{"from": "north/*", "to": {"north/*": 80, "south/*": 20}}]}
    (*near, far), client = placed(stage, setting)
    for _ in range(1_000):
        assert client.call("read").ok
    assert within(far.count(), 1_000, 0.2), far.count()
    assert within(near[0].count(), 1_000, 0.4)


@rule("Load balancing", "priority by label")
def test_labels_make_priorities(stage):
    servers = [stage.server(f"v{number}") for number in (1, 2)]
    places = {"v1": {"labels": {"tier": "gold"}}, "v2": {"labels": {"tier": "lead"}}}
    setting = {"failoverPriority": ["tier=gold"]}
    balancer = {"simple": "ROUND_ROBIN", "localityLbSetting": setting}
    stage.run(
        hosts=[
            stage.host(places=places, policy={"loadBalancer": balancer, "outlierDetection": TRIED})
        ]
    )
    client = stage.client()
    for _ in range(10):
        assert client.call("read").value == "v1"
    servers[0].stop()
    for _ in range(4):
        client.call("read")
    assert [client.call("read").value for _ in range(10)] == ["v2"] * 10


@rule("Load balancing", "warm-up of a new endpoint")
def test_a_new_endpoint_starts_slowly(stage):
    servers = [stage.server(f"v{number}") for number in (1, 2)]
    policy = {
        "loadBalancer": {
            "simple": "ROUND_ROBIN",
            "warmup": {"duration": "1.5s", "minimumPercent": 10},
        }
    }
    one = stage.documents(hosts=[stage.host(servers[0], policy=policy)])
    both = stage.documents(hosts=[stage.host(*servers, policy=policy)])
    stage.start(one)
    client = stage.client()
    # The first one is new, too: not for long.
    begin = time.monotonic()
    while time.monotonic() - begin < 1.6:
        assert client.call("read").value == "v1"
        time.sleep(0.05)
    stage.router.write(both)
    stage.router.hang_up()
    eventually(lambda: client.call("read").value == "v2", what="the new endpoint's first request")

    def share():
        servers[0].forget(), servers[1].forget()
        # One after the other: what a client sends without waiting stays on one connection.
        assert all(client.call("read").ok for _ in range(110))
        return servers[1].count()

    # A tenth of the share of the other one, and more with every moment.
    early = share()
    assert 5 <= early <= 40, early
    eventually(lambda: share() == 55, what="the whole share")
