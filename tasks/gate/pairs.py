"""Two sets of scores -> paired differences of one measure, failures counted against the challenger.

What a missing score is worth, so that a failure can never help:

- binary and bounded: a missing challenger score is the measure's worst value, a missing champion
  score its best.
- positive: there is no worst value, so the pair counts as `ratio_limit` times worse. Every other
  ratio is limited to that factor too, else a measured pair could be worse than a missing one.

A problem of the suite is no failure: a case that one side's corpus can't be asked makes no pair.
How many those may be is `check_suite_problems`'.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, log

import numpy as np

from tasks.gate.inference import Bools, Floats, Ints
from tasks.gate.policy import MeasurePolicy
from tasks.gate.scores import ScoredCase, Scores


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
        if not keep.any():
            return None
        return Pairs(
            cases=tuple(case for case, kept in zip(self.cases, keep, strict=True) if kept),
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
    corpora have what the suite asks for. Repeats are averaged
    inside the case, a failed repeat at its worst (champion: best) value.
    """
    old, new = (side.by_measure.get(measure, {}) for side in (champion, challenger))
    known = (old.keys() | new.keys()) - problem_cases(measure, champion, challenger)
    cases = [case for case in challenger.cases if case.case_id in known]
    if not cases:
        return None
    worst = rule.width
    sides = [_side(scores, cases) for scores in (old, new)]
    differences = [
        _difference(rule, before, after, worst) for before, after in zip(*sides, strict=True)
    ]
    missing = [[None in values for values in side] for side in sides]
    return Pairs(
        cases=tuple(case.case_id for case in cases),
        differences=np.array(differences),
        cluster=_clusters(cases, clusters=clusters),
        measured=np.array([not (a or b) for a, b in zip(*missing, strict=True)]),
        worst=worst,
        mean_champion=mean_of(sides[0]),
        mean_challenger=mean_of(sides[1]),
        failed_champion=sum(missing[0]),
        failed_challenger=sum(missing[1]),
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


def _side(
    scores: dict[str, list[float | None]], cases: Sequence[ScoredCase]
) -> list[list[float | None]]:
    return [scores.get(case.case_id, [None]) for case in cases]


def _clusters(cases: Sequence[ScoredCase], *, clusters: bool) -> Ints:
    if not clusters:
        return np.arange(len(cases))
    # Numbered by name, not by appearance: the order of the cases must not change a draw.
    numbers = {name: i for i, name in enumerate(sorted({case.cluster for case in cases}))}
    return np.array([numbers[case.cluster] for case in cases])


def _difference(
    rule: MeasurePolicy, old: list[float | None], new: list[float | None], worst: float
) -> float:
    sign = 1.0 if rule.direction == "higher" else -1.0
    if rule.kind == "positive":
        if None in old or None in new:
            return -worst
        before, after = _mean(old, 0.0), _mean(new, 0.0)
        if before == after:
            return 0.0
        if before == 0.0 or after == 0.0:
            return sign * worst if after > before else -sign * worst
        return min(max(sign * log(after / before), -worst), worst)
    bad, good = rule.range if sign > 0 else rule.range[::-1]
    return sign * (_mean(new, bad) - _mean(old, good))


def _mean(values: list[float | None], missing: float) -> float:
    return fsum(missing if value is None else value for value in values) / len(values)
