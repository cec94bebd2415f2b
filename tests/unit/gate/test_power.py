import numpy as np
import pytest

from tasks.gate.inference import SignFlips, mcnemar, mean_bounds
from tasks.gate.power import Spread, cases_needed, detectable, power

RUNS = 3_000
WANTED = (0.77, 0.85)
"""Empirical power at the effect that the plan prints; 3,000 runs have a standard error of .007."""


def spread_of_values(values: np.ndarray, *, clusters: int, worst: float) -> Spread:
    """Of differences with shape (runs, clusters): cluster sums with one case each."""
    return Spread(
        n=clusters,
        n_clusters=clusters,
        error=float(np.sqrt(np.mean(np.var(values, axis=1, ddof=1)) / clusters)),
        discordant=float(np.mean(values != 0)),
        worst=worst,
    )


@pytest.mark.parametrize(
    ("n", "discordant", "alpha"),
    [(100, 0.2, 0.05), (200, 0.3, 0.03), (200, 0.3, 0.0076), (1000, 0.1, 0.05)],
)
def test_mcnemar_finds_what_the_plan_says_as_often_as_it_says(
    n: int, discordant: float, alpha: float
) -> None:
    spread = Spread(n=n, n_clusters=n, error=0.0, discordant=discordant, worst=1.0)
    found = detectable(spread, method="exact McNemar", threshold=0.0, alpha=alpha, power_wanted=0.8)
    assert found is not None
    generator = np.random.default_rng(n)
    share = max(discordant, found)
    chances = [(share + found) / 2, (share - found) / 2, 1 - share]
    counts = generator.multinomial(n, chances, size=RUNS)
    hits = np.mean([mcnemar(int(w), int(v)) <= alpha for w, v, _ in counts])
    assert WANTED[0] <= hits <= WANTED[1]


@pytest.mark.parametrize("clusters", [20, 60, 200])
@pytest.mark.parametrize("alpha", [0.05, 0.03])
def test_sign_flips_find_what_the_plan_says_as_often_as_it_says(
    clusters: int, alpha: float
) -> None:
    generator = np.random.default_rng(clusters)
    noise = np.clip(generator.normal(0, 0.25, (RUNS, clusters)), -1, 1)
    spread = spread_of_values(noise, clusters=clusters, worst=1.0)
    found = detectable(
        spread, method="sign flip on clusters", threshold=0.0, alpha=alpha, power_wanted=0.8
    )
    assert found is not None
    sizes = np.ones(clusters)
    hits = np.mean([SignFlips(row + found, sizes, 1999, 0).p_above() <= alpha for row in noise])
    assert WANTED[0] <= hits <= WANTED[1]


@pytest.mark.parametrize(("clusters", "margin_like"), [(60, 0.05), (200, 0.05), (400, 0.02)])
def test_gaffkes_bound_finds_what_the_plan_says_as_often_as_it_says(
    clusters: int, margin_like: float
) -> None:
    generator = np.random.default_rng(clusters)
    noise = np.clip(generator.normal(0, 0.15, (RUNS, clusters)), -0.9, 0.9)
    spread = spread_of_values(noise, clusters=clusters, worst=1.0)
    found = detectable(
        spread,
        method="Gaffke bound on clusters",
        threshold=-margin_like,
        alpha=0.05,
        power_wanted=0.8,
    )
    assert found is not None
    sizes = np.ones(clusters)
    hits = np.mean(
        [
            mean_bounds(row + found, sizes, worst=1.0, resamples=999, seed=0).p_above(-margin_like)
            <= 0.05
            for row in noise[:1000]
        ]
    )
    assert WANTED[0] <= hits <= WANTED[1]


@pytest.mark.parametrize(
    "method", ["exact McNemar", "sign flip on clusters", "Gaffke bound on clusters"]
)
def test_the_cases_needed_are_the_fewest_that_are_enough(method: str) -> None:
    spread = Spread(n=100, n_clusters=100, error=0.04, discordant=0.2, worst=1.0)
    settings = {"method": method, "threshold": 0.0, "alpha": 0.05}
    needed = cases_needed(spread, 0.05, power_wanted=0.8, **settings)  # type: ignore[arg-type]
    assert needed is not None
    assert power(spread.at(needed), 0.05, **settings) >= 0.8  # type: ignore[arg-type]
    assert power(spread.at(needed - 1), 0.05, **settings) < 0.8  # type: ignore[arg-type]


def test_no_number_of_cases_finds_what_is_not_there() -> None:
    spread = Spread(n=100, n_clusters=100, error=0.04, discordant=0.2, worst=1.0)
    needed = cases_needed(
        spread,
        0.01,
        method="Gaffke bound on clusters",
        threshold=0.01,
        alpha=0.05,
        power_wanted=0.8,
    )
    assert needed is None
