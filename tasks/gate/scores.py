"""EvalLog -> Scores: what one release got, case by case, ready to compare."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.digest import Digest, canonical_json, text_digest
from tasks.errors import ScoresError
from tasks.gate.inference import Ints
from tasks.gate.policy import GatePolicy, Kind, MeasurePolicy

if TYPE_CHECKING:
    # The statistics need no model client: scores may come from a plain file.
    from tasks.evaluate.log import EvalLog


_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One value of one case, or the error that stands in its place."""

    case_id: str
    measure: str
    value: float | None
    error: str | None = None
    repeat: int = 0
    suite_problem: bool = False
    """There is no value because the corpus lacks what the suite asks for: nobody's failure."""


@dataclass(frozen=True, slots=True)
class ScoredCase:
    """What the gate knows about a case."""

    case_id: str
    cluster: str
    tags: tuple[str, ...] = ()
    must_pass: bool = False


@dataclass(frozen=True)
class Scores:
    """All scores of one release on one suite.

    `declared` holds each measure's kind and whether higher is better, where the source says so.
    """

    cases: tuple[ScoredCase, ...]
    rows: tuple[ScoreRow, ...]
    release: str = ""
    release_digest: Digest | None = None
    log_digest: Digest | None = None
    suite_digest: Digest | None = None
    judge_digest: Digest | None = None
    declared: Mapping[str, tuple[Kind, bool]] = field(default_factory=dict)

    @cached_property
    def rows_of(self) -> dict[str, list[ScoreRow]]:
        """Rows by measure, without problems of the suite; repeats in their order."""
        table: dict[str, list[ScoreRow]] = defaultdict(list)
        for row in sorted(self.rows, key=attrgetter("repeat")):
            if not row.suite_problem:
                table[row.measure].append(row)
        return dict(table)

    def values_of(self, measure: str) -> dict[str, list[float | None]]:
        """Values of one measure by case id, None for a failure; repeats in their order."""
        cases: dict[str, list[float | None]] = {}
        for row in self.rows_of.get(measure, ()):
            cases.setdefault(row.case_id, []).append(row.value)
        return cases

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each case among `cases`."""
        return {case.case_id: place for place, case in enumerate(self.cases)}

    @cached_property
    def clusters(self) -> Ints:
        """Shape (n,): number of each case's cluster, from 0.

        Numbered by name, not by appearance: the order of the cases must not change a draw.
        """
        names = sorted({case.cluster for case in self.cases})
        numbers = {name: number for number, name in enumerate(names)}
        return np.array([numbers[case.cluster] for case in self.cases], dtype=np.int64)

    @cached_property
    def suite_problems(self) -> dict[str, frozenset[str]]:
        """Ids of the cases that this side's corpus can't be asked, by measure."""
        table: dict[str, set[str]] = defaultdict(set)
        for row in self.rows:
            if row.suite_problem:
                table[row.measure].add(row.case_id)
        return {measure: frozenset(cases) for measure, cases in table.items()}

    @cached_property
    def digest(self) -> Digest:
        """Identity of everything that a decision can depend on."""
        cases = sorted([c.case_id, c.cluster, c.tags, c.must_pass] for c in self.cases)
        release = [self.release, self.release_digest, self.log_digest]
        suite = _json([self.suite_digest, self.judge_digest])
        if self.suite_problems:
            gone = {measure: sorted(found) for measure, found in self.suite_problems.items()}
            suite += f',"suite_problems":{_json(gone)}'
        # The text that `digest` would make of ["gate-scores", 1, {...}]. It would need a list a
        # row, and so many at once send Python's garbage collector through the whole process.
        return text_digest(
            f'["gate-scores",1,{{"cases":{_json(cases)},"release":{_json(release)},'
            f'"rows":[{",".join(self._row_texts())}],"suite":{suite}}}]'
        )

    def _row_texts(self) -> Iterator[str]:
        """Measure, case, repeat and value of each row as JSON, in this order."""
        names = {case: _json(case) for case in {row.case_id for row in self.rows}}
        for measure in sorted(self.rows_of):
            head = _json(measure)
            rows = sorted(self.rows_of[measure], key=attrgetter("case_id"))
            values = _json([row.value for row in rows])[1:-1].split(",")
            for row, value in zip(rows, values, strict=True):
                yield f"[{head},{names[row.case_id]},{row.repeat},{value}]"


def from_log(log: "EvalLog") -> Scores:
    """Take the scores and failures of an evaluation; nothing is computed or left out."""
    manifest = log.manifest
    cases = tuple(
        ScoredCase(case.case_id, case.cluster or case.case_id, case.tags, case.must_pass)
        for case in log.cases
    )
    scored = [ScoreRow(s.case_id, s.measure, s.value, None, s.repeat) for s in log.scores]
    failed = [
        ScoreRow(
            row.case_id,
            row.measure,
            None,
            f"{row.error_type}: {row.message}",
            suite_problem=row.suite_problem,
        )
        for row in log.failures
        if any(row.measure == info.name for info in manifest.measures)
    ]
    return Scores(
        cases=cases,
        rows=(*scored, *failed),
        release=manifest.release_label,
        release_digest=manifest.release_digest,
        log_digest=log.digest,
        suite_digest=manifest.suite_digest,
        judge_digest=manifest.judge_digest,
        declared={info.name: (info.kind, info.higher_is_better) for info in manifest.measures},
    )


def wrong_value(value: float, rule: MeasurePolicy) -> str | None:
    """Say why a measure can't have this value, or None when it can."""
    if not isfinite(value):
        return "a finite number was expected; write an error instead of a value that isn't known"
    if rule.kind == "binary" and value not in (0.0, 1.0):
        return "a binary measure has 0 or 1"
    if rule.kind == "positive" and value < 0:
        return "a positive measure has 0 or more"
    # A cosine of two equal float32 vectors may be 1.0000001.
    low, high = rule.range[0] - _SLACK, rule.range[1] + _SLACK
    if rule.kind == "bounded" and not low <= value <= high:
        return f"the policy's range is {list(rule.range)}"
    return None


