from collections.abc import Callable

import numpy as np
import pytest

from tasks.gate.pairs import pair
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import ScoreRow, Scores

MakeScores = Callable[..., Scores]


def test_repeats_are_averaged_inside_the_case(make: MakeScores, policy: GatePolicy) -> None:
    old, new = make({"f1": [0.2, 0.4]}), make({"f1": [0.4, 0.4]})
    again = ScoreRow("case-000", "f1", 0.8, repeat=1)
    new = Scores(cases=new.cases, rows=(*new.rows, again))
    pairs = pair("f1", policy.measures["f1"], old, new, clusters=True)
    assert pairs is not None
    assert pairs.differences == pytest.approx([0.4, 0.0])


def test_a_failed_repeat_counts_as_the_worst_and_means_leave_it_out(
    make: MakeScores, policy: GatePolicy
) -> None:
    old, new = make({"f1": [0.2, 0.4]}), make({"f1": [0.8, 0.4]})
    failed = ScoreRow("case-000", "f1", None, "CallFailed: gone", repeat=1)
    new = Scores(cases=new.cases, rows=(failed, *new.rows))
    pairs = pair("f1", policy.measures["f1"], old, new, clusters=True)
    assert pairs is not None
    assert pairs.differences == pytest.approx([0.2, 0.0])
    assert pairs.measured.tolist() == [False, True]
    assert (pairs.failed_champion, pairs.failed_challenger) == (0, 1)
    assert pairs.mean_challenger == pytest.approx(0.6)


def test_cases_are_paired_by_their_names_and_not_by_their_places(
    make: MakeScores, policy: GatePolicy
) -> None:
    old, new = make({"f1": [0.1, 0.2, 0.3]}), make({"f1": [0.2, 0.4, 0.6]})
    turned = Scores(cases=old.cases[::-1], rows=old.rows[1:] + old.rows[:1])
    pairs = pair("f1", policy.measures["f1"], turned, new, clusters=True)
    assert pairs is not None
    assert pairs.cases == ("case-000", "case-001", "case-002")
    assert pairs.differences == pytest.approx([0.1, 0.2, 0.3])


def test_a_ratio_counts_at_most_its_limit_and_a_missing_one_exactly(
    make: MakeScores, policy: GatePolicy
) -> None:
    old = make({"tokens": [10.0, 10.0, 10.0, 0.0, 0.0]})
    new = make({"tokens": [20.0, 1000.0, None, 0.0, 5.0]})
    pairs = pair("tokens", policy.measures["tokens"], old, new, clusters=True)
    assert pairs is not None
    limit = np.log(8.0)
    assert pairs.differences == pytest.approx([-np.log(2), -limit, -limit, 0.0, -limit])


def test_a_case_that_neither_side_has_is_not_the_measures_business(
    make: MakeScores, policy: GatePolicy
) -> None:
    old, new = make({"f1": [0.5, 0.5, 0.5]}), make({"f1": [0.5, 0.5, 0.5]})
    old = Scores(cases=old.cases, rows=old.rows[:1])
    new = Scores(cases=new.cases, rows=new.rows[:2])
    pairs = pair("f1", policy.measures["f1"], old, new, clusters=True)
    assert pairs is not None
    # The second case has a challenger score alone: the champion's counts as its best.
    assert pairs.differences == pytest.approx([0.0, -0.5])
    assert pair("clarity", policy.measures["clarity"], old, new, clusters=True) is None


def test_a_case_that_one_corpus_cant_be_asked_makes_no_pair_whatever_the_other_side_got(
    make: MakeScores, policy: GatePolicy
) -> None:
    whole, part = make({"f1": [1.0, 0.5, 0.0]}), make({"f1": [1.0, 0.5, 0.0]}, gone=[0])
    for old, new in ((whole, part), (part, whole)):
        pairs = pair("f1", policy.measures["f1"], old, new, clusters=True)
        assert pairs is not None
        assert pairs.cases == ("case-001", "case-002")
        assert (pairs.mean_champion, pairs.failed_challenger) == (0.25, 0)
    assert whole.digest != part.digest
    failed = make({"f1": [None, 0.5, 0.0]})
    pairs = pair("f1", policy.measures["f1"], whole, failed, clusters=True)
    assert pairs is not None
    assert pairs.differences.tolist() == [-1.0, 0.0, 0.0]
