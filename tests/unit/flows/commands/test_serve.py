import json
from pathlib import Path

import pytest

from benchmarks.stub.engine import Speed
from benchmarks.stub.server import StubServer
from flows.workspace import open_workspace
from tests.unit.flows.conftest import publish

PRICE = {"currency": "USD", "input_per_million": 1.0, "output_per_million": 2.0}


def hosted(project, url: str, name: str = "tiny") -> None:
    """A model that answers at this URL, and a release of it that searches by words."""
    tiny = {"format": "endpoint", "context_length": 8192, "price": PRICE, "base_urls": [url]}
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
