"""Few human labels + many judge's scores -> the mean difference that people would see.

Prediction-powered inference: the judge's mean over all cases, corrected by how far it was off where
people looked. However wrong the judge is, the result is right; the better it is, the more its
scores are worth.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf, sqrt

import numpy as np

from tasks.errors import ScoresError
from tasks.gate.agreement import numbered
from tasks.gate.inference import Floats, Ints, MeanBounds, mean_bounds

RESAMPLES = 99_999
FEWEST = 3
"""Labelled clusters below which there is no degree of freedom."""


@dataclass(frozen=True, slots=True)
class PpiResult:
    """An estimate of the mean human difference, with everything that a test needs."""

    estimate: float
    se: float
    lam: float
    """How much the judge is trusted: 0 not at all (people alone), 1 fully."""
    df: int
    """Degrees of freedom of Student's t: labelled clusters - 2."""
    n: int
    """Labelled cases."""
    n_unlabelled: int
    effective_n: float | None
    """Labels that would be as precise without a judge; None without any spread."""
    label_variance: float
    """Of the people's differences, as far as the judge doesn't explain them."""
    rest_variance: float
    """Of the estimate, from the unlabelled cases: more labels don't make it smaller."""
    n_clusters: int
    worst: float | None
    bounds: MeanBounds | None = field(default=None, compare=False, repr=False)
    """What also has to hold when the question is about a shifted mean."""

    def p_above(self, threshold: float) -> float:
        """p-value of H0: mean <= threshold."""
        by_t = self._tail(self.estimate - threshold, threshold)
        return by_t if self.bounds is None else max(by_t, self.bounds.p_above(threshold))

    def p_below(self, threshold: float) -> float:
        """p-value of H0: mean >= threshold."""
        by_t = self._tail(threshold - self.estimate, -threshold)
        return by_t if self.bounds is None else max(by_t, self.bounds.p_below(threshold))

    def interval(self, alpha: float) -> tuple[float, float]:
        """The one-sided (1 - alpha) bounds on each side.

        `p_above(t) <= alpha` exactly when t lies below the interval.
        """
        from scipy.stats import t

        if self.se == 0 and self.worst is None:
            return -inf, inf
        reach = float(t.ppf(1 - alpha, self.df)) * self.se
        low, high = self.estimate - reach, self.estimate + reach
        if self.worst is not None:
            kept = alpha ** (1 / self.n_clusters)
            low = min(low, kept * (self.estimate + self.worst) - self.worst)
            high = max(high, kept * (self.estimate - self.worst) + self.worst)
        if self.bounds is not None:
            ends = self.bounds.interval(alpha)
            low, high = min(low, ends[0]), max(high, ends[1])
        return low, high

    def labels_needed(self, threshold: float, *, alpha: float, power: float) -> int | None:
        """Labelled cases for this power if the mean is as estimated; None: no number will do."""
        from scipy.stats import norm

        gap = abs(self.estimate - threshold)
        quantiles = float(norm.ppf(1 - alpha) + norm.ppf(power))
        room = (gap / quantiles) ** 2 - max(self.rest_variance, 0.0)
        return ceil(self.label_variance / room) if room > 0 else None

    def _tail(self, gap: float, threshold: float) -> float:
        """p-value for an estimate that lies `gap` beyond a threshold."""
        from scipy.stats import t

        if self.se > 0:
            by_spread = float(t.sf(gap / self.se, self.df))
        else:
            by_spread = 1.0 if gap <= 0 or self.worst is None else 0.0
        if self.worst is None or gap <= 0:
            return by_spread
        # Without spread among the labels, Student's t is sure of everything. Yet the mean may be at
        # the threshold by losses so rare that none was labelled, with this probability.
        room = max(self.worst + threshold, 0.0)
        return max(by_spread, float((room / (room + gap)) ** self.n_clusters))


