import numpy as np
import pytest

from tasks.gate.decision import SliceResult
from tasks.gate.pairs import Pairs
from tasks.gate.policy import Slices
from tasks.gate.slices import slice_results

MARGIN = 0.15


def pairs(differences: np.ndarray, cluster: np.ndarray | None = None) -> Pairs:
    n = len(differences)
    return Pairs(
        cases=tuple(f"c{i}" for i in range(n)),
        differences=differences,
        cluster=np.arange(n) if cluster is None else cluster,
        measured=np.ones(n, dtype=np.bool_),
        worst=1.0,
        mean_champion=None,
        mean_challenger=None,
        failed_champion=0,
        failed_challenger=0,
    )


def results(
    found: Pairs, tags: list[tuple[str, ...]], *, only: tuple[str, ...] | None = None
) -> tuple[SliceResult, ...]:
    return slice_results(
        found,
        tags,
        Slices(margin=MARGIN, tags=only),
        margin=MARGIN,
        alpha=0.05,
        resamples=999,
        seed=0,
    )


def test_small_slices_and_those_that_hold_every_case_are_left_out() -> None:
    found = pairs(np.zeros(60))
    tags = [("all", "few") if i < 9 else ("all", "many") for i in range(60)]
    assert [row.tag for row in results(found, tags)] == ["many"]
    assert results(found, tags, only=("few",)) == ()


def test_cases_of_one_document_are_one_cluster_of_a_slice() -> None:
    found = pairs(np.zeros(60), cluster=np.repeat(np.arange(6), 10))
    assert results(found, [("a",) if i < 30 else ("b",) for i in range(60)]) == ()


def test_bounds_hold_for_all_slices_at_once() -> None:
    # Ten slices that lose exactly their margin: calling any of them lost is an error.
    generator = np.random.default_rng(4)
    n, runs, wrong = 300, 300, 0
    tags = [(f"t{i % 10}",) for i in range(n)]
    for _ in range(runs):
        draws = generator.choice([1.0, -1.0, 0.0], p=[0.2, 0.35, 0.45], size=n)
        wrong += any(row.lost for row in results(pairs(draws), tags))
    # Two standard errors of 300 runs are .025.
    assert wrong / runs <= 0.05 + 0.025


def test_a_lost_slice_is_found() -> None:
    differences = np.zeros(100)
    differences[:20] = -1.0
    differences[::7] = 0.0
    (row,) = [
        row
        for row in results(pairs(differences), [("a",) if i < 20 else ("b",) for i in range(100)])
        if row.tag == "a"
    ]
    assert row.lost
    assert row.low < row.delta < row.high < -MARGIN


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_slice_without_any_spread_has_no_bound(value: float) -> None:
    # Twenty equal losses look certain, but no spread can be estimated from them.
    differences = np.zeros(60)
    differences[:20] = value
    found = results(pairs(differences), [("a",) if i < 20 else ("b",) for i in range(60)])
    assert not any(row.lost for row in found)
