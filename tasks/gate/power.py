"""Spread of the differences -> what a test on so many cases can find, and how many it needs.

Each test has its own curve: a McNemar test's is exact, a sign flip's is the t test's, and Gaffke's
bound adds the unseen cluster (an exponential draw) to a normal one.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from tasks.gate.inference import standard_error
from tasks.gate.pairs import Pairs

Method = Literal["exact McNemar", "sign flip on clusters", "Gaffke bound on clusters"]

MOST_CASES = 1_000_000
"""No suite is planned beyond this."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What earlier differences say about the next ones.

    Attributes:
        n: cases.
        n_clusters: groups of related cases.
        error: cluster-robust standard error of the mean difference.
        discordant: share of the pairs that differ at all.
        worst: largest difference that a case can have.
    """

    n: int
    n_clusters: int
    error: float
    discordant: float
    worst: float

    def at(self, n: int) -> "Spread":
        """The same kind of cases, more or fewer of them."""
        return replace(
            self,
            n=n,
            n_clusters=max(2, round(self.n_clusters * n / self.n)),
            error=self.error * float(np.sqrt(self.n / n)),
        )


def spread_of(pairs: Pairs) -> Spread:
    """Spread of differences that were seen."""
    sums, sizes = pairs.sums(), pairs.sizes()
    return Spread(
        n=len(pairs.differences),
        n_clusters=len(sums),
        error=standard_error(sums, sizes) or 0.0,
        discordant=float(np.mean(pairs.differences != 0)),
        worst=pairs.worst,
    )


def power(
    spread: Spread, difference: float, *, method: Method, threshold: float, alpha: float
) -> float:
    """Chance that the test finds a true mean difference to be above the threshold.

    Args:
        spread: of the differences.
        difference: the true mean difference.
        method: which test.
        threshold: what the difference has to exceed.
        alpha: one-sided level.
    """
    from scipy.stats import nct, norm

    if method == "exact McNemar":
        return _mcnemar_power(spread, difference, alpha)
    gap = difference - threshold
    if method == "sign flip on clusters":
        if spread.error == 0.0:
            return float(gap > 0)
        degrees = spread.n_clusters - 1
        return float(nct.sf(_critical_t(alpha, degrees), degrees, gap / spread.error))
    needed = _bound_distance(spread, difference, alpha)
    if spread.error == 0.0:
        return float(gap >= needed)
    return float(norm.cdf((gap - needed) / spread.error))


@lru_cache(maxsize=256)
def _critical_t(alpha: float, degrees: int) -> float:
    """What t has to exceed; `detectable` asks for the same one fifty times."""
    from scipy.stats import t

    return float(t.isf(alpha, degrees))


def detectable(
    spread: Spread, *, method: Method, threshold: float, alpha: float, power_wanted: float
) -> float | None:
    """Smallest true difference that is found with the wanted power; None: not even the largest."""

    def enough(difference: float) -> bool:
        found = power(spread, difference, method=method, threshold=threshold, alpha=alpha)
        return found >= power_wanted

    low, high = threshold, spread.worst
    if not enough(high):
        return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def cases_needed(
    spread: Spread,
    difference: float,
    *,
    method: Method,
    threshold: float,
    alpha: float,
    power_wanted: float,
) -> int | None:
    """Cases of this kind that find a true difference; None: no number does."""
    if difference <= threshold:
        return None

    def enough(n: int) -> bool:
        found = power(spread.at(n), difference, method=method, threshold=threshold, alpha=alpha)
        return found >= power_wanted

    low, high = 2, 4
    while not enough(high):
        low, high = high, high * 2
        if high > MOST_CASES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _mcnemar_power(spread: Spread, difference: float, alpha: float) -> float:
    from scipy.stats import binom

    differ = min(1.0, max(spread.discordant, difference))
    if differ <= 0.0:
        return 0.0
    counts = np.arange(spread.n + 1)
    least_wins = binom.isf(alpha, counts, 0.5) + 1
    won = min(1.0, (differ + difference) / (2 * differ))
    rejected = binom.sf(least_wins - 1, counts, won)
    # Without any pair that differs there is nothing to reject.
    rejected[0] = 0.0
    return float(np.sum(binom.pmf(counts, spread.n, differ) * rejected))


def _bound_distance(spread: Spread, difference: float, alpha: float) -> float:
    """How far above the threshold the mean must be seen for Gaffke's bound to clear it."""
    from scipy.stats import exponnorm

    room = spread.worst + difference
    if spread.error == 0.0:
        return float(room * (1 - alpha ** (1 / spread.n_clusters)))
    unseen = room / (spread.n_clusters + 1)
    return float(exponnorm.isf(alpha, unseen / spread.error, scale=spread.error))
