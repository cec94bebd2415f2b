"""Two eval logs -> case by case: what was won, lost, failed, and in which slices."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tasks.gate.policy import GatePolicy, MeasurePolicy

if TYPE_CHECKING:
    from tasks.evaluate.log import EvalLog
    from tasks.evaluate.measures.base import CaseResult
    from tasks.evaluate.suite import Case

Change = Literal["won", "lost", "same"]


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved document of one side; `gold` ones hold the answer."""

    doc_id: str
    rank: int
    gold: bool
    new: bool
    """Whether the other side didn't retrieve it."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one release did with a case."""

    answer: str | None
    error: str | None
    raw: str | None
    value: float | None
    """Of the measure that sorts the cases; None: failed, or it doesn't apply."""
    passages: tuple[Passage, ...]
    missed: tuple[str, ...]
    """Gold documents that were not retrieved."""
    latency_s: float | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class CaseView:
    """One case, both sides."""

    case: "Case"
    change: Change
    failed: bool
    """Whether a score or an answer is missing on a side."""
    old: Side | None
    new: Side


@dataclass(frozen=True, slots=True)
class Slice:
    """One tag or cluster."""

    name: str
    n: int
    old: float | None
    new: float | None
    won: int
    lost: int


def sorting_measure(policy: GatePolicy) -> str:
    """The measure that says who won a case: the primary, or in a refresh what stood in for it."""
    primary = policy.named("primary")
    if primary:
        return primary[0]
    return policy.must_pass or policy.named("guardrail")[0]


def view_cases(
    policy: GatePolicy, champion: "EvalLog | None", challenger: "EvalLog"
) -> tuple[CaseView, ...]:
    """Every case in the suite's order.

    A failure counts as the gate counts it: the challenger's as the worst value, the champion's as
    the best.
    """
    measure = sorting_measure(policy)
    rule = policy.measures[measure]
    before = {r.case.case_id: r for r in champion.results} if champion else {}
    old_side = _Reader(champion, measure) if champion else None
    new_side = _Reader(challenger, measure)
    views = []
    for result in challenger.results:
        other = before.get(result.case.case_id)
        new = new_side.read(result, other)
        old = old_side.read(other, result) if old_side and other else None
        views.append(
            CaseView(
                case=result.case,
                change=_change(old, new, rule),
                failed=new.error is not None or (old is not None and old.error is not None),
                old=old,
                new=new,
            )
        )
    return tuple(views)


def slices(views: Iterable[CaseView], *, by: Literal["tag", "cluster"]) -> tuple[Slice, ...]:
    """Means and wins of each tag or cluster; those with the most changes first.

    These are for looking, not for deciding: with many slices some differ by chance.
    """
    groups: dict[str, list[CaseView]] = defaultdict(list)
    for view in views:
        for name in view.case.tags if by == "tag" else (view.case.cluster,):
            groups[name].append(view)
    rows = []
    for name, members in groups.items():
        old = [v.old.value for v in members if v.old and v.old.value is not None]
        new = [v.new.value for v in members if v.new.value is not None]
        rows.append(
            Slice(
                name=name,
                n=len(members),
                old=sum(old) / len(old) if old else None,
                new=sum(new) / len(new) if new else None,
                won=sum(v.change == "won" for v in members),
                lost=sum(v.change == "lost" for v in members),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.won - row.lost, -row.n, row.name)))


class _Reader:
    def __init__(self, log: "EvalLog", measure: str) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)
        for score in log.scores:
            if score.measure == measure:
                self._values[score.case_id].append(score.value)
        self._failed = log.failed(measure)

    def read(self, result: "CaseResult", other: "CaseResult | None") -> Side:
        case = result.case
        failure = result.failure or self._failed.get(case.case_id)
        values = self._values.get(case.case_id, [])
        gold = {span.doc_id for span in case.gold}
        seen = {passage.doc_id for passage in other.retrieved} if other else None
        found = {passage.doc_id for passage in result.retrieved}
        passages = tuple(
            Passage(
                doc_id=passage.doc_id,
                rank=passage.rank,
                gold=passage.doc_id in gold,
                new=seen is not None and passage.doc_id not in seen,
            )
            for passage in result.retrieved
        )
        answer = result.answer
        return Side(
            answer=answer.text if answer else None,
            error=f"{failure.error_type}: {failure.message}" if failure else None,
            raw=failure.raw if failure else None,
            value=sum(values) / len(values) if values else None,
            passages=passages,
            missed=tuple(sorted(gold - found)),
            latency_s=answer.latency_s if answer else None,
            output_tokens=answer.output_tokens if answer else None,
        )


def _change(old: Side | None, new: Side, rule: MeasurePolicy) -> Change:
    if old is None:
        return "same"
    sign = 1.0 if rule.direction == "higher" else -1.0
    bad, good = rule.range if sign > 0 else rule.range[::-1]
    before = good if old.error and old.value is None else old.value
    after = bad if new.error and new.value is None else new.value
    if before is None or after is None or before == after:
        return "same"
    return "won" if sign * (after - before) > 0 else "lost"
