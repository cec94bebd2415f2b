"""A judge's preferences in a decision: shown, and without a vote."""

import pytest

from tasks.errors import ConfigError
from tasks.evaluate.measures import measure
from tasks.evaluate.pairwise import Preference, Preferences
from tasks.gate.decide import decide
from tasks.gate.policy import PREFERENCE, GatePolicy, MeasurePolicy
from tasks.gate.preference import check_preference, with_preferences
from tasks.report.findings import findings

N = 200
RULE = MeasurePolicy(kind="bounded", role="report", direction="higher", judge=True)


def preferences(wins: int, losses: int, places: int = 0, failed: int = 0) -> Preferences:
    """So many wins of the challenger, losses, verdicts for the first place, and failures."""
    said = [("challenger", "challenger")] * wins + [("champion", "champion")] * losses
    said += [("champion", "challenger")] * places
    rows = [
        Preference(case_id=f"case-{n:03d}", champion_first=first, challenger_first=second)
        for n, (first, second) in enumerate(said)
    ]
    rows += [
        Preference(case_id=f"case-{len(said) + n:03d}", error_type="Refused", message="no")
        for n in range(failed)
    ]
    return Preferences(digest="0" * 64, rows=tuple(rows))


@pytest.fixture
def sides(make):
    values = {"correct": [1.0] * N, "f1": [0.5] * N, "tokens": [10.0] * N}
    return make(values), make(values | {"correct": [1.0] * N}, release="new")


@pytest.fixture
def asking(policy) -> GatePolicy:
    return policy.model_copy(update={"measures": {**policy.measures, PREFERENCE: RULE}})


def test_the_mean_difference_is_the_wins_less_the_losses(sides, asking):
    found = preferences(wins=30, losses=10, places=20)
    decision = decide(*with_preferences(*sides, found), asking, preferences=found)
    row = decision.comparison(PREFERENCE)
    assert row.delta == pytest.approx((30 - 10) / 60)
    assert (row.wins, row.losses, row.ties, row.n) == (30, 10, 20, 60)
    assert row.mean_challenger == pytest.approx((30 + 10) / 60)
    assert row.mean_champion == pytest.approx(1 - row.mean_challenger)
    assert row.ci_low < row.delta < row.ci_high


def test_a_preference_changes_no_verdict(sides, asking, policy):
    without = decide(*sides, policy)
    for found in (preferences(wins=N, losses=0), preferences(wins=0, losses=N)):
        decision = decide(*with_preferences(*sides, found), asking, preferences=found)
        assert decision.verdict == without.verdict
        assert decision.reasons == without.reasons


def test_a_case_without_a_verdict_is_missing_on_both_sides_and_never_helps(sides, asking):
    found = preferences(wins=10, losses=0, failed=5)
    row = decide(*with_preferences(*sides, found), asking, preferences=found).comparison(PREFERENCE)
    assert (row.n, row.n_unpaired, row.failed_champion, row.failed_challenger) == (15, 5, 5, 5)
    assert row.delta == pytest.approx((10 - 5) / 15)


def test_the_bias_for_a_place_is_told(sides, asking):
    found = preferences(wins=3, losses=2, places=5, failed=1)
    decision = decide(*with_preferences(*sides, found), asking, preferences=found)
    [check] = [each for each in decision.checks if each.name == "preference"]
    assert check == check_preference(found)
    assert check.status == "note"
    assert "challenger's in 3 and the champion's in 2 of 10 cases" in check.text
    assert "1 more have no verdict" in check.text
    assert "5 of 10" in check.detail
    assert "shown first 5 times, shown second 0 times" in check.detail
    assert "Preference" in [each.label for each in findings(decision)]


def test_without_any_verdict_that_is_said():
    assert "no verdict on any of 2 pairs" in check_preference(preferences(0, 0, failed=2)).text


@pytest.mark.parametrize(
    "change",
    [
        {"role": "guardrail", "margin": 0.1},
        {"direction": "lower"},
        {"range": (0.0, 2.0)},
        {"kind": "binary"},
    ],
)
def test_a_policy_cannot_give_it_a_vote(policy, change):
    rule = RULE.model_dump() | change
    with pytest.raises(ValueError, match="preference compares two releases"):
        GatePolicy.model_validate(
            policy.model_dump()
            | {"measures": {**policy.model_dump()["measures"], PREFERENCE: rule}}
        )


def test_an_evaluation_of_one_release_cannot_measure_it():
    with pytest.raises(ConfigError, match=r"(?s)two releases.*gate\.yaml"):
        measure(PREFERENCE)
