"""EvalLog -> what was asked, answered and found, case by case."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.evaluate.log import EvalLog
    from tasks.evaluate.measures.base import CaseResult, ScoringFailure


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked."""

    text: str
    reference: str | None
    """None: the documents have no answer, and the application should say so."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved document of one side; `gold` ones hold the answer."""

    doc_id: str
    rank: int
    gold: bool
    new: bool
    """Whether the other side didn't retrieve it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one release said to a case, and what it had found."""

    text: str | None
    error: str | None
    """Why the answer or its score is missing."""
    raw: str | None
    """What a model said and nobody could read."""
    passages: tuple[Passage, ...]
    missed: tuple[str, ...]
    """Gold documents that were not retrieved."""
    latency_s: float | None
    output_tokens: int | None


def questions(log: "EvalLog") -> dict[str, Question]:
    """What was asked, by case id."""
    return {
        case.case_id: Question(case.question, case.reference if case.gold else None)
        for case in log.cases
    }


def answers(log: "EvalLog", other: "EvalLog | None", measure: str) -> dict[str, Answered]:
    """What one side did, by case id.

    Args:
        log: the side.
        other: the side beside it.
        measure: the one whose failures are shown with the case.
    """
    beside = {result.case.case_id: result for result in other.results} if other else {}
    failed = log.failed(measure)
    found = {}
    for result in log.results:
        name = result.case.case_id
        failure = result.failure or failed.get(name)
        found[name] = _answered(result, beside.get(name), failure)
    return found


def _answered(
    result: "CaseResult", other: "CaseResult | None", failure: "ScoringFailure | None"
) -> Answered:
    gold = {span.doc_id for span in result.case.gold}
    seen = {passage.doc_id for passage in other.retrieved} if other else None
    found = {passage.doc_id for passage in result.retrieved}
    answer = result.answer
    return Answered(
        text=answer.text if answer else None,
        error=f"{failure.error_type}: {failure.message}" if failure else None,
        raw=failure.raw if failure else None,
        passages=tuple(
            Passage(
                doc_id=passage.doc_id,
                rank=passage.rank,
                gold=passage.doc_id in gold,
                new=seen is not None and passage.doc_id not in seen,
            )
            for passage in result.retrieved
        ),
        missed=tuple(sorted(gold - found)),
        latency_s=answer.latency_s if answer else None,
        output_tokens=answer.output_tokens if answer else None,
    )
