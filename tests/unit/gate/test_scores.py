from math import nan
from pathlib import Path

import pytest

from tasks.config import EvaluateSettings, load_settings
from tasks.digest import digest
from tasks.errors import ScoresError
from tasks.evaluate.measures import measure
from tasks.gate.decide import decide
from tasks.gate.policy import GatePolicy, load_policy
from tasks.gate.scores import ScoredCase, ScoreRow, Scores, check_values, from_log
from tests.evaluations import make_log, make_release

CONFIGS = Path(__file__).parents[3] / "configs"


def test_a_log_gives_every_score_and_every_failure() -> None:
    log = make_log(make_release(), cases=12, right=8, failed=2)
    scores = from_log(log)
    correct = scores.values_of("answer_correct")
    assert len(correct) == 12
    assert correct["q011"] == [None]
    assert correct["q000"] == [1.0]
    assert len(scores.values_of("R@4")) == 12
    # The lost answer itself is no measure.
    assert "answer" not in scores.rows_of
    assert scores.suite_digest == log.manifest.suite_digest
    assert scores.cases[0].must_pass
    assert scores.digest == from_log(log).digest


def test_the_digest_is_that_of_the_sorted_rows() -> None:
    cases = (ScoredCase('b "1"', "ü", ("t",), True), ScoredCase("a", "a"))
    rows = (
        ScoreRow('b "1"', "f1", 0.1, repeat=1),
        ScoreRow('b "1"', "f1", 1e-7),
        ScoreRow("a", "f1", None, "CallFailed: gone"),
        ScoreRow("a", "correct", 1.0),
    )
    scores = Scores(cases=cases, rows=rows, release="é", suite_digest="s")
    assert scores.digest == digest(
        "gate-scores",
        1,
        {
            "cases": sorted([c.case_id, c.cluster, c.tags, c.must_pass] for c in cases),
            "rows": sorted([r.measure, r.case_id, r.repeat, r.value] for r in rows),
            "release": ["é", None, None],
            "suite": ["s", None],
        },
    )
    again = Scores(cases=cases[::-1], rows=rows[::-1], release="é", suite_digest="s")
    assert again.digest == scores.digest


def test_a_failed_repeat_of_a_scored_case_has_an_identity() -> None:
    # A failure doesn't say which repeat it was.
    rows = (ScoreRow("a", "f1", 0.5), ScoreRow("a", "f1", None, "CallFailed: gone"))
    scores = Scores(cases=(ScoredCase("a", "a"),), rows=rows)
    assert scores.digest != Scores(cases=scores.cases, rows=rows[:1]).digest


def test_a_policy_that_misreads_a_measure_is_refused(policy: GatePolicy) -> None:
    scores = from_log(make_log(make_release()))
    rule = policy.measures["tokens"].model_copy(update={"direction": "higher"})
    wrong = policy.model_copy(update={"measures": policy.measures | {"latency_s": rule}})
    with pytest.raises(ScoresError, match="'latency_s' positive with 'higher' as better"):
        decide(None, scores, wrong)


def test_the_first_of_several_wrong_rows_is_named(policy: GatePolicy) -> None:
    case = ScoredCase("a", "a")
    right = (ScoreRow("a", "f1", 0.5), ScoreRow("a", "correct", 1.0))
    gone = ScoreRow("a", "tokens", None, "CallFailed: gone")
    check_values(Scores(cases=(case,), rows=(*right, gone, gone)), policy)
    wrong = {
        "binary": ScoreRow("a", "correct", 0.5, repeat=1),
        "range": ScoreRow("a", "f1", 1.5, repeat=1),
        "finite": ScoreRow("a", "f1", nan, repeat=2),
        "0 or more": ScoreRow("a", "tokens", -1.0),
        "given before": right[0],
        "suite's": ScoreRow("b", "unknown", 7.0),
    }
    rows = (*right, *wrong.values())
    for first, reason in enumerate(wrong, start=len(right)):
        with pytest.raises(ScoresError, match=reason):
            check_values(Scores(cases=(case,), rows=(*right, *rows[first:])), policy)


def test_the_shipped_policy_knows_every_measure_of_the_shipped_evaluation() -> None:
    policy = load_policy(CONFIGS / "gate.yaml")
    names = load_settings(CONFIGS / "evaluate.yaml", EvaluateSettings).measures
    assert set(names) <= set(policy.measures)
    for name in names:
        found, rule = measure(name), policy.measures[name]
        assert found.kind == rule.kind, name
        assert found.higher_is_better == (rule.direction == "higher"), name
    assert {*policy.named("primary", "guardrail")} <= set(names)
