"""Numbers -> p-values and bounds: the three tests of the gate, each valid without a normal curve.

A p-value by resampling counts the observed arrangement as one of the draws, so it is never 0.
All draws depend on the seed and the number of clusters alone. That keeps every p-value monotone:
a case that gets worse can only raise the p-value of "better" and of "not worse".
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ENUMERATED_CLUSTERS = 15
"""Up to here all 2^C sign patterns are tried; above, a random sample of them."""

_COUNTED_TOTAL = 100_000

_BLOCK = 4_000_000
"""Random numbers drawn at once: 32 MB."""


def mcnemar(wins: int, losses: int, *, mid_p: bool = False) -> float:
    """Exact one-sided McNemar test of paired binary outcomes.

    Args:
        wins: pairs that only the challenger passed.
        losses: pairs that only the champion passed.
        mid_p: count the observed outcome half: closer to its level, and no longer never above it.

    Returns:
        P(Bin(wins + losses, 1/2) >= wins); 1.0 when no pair differs.
    """
    from scipy.stats import binom

    if wins + losses == 0:
        return 1.0
    tail = float(binom.sf(wins - 1, wins + losses, 0.5))
    return tail - float(binom.pmf(wins, wins + losses, 0.5)) / 2 if mid_p else tail


@dataclass(frozen=True)
class SignFlips:
    """The sign-flip test, both ways, and its interval, from one set of random patterns.

    Related cases keep one sign: a whole cluster is flipped at once. Sums of whole numbers (every
    binary measure) have few different totals, so for a p-value all 2^C patterns are counted without
    listing them; few clusters are listed; only the rest is sampled.

    Attributes:
        sums: shape (C,), the sum of the differences of each cluster.
        sizes: shape (C,), the cases of each cluster.
        resamples: random sign patterns where neither is possible.
        seed: of those patterns.
    """

    sums: Floats
    sizes: Floats
    resamples: int
    seed: int

    def p_above(self) -> float:
        """One-sided p-value of H0: the differences are symmetric around 0, or lower.

        The share of sign patterns whose total is at least the observed total.
        """
        return self._p_value(1)

    def p_below(self) -> float:
        """The same of H0: they are symmetric around 0, or higher."""
        return self._p_value(-1)

    def interval(self, alpha: float) -> tuple[float, float]:
        """The shifts of the mean that the test doesn't reject, at `alpha` on each side.

        A shift is rejected exactly when few random halves of the clusters have a mean below it: the
        bounds are quantiles of those means, from the same patterns as the test.

        References:
            J. Hartigan, Using subsample values as typical values, 1969.
        """
        totals, cases = self._halves.T
        empty = cases == 0.0
        means = totals / np.where(empty, 1.0, cases)
        allowed = int(alpha * (len(means) + 1) * (1 + 1e-9)) - 1
        if allowed < 0:
            return -np.inf, np.inf
        low = np.partition(np.where(empty, -np.inf, means), allowed)[allowed]
        high = -np.partition(np.where(empty, -np.inf, -means), allowed)[allowed]
        return float(low), float(high)

    def _p_value(self, sign: int) -> float:
        sums = self.sums
        if bool(np.all(sums == np.round(sums))) and np.abs(sums).sum() <= _COUNTED_TOTAL:
            return _counted_flips((sign * sums).astype(np.int64))
        # The total after a flip is T - 2 * (sum of the flipped ones): at least T when that is <= 0.
        # The tolerance makes ties of sums like 0.1 + 0.2 - 0.3 count as the ties they are.
        tolerance = 1e-9 * float(np.abs(sums).max(initial=0.0))
        extreme = int(np.sum(sign * self._halves[:, 0] <= tolerance))
        # The pattern without a flip is no part of the halves, and its total the observed one.
        return (1 + extreme) / (len(self._halves) + 1)

    @cached_property
    def _halves(self) -> Floats:
        """Sum and cases of each random half of the clusters: those that are flipped together."""
        count = len(self.sums)
        both = np.stack([self.sums, self.sizes], axis=1)
        if count <= ENUMERATED_CLUSTERS:
            return ((np.arange(1, 2**count)[:, None] >> np.arange(count)) & 1) @ both
        generator = np.random.default_rng([self.seed, count, 1])
        return np.concatenate(
            [
                generator.integers(0, 2, size=(rows, count), dtype=np.int8).astype(np.float64)
                @ both
                for rows in _blocks(self.resamples, count)
            ]
        )


def _counted_flips(sums: Ints) -> float:
    """P(sum of a random half of the clusters <= 0), by adding one cluster after the other."""
    shares = np.ones(1)
    for size in np.abs(sums):
        # Adding size or nothing, with probability 1/2 each.
        grown = np.zeros(len(shares) + int(size))
        grown[: len(shares)] += shares / 2
        grown[int(size) :] += shares / 2
        shares = grown
    # Index 0 stands for the total of all negative sums.
    return float(shares[: -int(sums[sums < 0].sum()) + 1].sum())


@dataclass(frozen=True, slots=True)
class MeanBounds:
    """Plausible values of a mean difference, sorted: pessimistic and optimistic ones."""

    pessimistic: Floats
    optimistic: Floats

    def p_above(self, threshold: float) -> float:
        """p-value of H0: mean <= threshold."""
        below = int(np.searchsorted(self.pessimistic, threshold, side="right"))
        return (1 + below) / (len(self.pessimistic) + 1)

    def p_below(self, threshold: float) -> float:
        """p-value of H0: mean >= threshold."""
        above = len(self.optimistic) - int(np.searchsorted(self.optimistic, threshold, side="left"))
        return (1 + above) / (len(self.optimistic) + 1)

    def interval(self, alpha: float) -> tuple[float, float]:
        """The one-sided (1 - alpha) bounds on each side: together a (1 - 2 alpha) interval.

        `p_above(t) <= alpha` exactly when t lies below the interval.
        """
        rank = int(alpha * (len(self.pessimistic) + 1)) - 1
        return float(self.pessimistic[rank]), float(self.optimistic[-1 - rank])


def mean_bounds(
    sums: Floats, sizes: Floats, *, worst: float, resamples: int, seed: int
) -> MeanBounds:
    """Gaffke's bound for the mean of bounded differences, on clusters.

    Every draw weighs the clusters at random (a Bayesian bootstrap) together with one cluster that
    nobody has seen, of average size and as bad (or good) as it can be. A plain bootstrap of
    differences that are nearly all 0 says that nothing can go wrong; this one knows what n cases
    can't rule out: with no loss among n independent binary pairs its bound is the exact binomial
    one, (1 - margin)^n.

    Args:
        sums: shape (C,), the sum of the differences of each cluster.
        sizes: shape (C,), the cases of each cluster.
        worst: the largest difference that a case can have, either way.
        resamples: draws.
        seed: of the draws.

    References:
        N. Gaffke, Three test statistics for a nonparametric one-sided hypothesis on the mean of a
        nonnegative variable, 2005; E. Learned-Miller and P. Thomas, A new confidence interval for
        the mean of a bounded random variable, 2020.
    """
    (bounds,) = many_mean_bounds(
        sums[None], sizes, worst=np.array([worst]), resamples=resamples, seed=seed
    )
    return bounds


def many_mean_bounds(
    sums: Floats, sizes: Floats, *, worst: Floats, resamples: int, seed: int
) -> list[MeanBounds]:
    """`mean_bounds` of several measures on the same clusters: one draw of weights serves all.

    Args:
        sums: shape (M, C), a row for each measure.
        sizes: shape (C,).
        worst: shape (M,).
        resamples: draws.
        seed: of the draws; all measures see the same ones.
    """
    count, average = len(sizes), float(np.mean(sizes))
    generator = np.random.default_rng([seed, count, 2])
    low, high = np.empty((2, len(sums), resamples))
    done = 0
    for rows in _blocks(resamples, count + 1):
        weights = generator.standard_exponential((rows, count + 1))
        unseen = weights[:, 0] * average
        cases = weights[:, 1:] @ sizes + unseen
        seen = weights[:, 1:] @ sums.T
        low[:, done : done + rows] = ((seen - worst * unseen[:, None]) / cases[:, None]).T
        high[:, done : done + rows] = ((seen + worst * unseen[:, None]) / cases[:, None]).T
        done += rows
    return [MeanBounds(*rows) for rows in zip(np.sort(low), np.sort(high), strict=True)]


def holm(p_values: Floats) -> Floats:
    """Holm's step-down adjustment: p-values that stay honest when many are looked at together."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result


def standard_error(sums: Floats, sizes: Floats) -> float | None:
    """Cluster-robust standard error of the mean difference; None for a single cluster."""
    count, cases = len(sums), float(np.sum(sizes))
    if count < 2:
        return None
    centred = sums - sizes * (float(np.sum(sums)) / cases)
    return float(np.sqrt(np.sum(centred**2) * count / (count - 1)) / cases)


def _blocks(resamples: int, width: int) -> list[int]:
    rows = max(1, _BLOCK // max(width, 1))
    full, rest = divmod(resamples, rows)
    return [rows] * full + ([rest] if rest else [])
