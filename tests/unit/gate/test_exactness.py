"""The gate's formulas against well-known implementations, at sizes that occur."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from tasks.gate.inference import mcnemar, standard_error


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_mcnemar_stays_exact_for_suites_of_thousands(wins: int, losses: int) -> None:
    pairs = wins + losses
    expected = binomtest(wins, pairs, 0.5, alternative="greater").pvalue
    assert mcnemar(wins, losses) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    half = binom.pmf(wins, pairs, 0.5) / 2
    assert mcnemar(wins, losses, mid_p=True) == pytest.approx(expected - half, abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_twice_the_smaller_side_of_mcnemar_is_statsmodels_two_sided_one(
    wins: int, losses: int
) -> None:
    table = [[50, losses], [wins, 20]]
    expected = statsmodels_mcnemar(table, exact=True).pvalue
    smaller = min(mcnemar(wins, losses), mcnemar(losses, wins))
    assert min(1.0, 2 * smaller) == pytest.approx(expected, abs=1e-12)


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=40),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["scores", "passes"]),
)
def test_standard_error_is_the_cluster_covariance_of_statsmodels(
    sizes: list[int], seed: int, kind: str
) -> None:
    generator = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    values = generator.normal(size=len(cluster)) + generator.normal(size=len(sizes))[cluster]
    if kind == "passes":
        values = np.round(np.clip(values, -1, 1))
    # The mean is a regression on a constant. statsmodels' own factor for small samples,
    # C / (C - 1) * (n - 1) / (n - k) with k = 1, is the gate's C / (C - 1).
    fit = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": True}
    )
    found = standard_error(np.bincount(cluster, weights=values), np.array(sizes, dtype=float))
    assert found == pytest.approx(float(fit.bse[0]), rel=1e-10, abs=1e-10)
