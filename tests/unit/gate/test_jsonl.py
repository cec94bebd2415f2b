import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.errors import ScoresError
from tasks.gate.jsonl import load_scores, write_scores
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores

MakeScores = Callable[..., Scores]

GOOD = '{"case_id": "a", "measure": "correct", "value": 1}'


def test_scores_survive_the_way_to_disk_and_back(
    make: MakeScores, policy: GatePolicy, tmp_path: Path
) -> None:
    values = {"correct": [1.0, 0.0, None, 1.0], "f1": [0.1, 0.2, 0.3, 0.4]}
    scores = make(values, must_pass=[1], gone=[3])
    path = tmp_path / "scores.jsonl"
    path.write_text(write_scores(scores))
    assert load_scores(path, policy) == scores
    assert load_scores(path, policy).digest == scores.digest


def test_a_row_needs_no_more_than_case_measure_and_value(
    policy: GatePolicy, tmp_path: Path
) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(GOOD + "\n\n" + '{"case_id": "b", "measure": "correct", "error": "timeout"}')
    scores = load_scores(path, policy)
    assert [row.value for row in scores.rows] == [1.0, None]
    assert scores.cases[0].cluster == "a"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (GOOD, "was already given in line 1"),
        ('{"case_id": "b", "measure": "correct", "value": 0.5}', "binary measure has 0 or 1"),
        ('{"case_id": "b", "measure": "correct", "value": NaN}', "finite number"),
        ('{"case_id": "b", "measure": "f1", "value": Infinity}', "finite number"),
        ('{"case_id": "b", "measure": "f1", "value": 1.5}', r"range is \[0.0, 1.0\]"),
        ('{"case_id": "b", "measure": "tokens", "value": -1}', "0 or more"),
        ('{"case_id": "b", "measure": "correct", "value": true}', "a number was expected"),
        ('{"case_id": "b", "measure": "bleu", "value": 1}', "has no measure 'bleu'"),
        ('{"case_id": "b", "measure": "f1"}', "either a value or an error"),
        ('{"case_id": "b", "measure": "f1", "value": 1, "error": "x"}', "either a value or an"),
        (
            '{"case_id": "b", "measure": "f1", "suite_problem": "x", "error": "x"}',
            "or a suite_problem",
        ),
        ('{"case_id": 7, "measure": "f1", "value": 1}', "case_id is 7"),
        ('{"case_id": "b", "measure": "f1", "value": 1, "note": ""}', r"unknown field\(s\)"),
        ('{"case_id": "a", "measure": "f1", "value": 1, "must_pass": true}', "another cluster"),
        ('{"suite": "x"}', r"unknown field\(s\)"),
        ("[1]", "expected an object"),
        ("{", "not JSON"),
    ],
)
def test_a_wrong_line_is_named(policy: GatePolicy, tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(ScoresError, match=rf"scores\.jsonl:2: .*{message}"):
        load_scores(path, policy)


def test_an_empty_or_missing_file_is_refused(policy: GatePolicy, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with pytest.raises(ScoresError, match="can't be read"):
        load_scores(path, policy)
    path.write_text(json.dumps({"suite_digest": "x"}))
    with pytest.raises(ScoresError, match="holds no scores"):
        load_scores(path, policy)
