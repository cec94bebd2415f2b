"""Scores of both sides -> case by case: what was won and lost, and what was said where known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal

import numpy as np

from tasks.gate.pairs import pair
from tasks.gate.policy import GatePolicy, Kind, MeasurePolicy, Role
from tasks.gate.scores import ScoredCase, Scores
from tasks.report.answers import Answered, Question, answers, questions
from tasks.report.evidence import Evidence
from tasks.report.failures import ABSENT, NO_REASON

Change = Literal["won", "lost", "tie"]

_CHANGES: dict[float, Change] = {1.0: "won", -1.0: "lost", 0.0: "tie"}


@dataclass(frozen=True, slots=True)
class Values:
    """One deciding measure of one case."""

    measure: str
    kind: Kind
    old: float | None
    new: float | None
    change: Change | None
    """As the gate counts it, a missing score against the challenger; None without a champion."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one release did with a case."""

    value: float | None
    """Of the measure that sorts the cases; None: failed, or it doesn't apply."""
    error: str | None
    """Why an answer, or the score of the sorting measure, is missing."""
    answered: Answered | None
    """None for scores from a tool that says nothing about answers."""


@dataclass(frozen=True, slots=True)
class CaseView:
    """One case, both sides."""

    case: ScoredCase
    question: Question | None
    values: tuple[Values, ...]
    """Of every deciding measure that applies to it, the one that sorts the cases first."""
    change: Change | None
    """Of the measure that sorts the cases; None: it doesn't apply, or there is no champion."""
    old: Side | None
    new: Side

    @property
    def failed(self) -> bool:
        """Whether an answer, or the score of the sorting measure, is missing on a side."""
        return bool(self.new.error or (self.old and self.old.error))


@dataclass(frozen=True, slots=True)
class Tally:
    """Cases that one deciding measure lost, won and left as they were."""

    measure: str
    role: Role
    lost: tuple[str, ...]
    won: tuple[str, ...]
    tied: tuple[str, ...]


def sorting_measure(policy: GatePolicy) -> str:
    """The measure that says who won a case: the primary, or in a refresh what stands in for it."""
    fallback = policy.must_pass.measure if policy.must_pass else None
    return policy.primary or fallback or policy.named("guardrail")[0]


def view_cases(policy: GatePolicy, shown: Evidence) -> tuple[CaseView, ...]:
    """Every case in the suite's order; wins and losses are those that the gate counts."""
    first = sorting_measure(policy)
    others = [name for name in policy.named("primary", "guardrail") if name != first]
    columns = [_column(name, policy.measures[name], shown) for name in (first, *others)]
    asked = questions(shown.logs.new) if shown.logs else {}
    old, new = _readers(shown, first, columns[0])
    views = []
    for case in shown.new.cases:
        found = columns[0].get(case.case_id)
        views.append(
            CaseView(
                case=case,
                question=asked.get(case.case_id),
                values=tuple(rows[case.case_id] for rows in columns if case.case_id in rows),
                change=found.change if found else None,
                old=old.read(case.case_id) if old else None,
                new=new.read(case.case_id),
            )
        )
    return tuple(views)


def tallies(policy: GatePolicy, views: Sequence[CaseView]) -> tuple[Tally, ...]:
    """Which cases each deciding measure lost, won and tied, in the policy's order."""
    found: dict[str, dict[Change, list[str]]] = {}
    for view in views:
        for row in view.values:
            if row.change is not None:
                groups = found.setdefault(row.measure, {"lost": [], "won": [], "tie": []})
                groups[row.change].append(view.case.case_id)
    return tuple(
        Tally(
            measure=name,
            role=rule.role,
            lost=tuple(found[name]["lost"]),
            won=tuple(found[name]["won"]),
            tied=tuple(found[name]["tie"]),
        )
        for name, rule in policy.measures.items()
        if name in found
    )


class _Reader:
    """One side."""

    def __init__(
        self,
        scores: Scores,
        measure: str,
        applies: Mapping[str, Values],
        answered: Mapping[str, Answered],
    ) -> None:
        self._values = scores.values_of(measure)
        self._answered = answered
        self._errors = {name: ABSENT for name in applies if name not in self._values}
        for row in scores.rows:
            if row.measure == measure and row.value is None:
                self._errors.setdefault(row.case_id, row.error or NO_REASON)

    def read(self, case_id: str) -> Side:
        answered = self._answered.get(case_id)
        return Side(
            value=_mean(self._values.get(case_id, ())),
            error=answered.error if answered else self._errors.get(case_id),
            answered=answered,
        )


def _readers(
    shown: Evidence, measure: str, applies: Mapping[str, Values]
) -> tuple[_Reader | None, _Reader]:
    logs = shown.logs
    old = answers(logs.old, logs.new, measure) if logs and logs.old else {}
    new = answers(logs.new, logs.old, measure) if logs else {}
    return (
        _Reader(shown.old, measure, applies, old) if shown.old else None,
        _Reader(shown.new, measure, applies, new),
    )


def _column(measure: str, rule: MeasurePolicy, shown: Evidence) -> dict[str, Values]:
    """One measure by case id; a case that it doesn't apply to isn't there."""
    new = shown.new.values_of(measure)
    if shown.old is None:
        return {
            name: Values(measure, rule.kind, None, _mean(values), None)
            for name, values in new.items()
        }
    old = shown.old.values_of(measure)
    pairs = pair(measure, rule, shown.old, shown.new, clusters=False)
    if pairs is None:
        return {}
    return {
        name: Values(
            measure, rule.kind, _mean(old.get(name, ())), _mean(new.get(name, ())), _CHANGES[sign]
        )
        for name, sign in zip(pairs.cases, np.sign(pairs.differences).tolist(), strict=True)
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fsum(known) / len(known) if known else None
