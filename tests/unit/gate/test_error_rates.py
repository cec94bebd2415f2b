"""How often the gate is wrong, simulated: every test x kind of score x cases x relation of cases.

Sized to seconds. `make bench NAME=E2` runs the same with 20,000 nights, and
`docs/gate-error-rates.md` says what other rules do on the same scores.
"""

import numpy as np
import pytest

from benchmarks import gate_sizes as sizes
from benchmarks.batched import better, not_worse, sign_flips
from benchmarks.rules import mean_is_higher, one_standard_error
from benchmarks.simulate import Batch, Design, as_scores, policy_for, simulate
from tasks.gate import decide

NIGHTS = 4_000
TOLERANCE = sizes.tolerance(NIGHTS)
"""The full simulation's .0546 and two standard errors of this one: .0615."""

DRAWS = 2_000
"""As many as a decision draws at a level of .05 in any case."""

designs = pytest.mark.parametrize("design", list(sizes.designs()), ids=str)


@designs
def test_what_is_no_better_passes_as_better_at_most_as_often_as_the_level_says(
    design: Design,
) -> None:
    assert sizes.size_of_superiority(design, NIGHTS, resamples=DRAWS) <= TOLERANCE


@designs
def test_what_is_worse_by_its_margin_passes_a_guardrail_at_most_as_often_as_the_level_says(
    design: Design,
) -> None:
    assert sizes.size_of_guardrail(design, NIGHTS) <= TOLERANCE


@designs
def test_the_simulated_p_values_are_those_of_a_decision(design: Design) -> None:
    margin = sizes.margin_of(design)
    batch = simulate(design, 3, effect=0.0, seed=5)
    found = better(batch, resamples=DRAWS)
    bounded = not_worse(batch, margin=margin, resamples=DRAWS)
    for night in range(3):
        assert found[night] == pytest.approx(_decided(batch, night, margin=None), abs=1e-9)
        assert bounded[night] == pytest.approx(_decided(batch, night, margin=margin), abs=1e-9)


@pytest.mark.parametrize("kind", ["binary", "five levels", "log ratio"])
def test_the_tests_use_up_their_level_and_find_what_is_better(kind: str) -> None:
    design = Design(kind, 200, 0.0)
    null = simulate(design, NIGHTS, effect=0.0, seed=6)
    assert np.mean(better(null, resamples=DRAWS) <= 0.05) >= 0.03
    # Effects that a one-sided z-test at .05 finds with a power of about .8.
    effect = {"binary": 0.1, "five levels": 0.22, "log ratio": 0.09}[kind]
    real = simulate(design, NIGHTS, effect=effect, seed=7)
    assert 0.7 <= np.mean(better(real, resamples=DRAWS) <= 0.05) <= 0.9


def test_a_release_that_is_no_worse_at_all_passes_its_guardrail_when_the_cases_are_many() -> None:
    batch = simulate(Design("five levels", 1000, 0.0), 500, effect=0.0, seed=8)
    assert np.mean(not_worse(batch, margin=0.2, resamples=DRAWS) <= 0.05) >= 0.9


def test_the_simulation_catches_a_test_that_takes_related_cases_for_independent_ones() -> None:
    batch = simulate(Design("five levels", 1000, 0.3), NIGHTS, effect=0.0, seed=9)
    naive = sign_flips(batch.differences, resamples=DRAWS, seed=0)
    assert np.mean(naive <= 0.05) > 2 * TOLERANCE


@pytest.mark.parametrize("n", [20, 50, 200])
def test_rules_that_only_compare_means_promote_by_luck(n: int) -> None:
    null = simulate(Design("binary", n, 0.0), NIGHTS, effect=0.0, seed=10)
    assert 0.40 <= np.mean(mean_is_higher(null.differences)) <= 0.50
    assert 0.10 <= np.mean(one_standard_error(null.differences)) <= 0.20


def _decided(batch: Batch, night: int, *, margin: float | None) -> float:
    role = "primary" if margin is None else "guardrail"
    policy = policy_for(batch.design, role, resamples=DRAWS, margin=margin)
    champion, challenger = as_scores(batch, night)
    row = decide(champion, challenger, policy, seed=0, look=None).comparison("score")
    assert row is not None
    assert row.p_value is not None
    return row.p_value
