import numpy as np
import pytest

from tasks.digest import text_digest
from tasks.gate import GatePolicy, decide
from tasks.gate.agreement import Agreement
from tasks.gate.calibration import JudgeCalibration, JudgeRequirements, MeasureCalibration
from tasks.gate.draws import PairedLabels
from tasks.gate.policy import MeasurePolicy

CASES = 120
RULES = {
    "correct": MeasurePolicy(kind="binary", role="primary", direction="higher"),
    "clarity": MeasurePolicy(
        kind="bounded", role="guardrail", direction="higher", range=(1, 5), margin=0.8, judge=True
    ),
}


def policy_of(**judge):
    return GatePolicy(resamples=1999, spending="none", judge=judge, measures=RULES)


def calibration(vote, *, judge="j"):
    row = MeasureCalibration(
        vote=vote,
        reasons=() if vote == "alone" else ("Kappa is low.",),
        n_sampled=60,
        agreement=Agreement(n=60, n_clusters=60, graded=True),
        between_people=None,
        verbosity_slope=None,
    )
    return JudgeCalibration(
        judge_digest=judge,
        suite_digest="s",
        labels_digest=text_digest("labels"),
        requirements=JudgeRequirements(),
        measures={"clarity": row},
        position=None,
    )


@pytest.fixture
def sides(make):
    """A better challenger that the judge finds two marks less clear than the champion."""
    correct = np.arange(CASES) < 60
    old = {"correct": correct.astype(float).tolist(), "clarity": [4.0] * CASES}
    new = {"correct": (np.arange(CASES) < 90).astype(float).tolist(), "clarity": [2.0] * CASES}
    return make(old), make(new)


def people(difference, *, labelled=60, spread=0.5):
    """What people saw on a random sample."""
    noise = np.random.default_rng(0).choice([-spread, spread], labelled)
    ids = [f"case-{number:03d}" for number in range(CASES)]
    seen = {case: difference + float(n) for case, n in zip(ids, noise, strict=False)}
    return {"clarity": PairedLabels("clarity", seen, tuple(ids), text_digest("draw"), None)}


def check(decision):
    return next(check for check in decision.checks if check.name == "judge")


def test_a_judge_that_votes_alone_decides_by_its_own_scores(sides):
    found = decide(*sides, policy_of(), calibration=calibration("alone"))
    assert (found.verdict, check(found).status) == ("REJECT", "passed")


def test_people_are_believed_more_than_a_judge_that_needs_them(sides):
    found = decide(*sides, policy_of(), calibration=calibration("with_labels"), labels=people(0.0))
    row = found.comparison("clarity")
    assert row is not None
    assert row.delta == pytest.approx(0.0, abs=0.15)
    assert (found.verdict, check(found).status) == ("PROMOTE", "passed")
    assert "with labels: clarity" in check(found).text


def test_people_who_see_harm_have_it_rejected(sides):
    found = decide(*sides, policy_of(), calibration=calibration("with_labels"), labels=people(-2.0))
    assert found.verdict == "REJECT"


def test_few_labels_of_ties_do_not_pass_a_margin(sides):
    few = people(0.0, labelled=8, spread=0.0)
    found = decide(*sides, policy_of(), calibration=calibration("with_labels"), labels=few)
    row = found.comparison("clarity")
    assert row is not None
    # Eight ties: the mean may be 0.8 lower by losses of four marks in a fifth of the cases.
    assert row.p_value == pytest.approx((3.2 / 4) ** 8, abs=0.01)
    assert found.verdict == "HOLD"


def test_a_judge_that_needs_people_holds_without_them(sides):
    found = decide(*sides, policy_of(), calibration=calibration("with_labels"))
    assert check(found).status == "failed"
    assert "together with labels of these two releases: clarity" in check(found).text
    assert "ratchet label" in check(found).next_step


@pytest.mark.parametrize("required", [False, True])
def test_a_judge_that_nobody_calibrated_is_named_and_holds_where_the_policy_says_so(
    sides, required
):
    for known in (None, calibration("alone", judge="another judge")):
        found = decide(*sides, policy_of(required=required), calibration=known)
        assert check(found).status == ("failed" if required else "not_checked")
        assert check(found).measures == ("clarity",)


def test_a_judge_that_only_reports_holds(sides):
    found = decide(*sides, policy_of(), calibration=calibration("report_only"))
    assert check(found).status == "failed"
    assert "clarity: Kappa is low." in check(found).detail


def test_the_same_labels_give_the_same_bytes(sides):
    first, second = (
        decide(*sides, policy_of(), calibration=calibration("with_labels"), labels=people(0.0))
        for _ in range(2)
    )
    assert first.to_bytes() == second.to_bytes()
