import gc
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.multitest import multipletests

from tasks.gate.inference import (
    Floats,
    SignFlips,
    holm,
    many_mean_bounds,
    mcnemar,
    mean_bounds,
    standard_error,
)


def sign_flip(sums: Floats, *, resamples: int, seed: int) -> float:
    return SignFlips(sums, np.ones(len(sums)), resamples, seed).p_above()


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    found = mcnemar(wins, losses)
    if wins + losses == 0:
        assert found == 1.0
    else:
        expected = binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
        assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=12))
def test_few_clusters_are_enumerated_in_full(sums: list[int]) -> None:
    total = sum(sums)
    flips = itertools.product((1, -1), repeat=len(sums))
    extreme = sum(sum(s * x for s, x in zip(signs, sums, strict=True)) >= total for signs in flips)
    found = sign_flip(np.array(sums, dtype=float), resamples=999, seed=0)
    assert found == pytest.approx(extreme / 2 ** len(sums), abs=1e-12)


def test_ties_of_decimal_fractions_count_as_ties() -> None:
    # 0.1 + 0.2 - 0.3 is 5.6e-17 in binary: the pattern that flips all three reaches the total.
    assert sign_flip(np.array([0.1, 0.2, -0.3]), resamples=999, seed=0) == 5 / 8


def test_a_resampled_p_value_is_close_to_the_enumerated_one_and_never_zero() -> None:
    generator = np.random.default_rng(4)
    sums = generator.normal(0.3, 1.0, size=16)
    patterns = (np.arange(2**16)[:, None] >> np.arange(16)) & 1
    exact = float(np.mean(patterns @ sums <= 0))
    # Standard error of 20,000 draws at p = .1: .0021.
    assert sign_flip(sums, resamples=20_000, seed=1) == pytest.approx(exact, abs=0.01)
    assert sign_flip(np.full(200, 0.5), resamples=999, seed=1) == 1 / 1000


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=16, max_size=18))
def test_whole_sums_are_counted_exactly_however_many_clusters(sums: list[int]) -> None:
    values = np.array(sums, dtype=float)
    patterns = (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1
    exact = float(np.mean(patterns @ values <= 0))
    assert sign_flip(values, resamples=999, seed=0) == pytest.approx(exact, abs=1e-12)


def test_alone_whole_sums_give_the_exact_mcnemar_test() -> None:
    sums = np.array([1.0] * 48 + [-1.0] * 12 + [0.0] * 140)
    assert sign_flip(sums, resamples=999, seed=0) == pytest.approx(mcnemar(48, 12), rel=1e-12)


def test_mid_p_is_smaller_by_half_the_chance_of_what_was_seen() -> None:
    assert mcnemar(9, 2, mid_p=True) == pytest.approx(mcnemar(9, 2) - binom.pmf(9, 11, 0.5) / 2)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_is_the_textbook_adjustment(p_values: list[float]) -> None:
    # statsmodels collects garbage in every call: not that of all tests before this one.
    gc.freeze()
    expected = multipletests(p_values, method="holm")[1]
    gc.unfreeze()
    assert holm(np.array(p_values)) == pytest.approx(expected, abs=1e-12)


def test_measures_that_share_clusters_get_the_bounds_that_they_get_alone() -> None:
    generator = np.random.default_rng(2)
    sums, sizes = generator.normal(size=(3, 40)), generator.integers(1, 4, 40).astype(float)
    worst = np.array([4.0, 5.0, 6.0])
    together = many_mean_bounds(sums, sizes, worst=worst, resamples=999, seed=1)
    for row, limit, shared in zip(sums, worst, together, strict=True):
        alone = mean_bounds(row, sizes, worst=float(limit), resamples=999, seed=1)
        assert shared.pessimistic == pytest.approx(alone.pessimistic, abs=1e-12)


@pytest.mark.parametrize("n", [20, 59, 130])
@pytest.mark.parametrize("losses", [0, 1, 3])
def test_without_wins_the_bound_is_the_exact_binomial_one(n: int, losses: int) -> None:
    sums = np.zeros(n)
    sums[:losses] = -1.0
    bounds = mean_bounds(sums, np.ones(n), worst=1.0, resamples=40_000, seed=3)
    expected = binomtest(losses, n, 0.05, alternative="less").pvalue
    # Four standard errors of 40,000 draws.
    assert bounds.p_above(-0.05) == pytest.approx(expected, abs=0.01)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=30),
    st.floats(-0.9, 0.9),
    st.sampled_from([0.01, 0.05, 0.1]),
)
def test_interval_and_p_value_never_disagree(
    values: list[float], threshold: float, alpha: float
) -> None:
    sums = np.array(values)
    bounds = mean_bounds(sums, np.ones(len(sums)), worst=1.0, resamples=999, seed=0)
    low, high = bounds.interval(alpha)
    assert (bounds.p_above(threshold) <= alpha) == (threshold < low)
    assert (bounds.p_below(threshold) <= alpha) == (threshold > high)
    assert low <= high


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.data())
def test_a_worse_case_never_lowers_a_p_value(values: list[float], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(values) - 1))
    lower = data.draw(st.floats(-1, values[position]))
    before, after = np.array(values), np.array(values)
    after[position] = lower
    sizes = np.ones(len(values))
    assert sign_flip(after, resamples=999, seed=5) >= sign_flip(before, resamples=999, seed=5)
    old, new = (
        mean_bounds(sums, sizes, worst=1.0, resamples=999, seed=5) for sums in (before, after)
    )
    assert new.p_above(-0.05) >= old.p_above(-0.05)


