"""A judge's marks beside people's -> how far they agree beyond chance, and how sure that is.

Point values come from scikit-learn and krippendorff. Intervals are percentile bootstraps over
clusters of cases: thousands of tables of counts at once, for which the same measures are written
here in array form (the tests hold them against the libraries).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.config import Settings
from tasks.errors import ScoresError
from tasks.gate.inference import Floats, Ints

CONFIDENCE = 0.95
RESAMPLES = 2_000
_FEWEST = 2


class Estimate(Settings):
    """A number with the ends of its interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, low: float, high: float) -> "Estimate":
        """Rounded where two processors may differ: a calibration is named by its content."""
        # Adding 0 turns -0.0 into 0.0.
        value, low, high = (round(number, 12) + 0.0 for number in (value, low, high))
        return cls(value=value, low=low, high=high)


class Agreement(Settings):
    """How one measure's judge and people agree; what can't be computed is None."""

    n: int
    """Answers that both marked."""
    n_clusters: int
    graded: bool
    raw: Estimate | None = None
    """Share of answers with the same mark."""
    kappa: Estimate | None = None
    """Cohen's kappa: 0 is chance, 1 is perfect; every difference counts the same."""
    weighted_kappa: Estimate | None = None
    """The same with squared distances; only for grades."""
    alpha: Estimate | None = None
    """Krippendorff's alpha, ordinal for grades and nominal for yes and no."""
    pabak: Estimate | None = None
    """Raw agreement beyond what equally frequent marks would give by chance."""
    problem: str = ""
    """Why a number is missing."""

    @property
    def decisive(self) -> Estimate | None:
        """The kappa that a verdict looks at: a near miss counts less than a far one in grades."""
        return self.weighted_kappa if self.graded else self.kappa


