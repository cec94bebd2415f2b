"""Blum and Hardt's attack on a leaderboard: their figures with their rules, and with the gate's."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.rules import one_standard_error
from tasks.gate.inference import Floats, mcnemar
from tasks.gate.spending import alpha_of

Ints = npt.NDArray[np.int8]
Feedback = Callable[[Floats], list[int]]
"""Losses of all queries on the public cases, shape (queries, public) -> queries that seem good."""

QUERIES, PUBLIC, PRIVATE, REPEATS = 400, 4_000, 8_000, 10


def full_precision(wrong: Floats) -> list[int]:
    """The leaderboard prints every loss: those below a half seem good."""
    return [int(i) for i in np.flatnonzero(wrong.mean(axis=1) <= 0.5)]


def ladder(wrong: Floats) -> list[int]:
    """The leaderboard prints the best loss so far, and moves by a standard error at least."""
    good, leader = [], None
    for query, losses in enumerate(wrong):
        if leader is None:
            leader = query
            if losses.mean() < 0.5:
                good.append(query)
        elif one_standard_error(wrong[leader] - losses):
            leader = query
            good.append(query)
    return good


def gate(wrong: Floats) -> list[int]:
    """Only a promotion is seen: exact McNemar at the level that the alpha ledger gives a look."""
    good, champion = [], 0
    for look, losses in enumerate(wrong[1:], start=1):
        gains = wrong[champion] - losses
        p_value = mcnemar(int(np.sum(gains > 0)), int(np.sum(gains < 0)))
        if p_value <= alpha_of("inverse_square", alpha=0.05, number=look):
            champion = look
            good.append(look)
    return good


def boost(feedback: Feedback, seed: int) -> tuple[float, float]:
    """Majority vote of the random queries that seemed good: its public and its true loss."""
    generator = np.random.default_rng(seed)
    answers = generator.integers(0, 2, PUBLIC + PRIVATE, dtype=np.int8)
    queries = generator.integers(0, 2, (QUERIES, PUBLIC + PRIVATE), dtype=np.int8)
    wrong = queries != answers
    good = feedback(wrong[:, :PUBLIC].astype(np.float64))
    # Without any query that seemed good, the vote of all of them.
    votes = queries[good or slice(None)]
    lost = (votes.mean(axis=0) >= 0.5) != answers
    return float(lost[:PUBLIC].mean()), float(lost[PUBLIC:].mean())


@pytest.mark.parametrize(
    ("feedback", "published"), [(full_precision, 0.427), (ladder, 0.484), (gate, 0.50)]
)
def test_the_attack_gains_what_the_paper_found_and_nothing_from_the_gate(
    feedback: Feedback, published: float
) -> None:
    public, true = np.mean([boost(feedback, seed) for seed in range(REPEATS)], axis=0)
    assert public == pytest.approx(published, abs=0.01)
    assert true == pytest.approx(0.50, abs=0.01)
