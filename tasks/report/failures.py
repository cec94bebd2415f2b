"""Scores that are missing -> which cases, which measures, and what was said about it."""

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.gate.pairs import problem_cases
from tasks.gate.scores import Scores
from tasks.report.evidence import Evidence

ABSENT = "There is no row."
NO_REASON = "No reason was given."

_Row = tuple[str, str, str | None]


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in one case, and which scores are missing because of it."""

    case_id: str
    message: str
    raw: str | None
    measures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures of one kind on one side."""

    side: str
    error_type: str
    rows: tuple[Failure, ...]


def failures(shown: Evidence) -> tuple[Failures, ...]:
    """Every failure, grouped by side and kind of error, the challenger's first.

    A lost answer fails every measure of its case: that is one row with many measures.
    """
    groups: dict[tuple[str, str], dict[_Row, list[str]]] = {}
    for side, error_type, row, measure in _rows(shown):
        groups.setdefault((side, error_type), {}).setdefault(row, []).append(measure)
    return tuple(
        Failures(*key, tuple(Failure(*row, tuple(measures)) for row, measures in rows.items()))
        for key, rows in groups.items()
    )


def _rows(shown: Evidence) -> Iterable[tuple[str, str, _Row, str]]:
    if shown.logs is not None:
        for side, log in (("challenger", shown.logs.new), ("champion", shown.logs.old)):
            for row in log.failures if log else ():
                # No failure of a side: the check `suite` names these cases.
                if row.suite_problem:
                    continue
                yield side, row.error_type, (row.case_id, row.message, row.raw), row.measure
        return
    for side, scores, other in (
        ("challenger", shown.new, shown.old),
        ("champion", shown.old, shown.new),
    ):
        if scores is not None:
            for case_id, message, measure in _missing(scores, other):
                yield side, "no score", (case_id, message, None), measure


def _missing(scores: Scores, other: Scores | None) -> Iterable[tuple[str, str, str]]:
    """Rows with an error, then rows that only the other side has: the gate counts both."""
    for row in scores.rows:
        if row.value is None and not row.suite_problem:
            yield row.case_id, row.error or NO_REASON, row.measure
    if other is None:
        return
    for measure in other.rows_of:
        cases = other.values_of(measure)
        own = scores.values_of(measure).keys() | problem_cases(measure, scores)
        for case in scores.cases:
            if case.case_id in cases and case.case_id not in own:
                yield case.case_id, ABSENT, measure
