"""Real cases, passages and answers with the fields that a test cares about."""

from typing import Any

from tasks.answer.generate import Answer
from tasks.evaluate.measures.base import CaseResult, ScoringFailure
from tasks.evaluate.suite import Case, Span
from tasks.index.search import Retrieved


def case(case_id: str = "c1", **changes: Any) -> Case:
    values: dict[str, Any] = {
        "case_id": case_id,
        "question": "Which function gives the n smallest elements?",
        "reference": "heapq.nsmallest",
        "gold": (span(),),
        "cluster": "heapq",
        "tags": (),
        "must_pass": False,
        "aliases": (),
    }
    return Case(**(values | changes))


def unanswerable(case_id: str = "c1", **changes: Any) -> Case:
    return case(case_id, **({"gold": (), "reference": ""} | changes))


def span(doc_id: str = "heapq.nsmallest", start: int = 0, end: int = 10) -> Span:
    return Span(doc_id=doc_id, start=start, end=end, quote="x" * (end - start))


def chunk(
    doc_id: str = "heapq.nsmallest",
    start: int = 0,
    end: int = 10,
    *,
    rank: int = 1,
    text: str | None = None,
) -> Retrieved:
    return Retrieved(
        chunk_id=f"{doc_id}:{start}-{end}",
        doc_id=doc_id,
        title=doc_id,
        text="x" * (end - start) if text is None else text,
        start=start,
        end=end,
        score=1 / rank,
        rank=rank,
    )


def answer(text: str = "heapq.nsmallest", case_id: str = "c1", **changes: Any) -> Answer:
    values: dict[str, Any] = {
        "case_id": case_id,
        "text": text,
        "finish_reason": "stop",
        "input_tokens": 700,
        "cached_tokens": 512,
        "output_tokens": 6,
        "latency_s": 0.75,
        "cost": 0.001,
    }
    return Answer(**(values | changes))


def result(
    text: str | None = "heapq.nsmallest",
    *,
    of: Case | None = None,
    retrieved: tuple[Retrieved, ...] = (),
    **changes: Any,
) -> CaseResult:
    """A case with an answer of this text; None: its call failed."""
    asked = of or case()
    if text is None:
        reason = ScoringFailure(asked.case_id, "answer", "CallFailed", "no answer within 1 s", None)
        return CaseResult(asked, retrieved, None, reason)
    return CaseResult(asked, retrieved, answer(text, asked.case_id, **changes))
