"""Primary measure by tag -> which groups of cases lost more than their margin, all looked at once.

A challenger that is better on average may be much worse for one kind of question. Looking at each
tag by itself finds losses that aren't there; the bounds here hold for all of them together
(max-T: the largest studentised deviation over the slices, under random signs of the clusters).
"""

from collections.abc import Sequence

import numpy as np

from tasks.gate.decision import SliceResult
from tasks.gate.inference import Floats
from tasks.gate.pairs import Pairs
from tasks.gate.policy import Slices

_DIGITS = 12


def slice_results(
    pairs: Pairs,
    tags: Sequence[Sequence[str]],
    settings: Slices,
    *,
    margin: float,
    alpha: float,
    resamples: int,
    seed: int,
) -> tuple[SliceResult, ...]:
    """Bounds of every slice that is large enough.

    Args:
        pairs: differences of the primary measure.
        tags: of each pair's case, in the order of the pairs.
        settings: which slices.
        margin: largest loss that passes, in the unit of the differences.
        alpha: chance that any slice without such a loss is called lost.
        resamples: random signs.
        seed: of the signs.
    """
    sums, sizes, names = _by_slice(pairs, tags, settings)
    if not names:
        return ()
    counts = np.sum(sizes > 0, axis=1).astype(np.float64)
    totals = sizes.sum(axis=1)
    means = sums.sum(axis=1) / totals
    residuals = sums - sizes * means[:, None]
    errors = np.sqrt(np.sum(residuals**2, axis=1) * counts / (counts - 1)) / totals
    # A slice whose pairs are all alike has no spread to estimate, so no bound but its mean's worst.
    known = errors > 0
    width = np.full(len(names), np.inf)
    if known.any():
        quantile = _max_t(residuals[known], counts[known], alpha, resamples, seed)
        width[known] = quantile * errors[known]
    low, high = np.maximum(means - width, -pairs.worst), np.minimum(means + width, pairs.worst)
    return tuple(
        SliceResult(
            tag=name,
            n=int(totals[i]),
            n_clusters=int(counts[i]),
            delta=round(float(means[i]), _DIGITS),
            low=round(float(low[i]), _DIGITS),
            high=round(float(high[i]), _DIGITS),
            lost=bool(high[i] < -margin),
        )
        for i, name in enumerate(names)
    )


def _by_slice(
    pairs: Pairs, tags: Sequence[Sequence[str]], settings: Slices
) -> tuple[Floats, Floats, list[str]]:
    members: dict[str, list[int]] = {}
    for position, found in enumerate(tags):
        for tag in found:
            members.setdefault(tag, []).append(position)
    count = int(pairs.cluster.max(initial=0)) + 1
    names, sums, sizes = [], [], []
    for name in sorted(members):
        if settings.tags is not None and name not in settings.tags:
            continue
        rows = np.array(members[name])
        size = np.bincount(pairs.cluster[rows], minlength=count).astype(np.float64)
        if np.sum(size > 0) < settings.min_clusters or len(rows) == len(tags):
            continue
        names.append(name)
        sizes.append(size)
        sums.append(
            np.bincount(pairs.cluster[rows], weights=pairs.differences[rows], minlength=count)
        )
    if not names:
        return np.empty((0, count)), np.empty((0, count)), []
    return np.stack(sums), np.stack(sizes), names


def _max_t(residuals: Floats, counts: Floats, alpha: float, resamples: int, seed: int) -> float:
    """Quantile of the largest |t| over the slices, with one random sign a cluster.

    Every draw is studentised by its own spread: with few clusters that makes the tails as long as
    those of Student's t, and a quantile that ignored it would find losses that aren't there.
    """
    generator = np.random.default_rng([seed, residuals.shape[1], 3])
    signs = generator.choice(np.array([-1.0, 1.0]), size=(resamples, residuals.shape[1]))
    scaled = signs @ residuals.T / np.sqrt(np.sum(residuals**2, axis=1))
    spread = np.maximum(counts - scaled**2, 1e-12)
    largest = np.max(np.abs(scaled) * np.sqrt((counts - 1) / spread), axis=1)
    rank = min(resamples - 1, int(np.ceil((1 - alpha) * (resamples + 1))) - 1)
    return float(np.partition(largest, rank)[rank])
