import json

import pytest

from flows.steps.judge import calibrate_judge
from tests.unit.flows.labelling import MEASURE, label_all, two_evaluations


@pytest.fixture
def pair(project, workspace):
    return two_evaluations(project, workspace)


@pytest.fixture
def labelled(workspace, pair):
    """Everything is labelled by somebody who says what the judge says."""
    label_all(workspace, lambda score: score)


def read(ratchet, *arguments):
    shown = ratchet("judge", *arguments, "--json")
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == ""
    return json.loads(shown.stdout)


def test_calibrating_shows_each_measure_with_its_vote(ratchet, labelled):
    shown = ratchet("judge", "calibrate")
    assert shown.exit_code == 0, shown.output
    [line] = [line for line in shown.stdout.splitlines() if line.startswith(MEASURE)]
    assert "120" in line
    assert "1.00 [1.00, 1.00]" in line
    assert line.rstrip().endswith("alone")
    found = read(ratchet, "calibrate")
    assert found["measures"][MEASURE]["vote"] == "alone"


def test_what_speaks_against_a_judge_is_said_in_words(ratchet, workspace, pair):
    # Of the judge's 2 and 5 marks people say nearly the opposite.
    label_all(workspace, lambda score: 7.0 - score)
    shown = ratchet("judge", "calibrate")
    assert shown.exit_code == 0
    assert "report only" in shown.stdout
    assert "It may agree with people only by chance" in shown.stdout


def test_status_says_what_is_missing_and_what_to_do(ratchet, workspace, pair):
    shown = ratchet("judge", "status").stdout
    assert "0 label(s), 0 frozen answer(s)" in shown
    assert "ratchet label" in shown
    label_all(workspace, lambda score: score, cases=3)
    shown = ratchet("judge", "status").stdout
    assert "6 label(s) by kim" in shown
    assert "never calibrated" in shown
    assert "ratchet judge calibrate" in shown
    calibrate_judge(workspace)
    shown = ratchet("judge", "status").stdout
    assert "6 frozen answer(s)" in shown
    assert "6 answer(s) have both a label and the judge's score; 50 are needed." in shown
    found = read(ratchet, "status")
    assert (found["labels"], found["labellers"], found["frozen_answers"]) == (6, ["kim"], 6)
    assert found["votes"] == {MEASURE: "report_only"}


def test_the_labelled_answers_can_be_frozen_by_themselves(ratchet, labelled):
    assert "120 labelled answers are frozen" in ratchet("judge", "anchor").stdout
    assert read(ratchet, "anchor")["answers"] == 120


def test_verdicts_on_pairs_are_read_from_a_file(ratchet, labelled, tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"case_id": f"q{number}", "order": order, "winner": "A"}
        for number in range(20)
        for order in ("AB", "BA")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = ratchet("judge", "calibrate", "--pairwise", str(path))
    assert "Same winner in both orders: 1.00" in shown.stdout
    assert "of 20 pairs" in shown.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", ":1: line: Invalid JSON"),
        ('{"case_id": "a", "order": "AA", "winner": "A"}', ":1: order:"),
        ('{"case_id": "a", "order": "AB"}', ":1: winner:"),
        ("[1]", ":1:"),
    ],
)
def test_a_wrong_verdict_is_named_with_its_line(ratchet, labelled, tmp_path, line, said):
    path = tmp_path / "pairs.jsonl"
    path.write_text(line + "\n")
    shown = ratchet("judge", "calibrate", "--pairwise", str(path))
    assert shown.exit_code == 2
    assert said in shown.stderr
    assert "Next:" in shown.stderr


@pytest.mark.parametrize("command", ["calibrate", "anchor"])
def test_without_labels_it_says_how_to_make_some(ratchet, pair, command):
    shown = ratchet("judge", command)
    assert shown.exit_code == 2
    assert "ratchet label" in shown.stderr


@pytest.mark.parametrize("command", ["calibrate", "anchor", "status"])
def test_before_the_first_evaluation_there_is_no_judge(ratchet, project, command):
    shown = ratchet("judge", command)
    assert shown.exit_code == 2
    assert "No evaluation is on this machine" in shown.stderr


def test_before_the_first_champion_nothing_is_asked_again(ratchet, project):
    assert "Nothing is frozen" in ratchet("judge", "rejudge").stdout
    assert read(ratchet, "rejudge") is None
