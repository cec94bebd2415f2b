import json

import pytest

from tasks.evaluate.log import load_log
from tests.unit.flows.evaluations import evaluated, registered


@pytest.fixture
def two(workspace):
    return registered(workspace), registered(workspace, 1)


def evaluate(workspace, release, *, right: int) -> str:
    name = evaluated(workspace, release, right=right)
    log = load_log(workspace.home.path("evals", name))
    with workspace.registry() as registry:
        registry.record_evaluation(
            name, release=release.digest, suite=log.manifest.suite_digest, who="tester"
        )
    return name


def go_live(workspace, release):
    with workspace.registry() as registry:
        registry.promote(
            release.digest,
            expected_champion=registry.champion_digest(),
            who="tester",
            why="the [first] one",
            override=True,
        )


def read(ratchet, *arguments):
    shown = ratchet(*arguments, "--json")
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == ""
    return json.loads(shown.stdout)


def test_a_release_is_shown_with_its_parts_scores_and_past(ratchet, workspace, two):
    go_live(workspace, two[0])
    name = evaluate(workspace, two[0], right=45)
    shown = ratchet("show", two[0].label)
    assert shown.exit_code == 0, shown.output
    for text in (
        two[0].digest,
        "[system]",
        "Answer in 3 words.",
        "tiny@",
        "top_k 4",
        name[:12],
        "answer_correct",
        "75.0 %",
        "promoted",
        "the [first] one",
    ):
        assert text in shown.stdout
    assert ratchet("show").stdout == shown.stdout


def test_a_script_gets_all_of_it(ratchet, workspace, two):
    evaluate(workspace, two[0], right=45)
    found = read(ratchet, "show", two[0].digest)
    assert found["digest"] == two[0].digest
    assert found["release"]["retrieval"]["top_k"] == 4
    assert found["evaluations"][0]["means"]["answer_correct"] == 0.75
    assert [event["kind"] for event in found["events"]] == ["registered"]


def test_an_evaluation_of_another_machine_is_named_without_means(ratchet, workspace, two):
    with workspace.registry() as registry:
        registry.record_evaluation("e" * 64, release=two[0].digest, suite="s" * 64, who="tester")
    assert "not on this machine" in ratchet("show", two[0].label).stdout
    assert read(ratchet, "show", two[0].label)["evaluations"][0]["means"] is None


def test_a_damaged_evaluation_does_not_hide_the_release(ratchet, workspace, two):
    name = evaluate(workspace, two[0], right=45)
    workspace.home.path("evals", name, "manifest.json").write_text("{")
    shown = ratchet("show", two[0].label)
    assert shown.exit_code == 0
    assert "Left out:" in shown.stderr
    assert "Answer in 3 words." in shown.stdout


def test_nothing_to_show_is_bad_input_with_a_next_step(ratchet, two):
    for arguments in (("show",), ("show", "nothing"), ("show", "previous")):
        shown = ratchet(*arguments)
        assert shown.exit_code == 2
        assert "Next:" in shown.stderr
        assert shown.stdout == ""


def test_what_differs_is_shown_with_the_measures_of_the_same_suite(ratchet, workspace, two):
    old, new = (release.digest[:12] for release in two)
    assert "No suite on which both" in ratchet("diff", old, new).stdout
    evaluate(workspace, two[0], right=30)
    evaluate(workspace, two[1], right=45)
    shown = ratchet("diff", old, new)
    assert "-Answer in 3 words." in shown.stdout
    assert "+Answer in 4 words." in shown.stdout
    assert "50.0 %" in shown.stdout
    assert "75.0 %" in shown.stdout
    assert "\x1b" not in shown.stdout
    rows = {row["measure"]: row for row in read(ratchet, "diff", old, new)["measures"]}
    assert (rows["answer_correct"]["old"], rows["answer_correct"]["new"]) == (0.5, 0.75)
