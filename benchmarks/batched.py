"""Many nights -> their p-values at once, equal to what tasks.gate.inference says of each.

A simulation asks the same test thousands of times. With the same seed and number of clusters the
gate draws the same signs every time, so one matrix product answers for all nights. The unit tests
compare rows of these functions with the gate's own.
"""

import numpy as np
from scipy.stats import binom

from benchmarks.simulate import Batch
from tasks.gate.inference import ENUMERATED_CLUSTERS, Floats, many_mean_bounds

_AT_ONCE = 4_000_000
"""Numbers in one block: 32 MB."""


def better(batch: Batch, *, resamples: int, seed: int = 0) -> Floats:
    """p-values of "the challenger isn't better", shape (nights,): McNemar or a sign flip."""
    if batch.design.kind == "binary" and not batch.design.icc:
        return mcnemars(batch.differences)
    return sign_flips(batch.sums, resamples=resamples, seed=seed)


def not_worse(batch: Batch, *, margin: float, resamples: int, seed: int = 0) -> Floats:
    """p-values of "the challenger is worse by the margin", shape (nights,): Gaffke's bound."""
    sums, found = batch.sums, np.empty(len(batch.champion))
    for rows in _blocks(len(sums), resamples):
        bounds = many_mean_bounds(
            sums[rows],
            batch.sizes,
            worst=np.full(len(sums[rows]), batch.design.width),
            resamples=resamples,
            seed=seed,
        )
        found[rows] = [one.p_above(-margin) for one in bounds]
    return found


def mcnemars(differences: Floats) -> Floats:
    """`mcnemar` of each row of paired binary differences."""
    wins, losses = np.sum(differences > 0, axis=1), np.sum(differences < 0, axis=1)
    # P(Bin(0, 1/2) >= 0) is 1, as it should be without any difference.
    return np.asarray(binom.sf(wins - 1, wins + losses, 0.5))


def sign_flips(sums: Floats, *, resamples: int, seed: int) -> Floats:
    """`SignFlips.p_above` of each row of cluster sums, shape (nights, C)."""
    count = sums.shape[1]
    if bool(np.all(sums == np.round(sums))):
        return _counted(sums)
    if count <= ENUMERATED_CLUSTERS:
        flips = ((np.arange(2**count)[:, None] >> np.arange(count)) & 1).astype(np.float64)
        return _extreme(flips, sums) / len(flips)
    generator = np.random.default_rng([seed, count, 1])
    flips = generator.integers(0, 2, size=(resamples, count), dtype=np.int8).astype(np.float64)
    return (1 + _extreme(flips, sums)) / (resamples + 1)


def _extreme(flips: Floats, sums: Floats) -> Floats:
    found = np.empty(len(sums))
    for rows in _blocks(len(sums), len(flips)):
        tolerance = 1e-9 * np.abs(sums[rows]).max(axis=1)
        found[rows] = np.sum(flips @ sums[rows].T <= tolerance, axis=0)
    return found


def _counted(sums: Floats) -> Floats:
    """P(total under random signs >= observed) for whole sums, by the characteristic function.

    A sum of s with random sign has the characteristic function cos(s t); their product, back
    through a Fourier transform, is the distribution of the total.
    """
    reach = int(np.abs(sums).sum(axis=1).max())
    width = 2 * reach + 1
    angles = 2 * np.pi * np.arange(reach + 1) / width
    values = np.unique(np.abs(sums[sums != 0]))
    factors = np.cos(np.outer(values, angles))
    logs = np.log(np.maximum(np.abs(factors), 1e-300))
    negative = (factors < 0).astype(np.float64)
    found = np.empty(len(sums))
    for rows in _blocks(len(sums), width):
        counts = np.stack([np.sum(np.abs(sums[rows]) == value, axis=1) for value in values], axis=1)
        sign = 1.0 - 2.0 * ((counts @ negative) % 2)
        shares = np.fft.irfft(sign * np.exp(counts @ logs), n=width, axis=1)
        # From the order 0..reach, -reach..-1 to -reach..reach, and summed from the top.
        tails = np.cumsum(np.roll(shares, reach, axis=1)[:, ::-1], axis=1)[:, ::-1]
        at = (reach + sums[rows].sum(axis=1)).astype(np.int64)
        found[rows] = tails[np.arange(len(at)), at]
    return np.clip(found, 0.0, 1.0)


def _blocks(nights: int, width: int) -> list[slice]:
    step = max(1, _AT_ONCE // width)
    return [slice(start, start + step) for start in range(0, nights, step)]
