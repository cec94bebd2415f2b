"""Many useless challengers in a row against one suite: how soon is one of them promoted?"""

from collections.abc import Callable, Mapping
from math import sqrt

import numpy as np
from scipy.stats import norm

from benchmarks.batched import mcnemars
from benchmarks.rules import mean_is_higher, one_standard_error
from tasks.gate.inference import Bools, Floats
from tasks.gate.spending import alpha_of

CHALLENGERS, CASES, ALPHA, PASS_RATE = 50, 200, 0.05, 0.6
_AT_ONCE = 500

ChainRule = Callable[[Floats], Bools]
"""Differences of shape (chains, challengers, cases) -> whether each challenger is promoted."""


def at_level(levels: Floats) -> ChainRule:
    """Exact McNemar, each challenger at its own level."""

    def rule(differences: Floats) -> Bools:
        chains, challengers, cases = differences.shape
        p_values = mcnemars(differences.reshape(-1, cases)).reshape(chains, challengers)
        return np.asarray(p_values <= levels)

    return rule


RULES: Mapping[str, ChainRule] = {
    "mean is higher": mean_is_higher,
    "Ladder, one standard error": one_standard_error,
    "each tested at 5 %": at_level(np.full(CHALLENGERS, ALPHA)),
    "ratchet, alpha ledger": at_level(
        np.array(
            [
                alpha_of("inverse_square", alpha=ALPHA, number=look)
                for look in range(1, CHALLENGERS + 1)
            ]
        )
    ),
}


def promoted_by(chains: int, *, seed: int) -> dict[str, Floats]:
    """Share of chains with a promotion among the first t challengers, for each rule and t.

    All challengers are compared with one champion, because until the first promotion there is no
    other. Binary scores; half of the latent variance is the case's difficulty, which all share.
    """
    generator = np.random.default_rng(seed)
    promoted = {name: np.zeros(CHALLENGERS) for name in RULES}
    for start in range(0, chains, _AT_ONCE):
        shape = (min(_AT_ONCE, chains - start), 1 + CHALLENGERS, CASES)
        difficulty = generator.standard_normal((shape[0], 1, CASES))
        latent = sqrt(0.5) * (difficulty + generator.standard_normal(shape))
        passes = latent > norm.ppf(1 - PASS_RATE)
        differences = passes[:, 1:].astype(np.float64) - passes[:, :1]
        for name, rule in RULES.items():
            any_yet = np.logical_or.accumulate(rule(differences), axis=1)
            promoted[name] += any_yet.sum(axis=0)
    return {name: found / chains for name, found in promoted.items()}