def agreement(
    people: Sequence[int],
    judge: Sequence[int],
    *,
    levels: int,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Compare two lists of marks of the same answers.

    Args:
        people: shape (n,), the position of each mark on the scale, from 0.
        judge: shape (n,), likewise.
        levels: marks that the scale has; 2 is yes and no.
        clusters: shape (n,), answers that belong together and are drawn together; None: each alone.
        confidence: of the intervals.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        ScoresError: the lists differ in length, or a mark isn't on the scale.

    References:
        J. Cohen, Weighted kappa, 1968; K. Krippendorff, Content Analysis, 2004; T. Byrt, J. Bishop
        and J. Carlin, Bias, prevalence and kappa, 1993 (PABAK).
    """
    ours, theirs = (np.asarray(marks, dtype=np.int64) for marks in (people, judge))
    groups = np.arange(len(ours)) if clusters is None else numbered(clusters)
    _check(ours, theirs, groups, levels)
    graded = levels > 2  # yes and no
    n_clusters = len(np.unique(groups))
    if n_clusters < _FEWEST:
        problem = f"{len(ours)} answer(s) of {n_clusters} cluster(s): too few to compare"
        return Agreement(n=len(ours), n_clusters=n_clusters, graded=graded, problem=problem)
    tables = np.zeros((n_clusters, levels, levels))
    np.add.at(tables, (groups, ours, theirs), 1)
    drawn = resampled(tables, resamples=resamples, seed=seed)
    found = {"raw": _raw, "pabak": _pabak}
    problem = ""
    if len(np.unique(np.concatenate([ours, theirs]))) < _FEWEST:
        problem = "everybody gave every answer the same mark: agreement beyond chance can't be seen"
    else:
        found |= {"kappa": _kappa, "alpha": _ordinal_alpha if graded else _nominal_alpha}
        found |= {"weighted_kappa": _weighted_kappa} if graded else {}
    points = _points(ours, theirs, tables.sum(axis=0), levels, list(found))
    return Agreement(
        n=len(ours),
        n_clusters=n_clusters,
        graded=graded,
        problem=problem,
        **{
            name: percentile(points[name], statistic(drawn), confidence=confidence)
            for name, statistic in found.items()
        },
    )


def between_people(values: Sequence[Mapping[str, float]], *, graded: bool) -> float | None:
    """Krippendorff's alpha among people; None unless several labelled the same answers.

    A judge can't be expected to agree with people more than they agree with each other.

    Args:
        values: one mapping an answer, from labeller to value.
        graded: whether values have an order.
    """
    import krippendorff

    several = [row for row in values if len(row) >= _FEWEST]
    names = sorted({name for row in several for name in row})
    if len({value for row in several for value in row.values()}) < _FEWEST:
        return None
    rows = [[row.get(name, np.nan) for row in several] for name in names]
    return float(
        krippendorff.alpha(
            reliability_data=np.array(rows),
            level_of_measurement="ordinal" if graded else "nominal",
        )
    )


def percentile(point: float, drawn: Floats, *, confidence: float) -> Estimate:
    """A point with the percentile interval of its bootstrap values."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate.of(point, float(low), float(high))


def resampled(parts: Floats, *, resamples: int, seed: int) -> Floats:
    """Bootstrap over the first axis: sums of as many parts as there are, drawn with replacement.

    Args:
        parts: shape (C, ...), what each cluster adds.
        resamples: B.
        seed: of the draws.

    Returns:
        Shape (B, ...).
    """
    count = len(parts)
    generator = np.random.default_rng([seed, count, 3])
    weights = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    flat: Floats = weights @ parts.reshape(count, -1)
    return flat.reshape(resamples, *parts.shape[1:])


def numbered(clusters: Sequence[Hashable]) -> Ints:
    """Clusters as numbers from 0, whatever they are called."""
    # By name and not by appearance: the order of the answers must not change a draw.
    numbers = {name: i for i, name in enumerate(sorted(set(clusters), key=str))}
    return np.array([numbers[name] for name in clusters], dtype=np.int64)


def _check(ours: Ints, theirs: Ints, groups: Ints, levels: int) -> None:
    if not len(ours) == len(theirs) == len(groups):
        raise ScoresError(
            f"People marked {len(ours)} answers, the judge {len(theirs)}, and {len(groups)} have a "
            "cluster; expected the same number.",
            next_step="Give one mark of each side for each answer.",
        )
    marks = np.concatenate([ours, theirs])
    wrong = marks[(marks < 0) | (marks >= levels)]
    if len(wrong):
        raise ScoresError(
            f"A mark is {int(wrong[0])}; expected 0 to {levels - 1}, its position on the scale.",
            next_step="Give positions on the scale, not values.",
        )


def _points(
    ours: Ints, theirs: Ints, table: Floats, levels: int, names: Sequence[str]
) -> dict[str, float]:
    import krippendorff
    from sklearn.metrics import cohen_kappa_score

    def alpha() -> float:
        counts = np.zeros((len(ours), levels), dtype=np.int64)
        for marks in (ours, theirs):
            np.add.at(counts, (np.arange(len(ours)), marks), 1)
        return float(
            krippendorff.alpha(
                value_counts=counts,
                level_of_measurement="ordinal" if levels > 2 else "nominal",
            )
        )

    make: dict[str, Callable[[], float]] = {
        "raw": lambda: float(_raw(table[None])[0]),
        "pabak": lambda: float(_pabak(table[None])[0]),
        "kappa": lambda: float(cohen_kappa_score(ours, theirs)),
        "weighted_kappa": lambda: float(
            # All levels of the scale: one that nobody used still is a step of it.
            cohen_kappa_score(ours, theirs, labels=range(levels), weights="quadratic")
        ),
        "alpha": alpha,
    }
    return {name: make[name]() for name in names}


# --- the measures on many tables of counts at once: shape (B, levels, levels) -> (B,) -----------
# A draw in which everybody gives one mark shows no agreement beyond chance: it counts as 0.


def _raw(tables: Floats) -> Floats:
    shares: Floats = np.trace(tables, axis1=1, axis2=2) / tables.sum(axis=(1, 2))
    return shares


def _pabak(tables: Floats) -> Floats:
    levels = float(tables.shape[1])
    return (levels * _raw(tables) - 1.0) / (levels - 1.0)


def _kappa(tables: Floats) -> Floats:
    return _beyond_chance(tables, 1.0 - np.eye(tables.shape[1]))


def _weighted_kappa(tables: Floats) -> Floats:
    steps = np.arange(tables.shape[1])
    return _beyond_chance(tables, np.square(steps[:, None] - steps).astype(np.float64))


def _beyond_chance(tables: Floats, distance: Floats) -> Floats:
    shares = tables / tables.sum(axis=(1, 2), keepdims=True)
    chance = shares.sum(axis=2)[:, :, None] * shares.sum(axis=1)[:, None, :]
    return _one_minus((shares * distance).sum(axis=(1, 2)), (chance * distance).sum(axis=(1, 2)))


def _nominal_alpha(tables: Floats) -> Floats:
    return _alpha(tables, np.broadcast_to(1.0 - np.eye(tables.shape[1]), tables.shape))


def _ordinal_alpha(tables: Floats) -> Floats:
    counts = tables.sum(axis=1) + tables.sum(axis=2)
    middle = np.cumsum(counts, axis=1) - counts / 2
    return _alpha(tables, (middle[:, :, None] - middle[:, None, :]) ** 2)


def _alpha(tables: Floats, distance: Any) -> Floats:
    coincidences = tables + tables.transpose(0, 2, 1)
    counts = coincidences.sum(axis=2)
    pairs = counts[:, :, None] * counts[:, None, :] / (counts.sum(axis=1) - 1)[:, None, None]
    return _one_minus(
        (coincidences * distance).sum(axis=(1, 2)), (pairs * distance).sum(axis=(1, 2))
    )


def _one_minus(seen: Floats, expected: Floats) -> Floats:
    known = expected > 0
    return np.where(known, 1.0 - seen / np.where(known, expected, 1.0), 0.0)