def ppi_difference(
    human: Sequence[float] | Floats,
    judge_labelled: Sequence[float] | Floats,
    judge_unlabelled: Sequence[float] | Floats,
    *,
    lam: float | None = None,
    clusters_labelled: Sequence[Hashable] | None = None,
    clusters_unlabelled: Sequence[Hashable] | None = None,
    worst: float | None = None,
    shifted: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PpiResult:
    """Estimate the mean paired difference that people would see on all cases.

    theta = lam mean(f_unlabelled) + mean(Y - lam f_labelled);
    SE^2 = lam^2 var(f_unlabelled) / N + var(Y - lam f_labelled) / n, all with ddof 1;
    lam* = cov(Y, f) / ((1 + n / N) var f), clipped to [0, 1]; its own error is added to SE.

    With clusters each variance is that of cluster sums, and what a cluster adds to both parts is
    added before it is squared.

    Args:
        human: shape (n,), Y: what people saw, challenger minus champion, on labelled cases; these
            must be a random sample of all cases.
        judge_labelled: shape (n,), f: what the judge saw on the same cases.
        judge_unlabelled: shape (N,), f on all other cases; may be empty.
        lam: how much to trust the judge; None: what makes the error smallest.
        clusters_labelled: shape (n,), the cluster of each labelled case; None: each alone.
        clusters_unlabelled: shape (N,), likewise.
        worst: largest difference that a case can have, either way. It keeps a p-value from being
            smaller than so few labels can show when (nearly) all are ties.
        shifted: whether the question is about another mean than 0, such as a margin; needs `worst`.
            Student's t then accepts what is worse by the margin in up to 18 % of the runs when
            that comes from rare losses, so Gaffke's bound has to agree with it: with an unseen
            labelled case, as bad as can be, that the judge calls a tie, and an unseen other one
            that the judge finds as bad as can be.
        resamples: random draws of that bound.
        seed: of the draws.

    Raises:
        ScoresError: the inputs differ in length, aren't finite, or have too few labelled clusters.
        ValueError: `shifted` without `worst`.

    References:
        A. Angelopoulos, J. Duchi and T. Zrnic, PPI++: Efficient prediction-powered inference, 2023.
    """
    y, f_labelled, f_rest = (
        np.asarray(values, dtype=np.float64) for values in (human, judge_labelled, judge_unlabelled)
    )
    n, rest = len(y), len(f_rest)
    labelled = range(n) if clusters_labelled is None else clusters_labelled
    unlabelled = range(n, n + rest) if clusters_unlabelled is None else clusters_unlabelled
    _check(y, f_labelled, f_rest, labelled, unlabelled, lam)
    groups = numbered([*labelled, *unlabelled])
    tuned = rest > 0 and lam is None
    weight = _best_weight(y, f_labelled, f_rest) if tuned else (lam or 0.0) * (rest > 0)
    corrected = y - weight * f_labelled
    estimate = float(np.mean(corrected)) + (weight * float(np.mean(f_rest)) if rest else 0.0)
    count = int(groups.max()) + 1
    influence = _influence(corrected, groups[:n], count)
    residual = float(influence @ influence)
    if rest:
        influence = influence + _influence(weight * f_rest, groups[n:], count)
    variance = float(influence @ influence)
    n_clusters = len(np.unique(groups[:n]))
    own_error = residual * _tuning(f_labelled, f_rest, n_clusters) if tuned and weight > 0 else 0.0
    alone = _influence(y, groups[:n], count)
    bounds = None
    if shifted:
        if worst is None:
            raise ValueError("a question about a shifted mean needs `worst`")
        bounds = mean_bounds(
            *_cluster_sums(corrected, groups[:n]), worst=worst, resamples=resamples, seed=seed
        )
        if weight > 0:
            sums, sizes = _cluster_sums(weight * f_rest, groups[n:])
            bounds = _added(
                bounds,
                mean_bounds(sums, sizes, worst=weight * worst, resamples=resamples, seed=seed + 1),
                seed=seed,
            )
    return PpiResult(
        estimate=estimate,
        se=sqrt(variance + own_error),
        lam=weight,
        df=n_clusters - 2,
        n=n,
        n_unlabelled=rest,
        effective_n=n * float(alone @ alone) / variance if variance > 0 else None,
        label_variance=n * residual,
        rest_variance=variance - residual,
        n_clusters=n_clusters,
        worst=worst,
        bounds=bounds,
    )


def _best_weight(y: Floats, f_labelled: Floats, f_rest: Floats) -> float:
    everything = np.concatenate([f_labelled, f_rest])
    variance = float(np.var(everything, ddof=1))
    if variance == 0:
        return 0.0
    covariance = float(np.cov(y, f_labelled, ddof=1)[0, 1])
    return float(np.clip(covariance / ((1 + len(y) / len(f_rest)) * variance), 0.0, 1.0))


def _tuning(f_labelled: Floats, f_rest: Floats, clusters: int) -> float:
    """How much choosing lam from the same labels adds to their variance, as a share of it.

    A slope costs one more degree of freedom, and its error counts the more, the further apart the
    judge's means with and without labels are (Cochran, Sampling Techniques, 1977, 12.6). Without
    it, 30 labels reject a true hypothesis in 6.2 % instead of 5 %.
    """
    spread = float(np.sum((f_labelled - np.mean(f_labelled)) ** 2))
    apart = float(np.mean(f_rest) - np.mean(f_labelled))
    lever = len(f_labelled) * apart**2 / spread if spread > 0 else 0.0
    return (1 + lever) * (clusters - 1) / (clusters - 2) - 1


def _influence(values: Floats, groups: Ints, count: int) -> Floats:
    """What each cluster adds to the error of the mean; their squares sum to its variance."""
    centred = (values - np.mean(values)) / len(values)
    present = len(np.unique(groups))
    # A single cluster shows no spread; the check refuses it among the labelled ones.
    small = sqrt(present / max(present - 1, 1))
    return small * np.bincount(groups, weights=centred, minlength=count).astype(np.float64)


def _cluster_sums(values: Floats, groups: Ints) -> tuple[Floats, Floats]:
    """Sum and size of each cluster that occurs."""
    _, places = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(places, weights=values), np.bincount(places)
    return sums.astype(np.float64), sizes.astype(np.float64)


def _added(first: MeanBounds, second: MeanBounds, *, seed: int) -> MeanBounds:
    """Bounds of the sum of two independent means."""
    order = np.random.default_rng([seed, 4]).permutation(len(first.pessimistic))
    return MeanBounds(
        np.sort(first.pessimistic + second.pessimistic[order]),
        np.sort(first.optimistic + second.optimistic[order]),
    )


def _check(
    y: Floats,
    f_labelled: Floats,
    f_rest: Floats,
    labelled: Sequence[Hashable],
    unlabelled: Sequence[Hashable],
    lam: float | None,
) -> None:
    if not len(y) == len(f_labelled) == len(labelled) or len(f_rest) != len(unlabelled):
        raise ScoresError(
            f"{len(y)} human differences need as many of the judge (found {len(f_labelled)}) and "
            f"clusters (found {len(labelled)}); {len(f_rest)} unlabelled cases need as many "
            f"clusters (found {len(unlabelled)}).",
            next_step="Give one value of each for each case.",
        )
    if not all(np.isfinite(values).all() for values in (y, f_labelled, f_rest)):
        raise ScoresError(
            "A difference is NaN or infinite; expected finite numbers.",
            next_step="Leave out cases without a score on both sides.",
        )
    if lam is not None and not 0 <= lam <= 1:
        raise ScoresError(
            f"lam is {lam}; expected 0 (people alone) to 1 (trust the judge fully).",
            next_step="Leave it out: the best one is computed.",
        )
    found = len(set(labelled))
    if found < FEWEST:
        raise ScoresError(
            f"Labels of {found} independent case(s) or cluster(s); expected at least {FEWEST}.",
            next_step="Label more cases: ratchet label",
        )
