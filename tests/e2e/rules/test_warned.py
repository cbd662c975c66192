"""Rules that can be carried out and will not do what was meant: `check` warns, with file and line."""

import re

import yaml
from harness import config, meltemi
from harness.grid import rule
from harness.stage import HOST

ALL = {"value": 100}


def warning(stage, *routes, **options):
    """The one warning about a configuration, and the line of the file that it points to."""
    stage.server(start=False)
    file = stage.directory / "doubtful.yaml"
    text = yaml.safe_dump_all(stage.documents(*routes, **options))
    file.write_text(text)
    done = meltemi.command("check", file)
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    # It is an error only for those who want that.
    assert meltemi.command("check", "--strict", file).returncode != 0
    warnings = [line for line in said.splitlines() if ": warning: " in line]
    assert len(warnings) == 1 and "nothing comes of this field" not in said, said
    (place, *_) = re.findall(re.escape(str(file)) + r":(\d+)", warnings[0])
    return warnings[0], text.splitlines()[int(place) - 1]


def copy(host, subset=None, share=100):
    destination = config.to(host, subset)["destination"]
    return {"mirrors": [{"destination": destination, "percentage": {"value": share}}]}


@rule("Warned of at load", "a mirror to an unknown host")
def test_an_unknown_host(stage):
    said, line = warning(stage, stage.route(**copy("nowhere.test")))
    assert "nowhere.test" in said and "nowhere.test" in line and "ServiceEntry" in said


@rule("Warned of at load", "a mirror of nothing")
def test_a_mirror_of_nothing(stage):
    said, _ = warning(stage, stage.route(**copy(HOST, "v1", 0)))
    assert "mirrors[0]" in said and "0" in said


@rule("Warned of at load", "a fault that never happens")
def test_a_fault_that_never_happens(stage):
    never = {"abort": {"reason": "denied", "percentage": {"value": 0}}}
    said, _ = warning(stage, stage.route(faults=[never]))
    assert "faults[0]" in said


@rule("Warned of at load", "a route that no request reaches")
def test_a_route_that_is_not_reached(stage):
    said, _ = warning(stage, stage.route(), stage.route(when={"op": "write"}, name="never"))
    assert "never" in said and "no request reaches it" in said


@rule("Warned of at load", "a try that may take as long as the request")
def test_a_try_without_an_end(stage):
    retries = {"attempts": 2, "perTryTimeout": "5s"}
    said, line = warning(stage, stage.route(timeout="2s", retries=retries))
    assert "perTryTimeout" in said and "5s" in line


@rule("Warned of at load", "a limit that is never asked, because another takes its requests")
def test_a_limit_that_is_never_asked(stage):
    bucket = {"maxTokens": 1, "tokensPerFill": 1, "fillInterval": "1s"}
    everything = {"tokenBucket": bucket}
    some = {
        "tokenBucket": bucket,
        "match": {"attributes": {stage.subject.user: {"exact": "ada"}}},
    }
    said, _ = warning(stage, stage.route(localRateLimit={"conditions": [everything, some]}))
    assert "conditions[1]" in said