def test_standard_error_is_the_textbook_one_without_clusters() -> None:
    values = np.random.default_rng(0).normal(size=40)
    expected = np.std(values, ddof=1) / np.sqrt(40)
    assert standard_error(values, np.ones(40)) == pytest.approx(expected, rel=1e-12)
    assert standard_error(np.ones(1), np.ones(1)) is None


NULLS = 2_000
TOLERANCE = 0.05 + 2 * np.sqrt(0.05 * 0.95 / NULLS)
"""Nominal level and two standard errors of a simulation of this size: .0597."""


@pytest.mark.parametrize("n", [20, 130])
def test_mcnemar_promotes_a_useless_challenger_at_most_as_often_as_it_says(n: int) -> None:
    generator = np.random.default_rng(n)
    old, new = (generator.random((NULLS, n)) < 0.6 for _ in range(2))
    wins, losses = np.sum(new & ~old, axis=1), np.sum(old & ~new, axis=1)
    rejected = sum(mcnemar(int(w), int(v)) <= 0.05 for w, v in zip(wins, losses, strict=True))
    assert rejected / NULLS <= TOLERANCE


@pytest.mark.parametrize("clusters", [12, 30])
@pytest.mark.parametrize("icc", [0.0, 0.3])
def test_sign_flips_hold_their_level_with_related_cases(clusters: int, icc: float) -> None:
    generator = np.random.default_rng(clusters)
    rejected = 0
    for _ in range(NULLS):
        shared = generator.normal(size=(clusters, 1)) * np.sqrt(icc)
        own = generator.normal(size=(clusters, 10)) * np.sqrt(1 - icc)
        # Five levels, as a rubric gives them.
        sums = np.clip(np.round(shared + own), -2, 2).sum(axis=1)
        rejected += sign_flip(sums, resamples=999, seed=0) <= 0.05
    assert rejected / NULLS <= TOLERANCE


@pytest.mark.parametrize(
    ("n", "p_win", "margin"), [(60, 0.0, 0.05), (130, 0.0, 0.05), (130, 0.1, 0.1), (60, 0.2, 0.1)]
)
def test_a_guardrail_passes_what_is_worse_by_its_margin_at_most_as_often_as_it_says(
    n: int, p_win: float, margin: float
) -> None:
    generator = np.random.default_rng(n)
    loss = p_win + margin
    draws = generator.choice([1.0, -1.0, 0.0], p=[p_win, loss, 1 - p_win - loss], size=(NULLS, n))
    passed = sum(
        mean_bounds(row, np.ones(n), worst=1.0, resamples=999, seed=0).p_above(-margin) <= 0.05
        for row in draws
    )
    assert passed / NULLS <= TOLERANCE


def test_a_guardrail_holds_its_level_with_clusters_that_lose_together() -> None:
    generator = np.random.default_rng(8)
    clusters, size, margin, passed = 40, 3, 0.1, 0
    for _ in range(NULLS):
        # A whole cluster is lost or kept: the hardest kind of relation.
        sums = -size * (generator.random(clusters) < margin).astype(float)
        bounds = mean_bounds(sums, np.full(clusters, size), worst=1.0, resamples=999, seed=0)
        passed += bounds.p_above(-margin) <= 0.05
    assert passed / NULLS <= TOLERANCE


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=5, max_size=30),
    st.sampled_from([0.01, 0.03, 0.05]),
)
def test_the_interval_of_a_sign_flip_excludes_0_exactly_when_the_test_rejects(
    values: list[float], alpha: float
) -> None:
    # Not whole numbers, so that test and interval see the same patterns.
    sums, sizes = np.array(values) + 1e-4, np.ones(len(values))
    flips = SignFlips(sums, sizes, resamples=999, seed=3)
    low, high = flips.interval(alpha)
    assert (flips.p_above() <= alpha) == (low > 1e-9)
    assert (flips.p_below() <= alpha) == (high < -1e-9)
    assert low <= high


def test_the_interval_of_a_sign_flip_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(6)
    sizes = generator.integers(1, 5, 40).astype(float)
    covered = 0
    for _ in range(NULLS):
        sums = sizes * 0.1 + generator.normal(size=40) * np.sqrt(sizes)
        low, high = SignFlips(sums, sizes, resamples=999, seed=0).interval(0.05)
        covered += low <= 0.1 <= high
    assert covered / NULLS >= 0.9 - 2 * np.sqrt(0.9 * 0.1 / NULLS)
