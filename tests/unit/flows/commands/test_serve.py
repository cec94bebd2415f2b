import json
from pathlib import Path

import pytest

from benchmarks.stub.engine import Speed
from benchmarks.stub.server import StubServer
from flows.workspace import open_workspace
from tests.unit.flows.conftest import publish

PRICE = {"currency": "USD", "input_per_million": 1.0, "output_per_million": 2.0}


def hosted(project, url: str, name: str = "tiny", **flags: object) -> None:
    """A model that answers at this URL, and a release of it that searches by words."""
    tiny = {"format": "endpoint", "context_length": 8192, "price": PRICE, "base_urls": [url]}
    tiny["server_flags"] = flags
    project.edit("models", generators={name: tiny})
    project.edit("release", model=name, retrieval={"kind": "lexical"})


def test_two_releases_are_timed_in_one_schedule(ratchet, project):
    with StubServer(models=("tiny",)) as server:
        hosted(project, server.url)
        publish(open_workspace())
        project.edit("release", prompt="baseline")
        publish(open_workspace(release="configs/release.yaml"))
        with open_workspace().registry() as registry:
            labels = [row.label for row in registry.releases()]
        shown = ratchet(
            *("serve", "probe", *labels, "--rate", "50", "--requests", "4"),
            *("--prefix-cache", "as_is", "--json"),
        )
        assert shown.exit_code == 0, shown.output
        asked = len(server.requests)
    found = json.loads(shown.stdout)
    assert asked == 8
    assert set(found["sides"]) == set(labels)
    assert (found["rate"], found["prefix_cache"], found["prompts"]) == (50.0, "as_is", 3)
    for side in found["sides"].values():
        assert (side["requests"], side["failures"]) == (4, 0)
        assert len(side["first_token_s"]) == 3


def test_profiles_are_measured_one_after_the_other_and_kept(ratchet, project):
    speed = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.0005)
    with StubServer(speed, models=("tiny",)) as one, StubServer(speed, models=("wide",)) as two:
        hosted(project, one.url)
        hosted(project, two.url, "wide")
        project.edit("evaluate", measures=["R@4", "contains", "faithfulness", "latency_s"])
        publish(open_workspace())
        arguments = ("serve", "bench", "tiny", "wide", "--rate", "50", "--requests", "2")
        shown = ratchet(*arguments, "--json")
        assert shown.exit_code == 0, shown.output
        table = ratchet(*arguments)
    found = json.loads(shown.stdout)
    assert [each["model"] for each in found["profiles"]] == ["tiny", "wide"]
    for each in found["profiles"]:
        assert (each["calls"], each["failures"]) == (3, 0)
        assert each["latency"]["sides"][each["model"]]["requests"] == 2
        # No judge, so that a server needn't serve two models, and nothing that the cache says of
        # what answers took once.
        assert set(each["quality"]) == {"R@4", "contains"}
        assert each["cost"] > 0
    assert json.loads(Path(found["file"]).read_text())["profiles"] == found["profiles"]
    assert "cost of 1,000 answers" in table.stdout
    # Two requests bound nothing from below; brackets aren't swallowed as markup.
    assert "[0, " in table.stdout
    assert "first token, 95 %" in table.stdout


def test_a_profile_that_can_not_be_served_keeps_no_other_from_being_measured(ratchet, project):
    speed = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.0005)
    with StubServer(speed, models=("tiny",)) as server:
        hosted(project, "http://127.0.0.1:1/v1", "gone")
        hosted(project, server.url)
        publish(open_workspace())
        shown = ratchet(*("serve", "bench", "gone", "tiny", "--rate", "50", "--requests", "2"))
    assert shown.exit_code == 1
    assert "cost of 1,000 answers" in shown.stdout
    assert "Not measured: gone. No model server answers" in shown.stderr
    assert "Next: make up" in shown.stderr


def test_what_was_measured_at_several_times_stands_side_by_side(ratchet, project):
    speed = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.0005)
    how = ("--rate", "50", "--requests", "2")
    with StubServer(speed, models=("tiny", "wide")) as server:
        hosted(project, server.url, "wide", **{"max-num-seqs": 64})
        hosted(project, server.url)
        publish(open_workspace())
        for name in ("tiny", "tiny", "wide"):
            assert ratchet("serve", "bench", name, *how).exit_code == 0
        asked = len(server.requests)
        both = ratchet("serve", "bench", "wide", "tiny", "--stored", "--json")
        table = ratchet("serve", "bench", "--stored")
        assert len(server.requests) == asked
        assert ratchet("serve", "bench", "tiny", "--cases", "1", *how).exit_code == 0
    found = json.loads(both.stdout)["profiles"]
    assert [each["model"] for each in found] == ["wide", "tiny"]
    second = sorted(project.home.glob("serving/*.json"))[1]
    assert json.loads(second.read_text())["profiles"] == [found[1]]
    flags = next(line for line in table.stdout.splitlines() if line.startswith("--max-num-seqs"))
    assert flags.split()[1:] == ["64", "not", "set"]
    assert "other prompts" not in table.stdout
    assert "other prompts" in ratchet("serve", "bench", "--stored").stdout


def test_a_profile_whose_flags_changed_since_has_nothing_stored(ratchet, project):
    hosted(project, "http://127.0.0.1:1/v1")
    shown = ratchet("serve", "bench", "tiny", "--stored")
    assert shown.exit_code == 2
    assert "Nothing is stored of 'tiny'" in shown.stderr
    assert "ratchet serve bench tiny" in shown.stderr


def test_profiles_of_weights_that_nobody_knows_must_be_named(ratchet, project):
    hosted(project, "http://127.0.0.1:1/v1")
    shown = ratchet("serve", "bench")
    assert shown.exit_code == 2
    assert "expected the names" in shown.stderr


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_a_rate_that_is_none_is_refused_before_anything_is_started(ratchet, project, rate: str):
    shown = ratchet("serve", "probe", "champion", "--rate", rate)
    assert shown.exit_code == 2
    assert f"--rate is {rate}" in shown.stderr


def test_a_profile_that_nobody_described_is_named(ratchet, project):
    shown = ratchet("serve", "bench", "no-such-profile")
    assert shown.exit_code == 2
    assert "no-such-profile" in shown.stderr
    assert "configs/models.yaml" in shown.stderr


def test_one_server_can_not_serve_two_models_in_one_schedule(ratchet, project):
    publish(open_workspace())
    project.edit("release", model="smollm2-135m-instruct")
    publish(open_workspace())
    with open_workspace().registry() as registry:
        labels = [row.label for row in registry.releases()]
    shown = ratchet("serve", "probe", *labels)
    assert shown.exit_code == 2
    assert "base_urls" in shown.stderr
