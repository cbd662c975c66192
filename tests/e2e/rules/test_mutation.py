"""Changes on the way, with values made of the request and its connection."""

from harness.grid import rule
from harness.subjects.script import say

NOTHING = {"redis": "nothing in a reply can be changed; refused at load"}
ONLY_KEY = {"redis": "a command has no metadata; its key is the row below"}


@rule("Mutation", "request: set, add, remove", gaps=ONLY_KEY)
def test_requests_are_changed(stage):
    server = stage.server()
    header = stage.subject.header
    stage.run(
        stage.route(
            requestMutation={
                "set": {header("x-via"): "mesh", header("x-user"): "somebody"},
                "add": {header("x-new"): "more"},
                "remove": [header("x-secret")],
            }
        )
    )
    client = stage.client()
    outcome = client.call(
        "read", user="ada", text="left alone", meta={"x-secret": "1", "x-kept": "2"}
    )
    assert outcome.value == "v1", outcome
    (call,) = server.calls
    seen = {key: value for key, value in call.meta.items() if key.startswith("x-")}
    assert seen == {"x-via": "mesh", "x-user": "somebody", "x-new": "more", "x-kept": "2"}
    assert (call.op, call.text) == ("read", "left alone")


@rule("Mutation", "request: values from attributes and the connection", gaps=ONLY_KEY)
def test_values_are_made_of_the_request(stage):
    server = stage.server()
    header = stage.subject.header
    changes = {
        header("x-what"): "%method% for %" + stage.subject.user + "%",
        header("x-from"): "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        header("x-route"): "%ROUTE_NAME%: 100%%",
        header("x-cluster"): "%UPSTREAM_CLUSTER%",
        header("x-nothing"): "[%" + header("x-absent") + "%]",
    }
    stage.run(stage.route(name="the-route", requestMutation={"set": changes}))
    assert stage.client(source="127.0.0.9").call("read", user="ada").ok
    (call,) = server.calls
    seen = {
        key: value
        for key, value in call.meta.items()
        if key in {f"x-{word}" for word in ("what", "from", "route", "cluster", "nothing")}
    }
    assert seen == {
        "x-what": "read for ada",
        "x-from": "127.0.0.9",
        "x-route": "the-route: 100%",
        "x-cluster": "outbound|9000||rules.test",
        "x-nothing": "[]",
    }


@rule(
    "Mutation",
    "request: the key of a command",
    gaps={name: "its metadata is the rows above" for name in ("dubbo", "thrift", "quill")},
)
def test_keys_are_changed(stage):
    server = stage.server()
    stage.run(stage.route(requestMutation={"set": {"key": "tenant-1:%key%"}}))
    client = stage.client()
    assert client.call("read", user="user:7").ok and client.call("write", user="user:8").ok
    assert [call.text for call in server.calls] == ["tenant-1:user:7", "tenant-1:user:8"]


@rule("Mutation", "response: set, add, remove", gaps=NOTHING)
def test_responses_are_changed(stage):
    server = stage.server()
    header = stage.subject.header
    stage.run(
        stage.route(
            responseMutation={
                "set": {header("x-served-by"): "mesh", header("x-route"): "%ROUTE_NAME%"},
                "add": {header("x-new"): "more"},
                "remove": [header("x-internal")],
            },
            name="the-route",
        )
    )
    server.always(say("v1", **{"x-served-by": "server", "x-internal": "1", "x-kept": "2"}))
    # Thrift has metadata in answers to calls with metadata: both are THeader.
    outcome = stage.client().call("read", user="ada")
    assert outcome.value == "v1", outcome
    seen = {key: value for key, value in outcome.meta.items() if key.startswith("x-")}
    assert seen == {"x-served-by": "mesh", "x-route": "the-route", "x-new": "more", "x-kept": "2"}
