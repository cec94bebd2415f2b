"""Two sets of scores -> paired differences of one measure, failures counted against the challenger.

What a missing score is worth, so that a failure can never help:

- binary and bounded: a missing challenger score is the measure's worst value, a missing champion
  score its best.
- positive: there is no worst value, so the pair counts as `ratio_limit` times worse. Every other
  ratio is limited to that factor too, else a measured pair could be worse than a missing one.

A problem of the suite is no failure: a case that one side's corpus can't be asked makes no pair.
How many those may be is `check_suite_problems`'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from math import copysign, fsum, isnan, log

import numpy as np

from tasks.gate.inference import Bools, Floats, Ints
from tasks.gate.policy import MeasurePolicy
from tasks.gate.scores import Scores


@dataclass(frozen=True)
class Pairs:
    """Differences of the cases that a measure applies to; positive is better for the challenger."""

    cases: tuple[str, ...]
    """Case ids, in the order of the rows below."""
    differences: Floats
    """Shape (n,)."""
    cluster: Ints
    """Shape (n,): number of each case's cluster, from 0."""
    measured: Bools
    """Shape (n,): whether both sides have every score."""
    worst: float
    """Largest difference that a case can have, either way."""
    mean_champion: float | None
    mean_challenger: float | None
    failed_champion: int
    failed_challenger: int

    def sums(self) -> Floats:
        """Sum of the differences of each cluster, shape (C,)."""
        return np.bincount(self.cluster, weights=self.differences).astype(np.float64)

    def sizes(self) -> Floats:
        """Cases of each cluster, shape (C,)."""
        return np.bincount(self.cluster).astype(np.float64)

    def only_measured(self) -> "Pairs | None":
        """The pairs with both scores; None when there are none."""
        keep = self.measured
        if keep.all():
            return self
        if not keep.any():
            return None
        return Pairs(
            cases=tuple(compress(self.cases, keep)),
            differences=self.differences[keep],
            cluster=np.unique(self.cluster[keep], return_inverse=True)[1].astype(np.int64),
            measured=np.ones(int(keep.sum()), dtype=np.bool_),
            worst=self.worst,
            mean_champion=self.mean_champion,
            mean_challenger=self.mean_challenger,
            failed_champion=0,
            failed_challenger=0,
        )


def pair(
    measure: str, rule: MeasurePolicy, champion: Scores, challenger: Scores, *, clusters: bool
) -> Pairs | None:
    """Pair one measure case by case; None when no case has a score or a failure of it.

    A case belongs to the measure when either side scored it or failed at it, and both sides'
    corpora have what the suite asks for. Repeats are averaged inside the case, a failed repeat at
    its worst (champion: best) value.
    """
    sides = [_column(side, measure, challenger.places) for side in (champion, challenger)]
    belongs = sides[0].rows + sides[1].rows > 0
    for case in problem_cases(measure, champion, challenger) & challenger.places.keys():
        belongs[challenger.places[case]] = False
    if not belongs.any():
        return None
    old, new = (side.of(belongs) for side in sides)
    failed = [side.failed() for side in (old, new)]
    measured = ~(failed[0] | failed[1])
    cluster = challenger.clusters[belongs] if clusters else np.arange(belongs.sum())
    return Pairs(
        cases=tuple(compress(challenger.places, belongs)),
        differences=_differences(rule, old, new, measured),
        cluster=np.unique(cluster, return_inverse=True)[1].astype(np.int64),
        measured=measured,
        worst=rule.width,
        mean_champion=old.mean(),
        mean_challenger=new.mean(),
        failed_champion=int(failed[0].sum()),
        failed_challenger=int(failed[1].sum()),
    )


def problem_cases(measure: str, *sides: Scores | None) -> frozenset[str]:
    """Ids of the cases that a side's corpus can't be asked: they count for no side."""
    none: frozenset[str] = frozenset()
    return none.union(*(side.suite_problems.get(measure, none) for side in sides if side))


def worst_value(rule: MeasurePolicy) -> float:
    """The bad end of a binary or bounded measure's range."""
    return rule.range[0] if rule.direction == "higher" else rule.range[1]


def mean_of(side: Sequence[Sequence[float | None]]) -> float | None:
    """Mean over the cases of each case's mean; cases without any value are left out."""
    means = [
        fsum(known) / len(known)
        for values in side
        if (known := [v for v in values if v is not None])
    ]
    return fsum(means) / len(means) if means else None


@dataclass(frozen=True, slots=True)
class _Column:
    """One measure of one side, case by case."""

    values: Floats
    """Shape (n, most repeats of a case): NaN for a failure, and behind the last row of a case."""
    rows: Ints
    """Shape (n,): rows of each case; 0 where the measure has none."""

    def of(self, cases: Bools) -> "_Column":
        return _Column(self.values[cases], self.rows[cases])

    def failed(self) -> Bools:
        """Whether a case lacks a score; one without any row lacks its only one."""
        scores = np.count_nonzero(~np.isnan(self.values), axis=1)
        return np.asarray(scores < np.maximum(self.rows, 1), dtype=np.bool_)

    def means(self, missing: float) -> Floats:
        """Each case's mean, with this value in place of each score that is missing."""
        filled = np.where(np.isnan(self.values), missing, self.values)
        if filled.shape[1] == 1:
            # As fsum does it: the sum of one -0.0 is 0.0.
            return filled[:, 0] + 0.0
        return np.array(
            [
                fsum(row[:count]) / count
                for row, count in zip(
                    filled.tolist(), np.maximum(self.rows, 1).tolist(), strict=True
                )
            ]
        )

    def mean(self) -> float | None:
        """Mean over the cases of each case's mean, as `mean_of` has it."""
        if self.values.shape[1] == 1:
            known = self.values[~np.isnan(self.values)].tolist()
            return fsum(known) / len(known) if known else None
        return mean_of([[v for v in row if not isnan(v)] for row in self.values.tolist()])


def _column(scores: Scores, measure: str, places: Mapping[str, int]) -> _Column:
    """Bring the rows of one measure into the order of `places`."""
    rows = scores.rows_of.get(measure, ())
    place = np.array([places.get(row.case_id, -1) for row in rows], dtype=np.int64)
    value = np.array([row.value for row in rows], dtype=np.float64)
    if place.min(initial=0) < 0:
        place, value = place[place >= 0], value[place >= 0]
    counts = np.bincount(place, minlength=len(places))
    # Rows come in the order of their repeats: a row's number inside its case.
    order = np.argsort(place, kind="stable")
    number = np.empty_like(place)
    number[order] = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    values = np.full((len(places), max(1, counts.max(initial=0))), np.nan)
    values[place, number] = value
    return _Column(values, counts)


def _differences(rule: MeasurePolicy, old: _Column, new: _Column, measured: Bools) -> Floats:
    sign = 1.0 if rule.direction == "higher" else -1.0
    if rule.kind == "positive":
        growth = _log_ratios(old.means(0.0), new.means(0.0), rule.width)
        # Adding 0.0 makes a falling measure's -0.0 a 0.0.
        return np.where(measured, sign * growth + 0.0, -rule.width)
    bad, good = rule.range if sign > 0 else rule.range[::-1]
    return sign * (new.means(bad) - old.means(good))


def _log_ratios(before: Floats, after: Floats, limit: float) -> Floats:
    # Python's logarithm: numpy's may differ in the last bit between two processors.
    return np.array(
        [
            0.0
            if old == new
            else min(max(log(new / old), -limit), limit)
            if old and new
            else copysign(limit, new - old)
            for old, new in zip(before.tolist(), after.tolist(), strict=True)
        ]
    )