def check_values(scores: Scores, policy: GatePolicy) -> None:
    """Refuse scores that their measures can't have.

    Raises:
        ScoresError: a row names an unknown case, repeats another, or holds an impossible value;
            or the source and the policy disagree about a measure's kind or direction.
    """
    # One look at each measure as a whole; row by row only to find out which one is wrong.
    doubtful = any(
        _doubtful(rows, policy.measures.get(measure), scores.places)
        for measure, rows in scores.rows_of.items()
    ) or any(not cases <= scores.places.keys() for cases in scores.suite_problems.values())
    seen: set[tuple[str, str, int, bool]] = set()
    for row in scores.rows if doubtful else ():
        rule = policy.measures.get(row.measure)
        reason = wrong_value(row.value, rule) if rule and row.value is not None else None
        key = (row.case_id, row.measure, row.repeat, row.value is None)
        if row.case_id not in scores.places:
            reason = "the case isn't one of the suite's"
        elif key in seen and row.value is not None:
            reason = "this row was given before"
        seen.add(key)
        if reason:
            raise ScoresError(
                f"{scores.release or 'A release'} has {row.measure} = {row.value!r} "
                f"for case {row.case_id!r}: {reason}.",
                next_step="Correct the measure, or its kind in configs/gate.yaml.",
            )
    for name, rule in policy.measures.items():
        declared = scores.declared.get(name)
        wanted = (rule.kind, rule.direction == "higher")
        if declared is not None and declared != wanted:
            direction = "higher" if declared[1] else "lower"
            raise ScoresError(
                f"The policy calls {name!r} {rule.kind} with {rule.direction!r} as better, but the "
                f"evaluation measured it as {declared[0]} with {direction!r} as better.",
                next_step=f"Correct measures.{name} in configs/gate.yaml.",
            )


def _json(content: Any) -> str:
    return canonical_json(content).decode()


def _doubtful(
    rows: Sequence[ScoreRow], rule: MeasurePolicy | None, cases: Mapping[str, int]
) -> bool:
    """Whether a row of one measure may be wrong."""
    named = {row.case_id for row in rows}
    if not named <= cases.keys():
        return True
    if len(named) < len(rows) and len({(row.case_id, row.repeat) for row in rows}) < len(rows):
        return True
    values = [row.value for row in rows if row.value is not None]
    if rule is None or not values:
        return False
    # What lies between two values that a range allows is allowed too; NaN is least and greatest.
    array = np.array(values)
    some = set(values) if rule.kind == "binary" else {array.min(), array.max()}
    return any(wrong_value(value, rule) for value in some)
