import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tasks.errors import ScoresError
from tasks.gate.agreement import (
    _kappa,
    _nominal_alpha,
    _ordinal_alpha,
    _weighted_kappa,
    agreement,
    between_people,
)

MARKS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40)


def table(pairs, levels):
    counts = np.zeros((1, levels, levels))
    for ours, theirs in pairs:
        counts[0, ours, theirs] += 1
    return counts


@given(MARKS)
def test_many_tables_at_once_give_what_scikit_learn_and_krippendorff_give(
    pairs: list[tuple[int, int]],
) -> None:
    ours, theirs = map(list, zip(*pairs, strict=True))
    assume(len({*ours, *theirs}) > 1)
    counts = table(pairs, 5)
    assert _kappa(counts)[0] == pytest.approx(cohen_kappa_score(ours, theirs), abs=1e-12)
    weighted = cohen_kappa_score(ours, theirs, labels=range(5), weights="quadratic")
    assert _weighted_kappa(counts)[0] == pytest.approx(weighted, abs=1e-12)
    for statistic, level in ((_nominal_alpha, "nominal"), (_ordinal_alpha, "ordinal")):
        expected = krippendorff.alpha(
            reliability_data=np.array([ours, theirs], dtype=float), level_of_measurement=level
        )
        assert statistic(counts)[0] == pytest.approx(expected, abs=1e-12)


def test_the_numbers_of_cohens_textbook_table():
    # 50 applications, two readers: yes-yes 20, yes-no 5, no-yes 10, no-no 15.
    ours = [1] * 25 + [0] * 25
    theirs = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    found = agreement(ours, theirs, levels=2)
    assert found.raw is not None
    assert found.kappa is not None
    assert found.pabak is not None
    assert found.raw.value == pytest.approx(0.7)
    assert found.kappa.value == pytest.approx(0.4)
    assert found.pabak.value == pytest.approx(0.4)
    assert found.weighted_kappa is None
    assert found.decisive == found.kappa
    assert not found.graded


def test_in_grades_a_near_miss_costs_less_than_a_far_one():
    people = [0, 1, 2, 3, 4] * 10
    near = [min(mark + (place % 3 == 0), 4) for place, mark in enumerate(people)]
    far = [(mark + 2) % 5 if place % 3 == 0 else mark for place, mark in enumerate(people)]
    close, distant = (agreement(people, marks, levels=5) for marks in (near, far))
    assert close.decisive is not None
    assert distant.decisive is not None
    assert close.decisive.value > distant.decisive.value + 0.3
    assert close.decisive == close.weighted_kappa


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(3)
    # A judge that repeats the person with probability 0.6 and guesses among five marks otherwise:
    # kappa is 0.6.
    inside = 0
    for run in range(200):
        people = generator.integers(0, 5, 80)
        judge = np.where(generator.random(80) < 0.6, people, generator.integers(0, 5, 80))
        found = agreement(people.tolist(), judge.tolist(), levels=5, resamples=500, seed=run)
        assert found.kappa is not None
        inside += found.kappa.low <= 0.6 <= found.kappa.high
    # Nominal .95; .90 is three standard errors of 200 runs below.
    assert inside / 200 >= 0.90


def test_related_answers_make_an_interval_wider():
    generator = np.random.default_rng(0)
    people = np.repeat(generator.integers(0, 2, 20), 10)
    right = np.repeat(generator.random(20) < 0.8, 10)
    judge = np.where(right, people, 1 - people)
    clusters = np.repeat(np.arange(20), 10).tolist()
    alone = agreement(people.tolist(), judge.tolist(), levels=2)
    together = agreement(people.tolist(), judge.tolist(), levels=2, clusters=clusters)
    assert alone.kappa is not None
    assert together.kappa is not None
    assert together.kappa.value == alone.kappa.value
    assert together.n_clusters == 20
    assert _width(together.kappa) > 2 * _width(alone.kappa)


def _width(estimate):
    return estimate.high - estimate.low


def test_the_same_input_and_seed_give_the_same_bytes_in_any_order_of_answers():
    people, judge = [0, 1, 2, 3, 4, 2, 2], [0, 1, 2, 3, 3, 2, 1]
    clusters = ["a", "b", "b", "c", "d", "d", "e"]
    found = agreement(people, judge, levels=5, clusters=clusters, seed=4)
    turned = agreement(people[::-1], judge[::-1], levels=5, clusters=clusters[::-1], seed=4)
    assert found.model_dump_json() == turned.model_dump_json()
    assert found != agreement(people, judge, levels=5, clusters=clusters, seed=5)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_answers_give_no_number_and_a_reason(count):
    found = agreement([1] * count, [1] * count, levels=2)
    assert (found.n, found.raw, found.kappa, found.alpha) == (count, None, None, None)
    assert "too few" in found.problem


def test_answers_of_one_cluster_are_one_piece_of_evidence():
    found = agreement([0, 1, 1], [0, 1, 0], levels=2, clusters=["a", "a", "a"])
    assert found.kappa is None
    assert "3 answer(s) of 1 cluster(s)" in found.problem


def test_one_mark_for_everything_shows_nothing_beyond_chance():
    found = agreement([2] * 30, [2] * 30, levels=5)
    assert found.raw is not None
    assert found.raw.value == 1.0
    assert found.kappa is None
    assert found.weighted_kappa is None
    assert found.alpha is None
    assert "can't be seen" in found.problem


def test_a_judge_that_always_says_the_same_agrees_by_chance_alone():
    found = agreement([0, 1, 2, 3, 4] * 6, [4] * 30, levels=5)
    assert found.weighted_kappa is not None
    assert found.weighted_kappa.value == 0.0
    assert (found.weighted_kappa.low, found.weighted_kappa.high) == (0.0, 0.0)


@pytest.mark.parametrize("marks", [[0, 5], [0, -1]])
def test_a_mark_outside_of_the_scale_is_refused(marks):
    with pytest.raises(ScoresError, match=f"A mark is {marks[1]}; expected 0 to 4"):
        agreement([0, 1], marks, levels=5)


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ScoresError, match="People marked 2 answers, the judge 1"):
        agreement([0, 1], [0], levels=2)


def test_people_among_themselves_are_compared_where_several_marked_an_answer():
    rows = [{"kim": 1.0, "lee": 1.0}, {"kim": 4.0, "lee": 5.0}, {"kim": 2.0}, {"max": 3.0}]
    data = np.array([[1.0, 4.0], [1.0, 5.0]])
    expected = krippendorff.alpha(reliability_data=data, level_of_measurement="ordinal")
    assert between_people(rows, graded=True) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [[], [{"kim": 1.0}], [{"kim": 1.0, "lee": 1.0}] * 3])
def test_people_who_never_differ_or_never_meet_have_no_agreement_to_compute(rows):
    assert between_people(rows, graded=True) is None
