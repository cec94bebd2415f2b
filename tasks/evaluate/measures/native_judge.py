"""Case and passages -> one question to the judge, in the order that the server's cache likes.

ragas's prompts begin with instructions and examples and end with the passages, so that nothing of a
case is shared between its measures. Here every measure of a case begins with the same passages and
the same question; what is asked about them comes last, and the answer's form is a JSON schema and
no text. A judge is asked once a measure, also about many passages.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from tasks.answer.generate import render_passages
from tasks.evaluate.measures.asking import ask_judge, judge_of
from tasks.evaluate.measures.base import (
    CaseMeasure,
    CaseResult,
    Input,
    MeasureContext,
    NotScored,
    answerable_cases,
    said,
)
from tasks.evaluate.measures.schema import form_schema

if TYPE_CHECKING:
    from tasks.evaluate.suite import Case

Verdict = Literal[0, 1]
"""Servers that don't know schemas may say 2: that can't be read, and is asked for again."""

Value = Callable[[Any, CaseResult, MeasureContext], Awaitable[float]]
"""The judge's answer, the case and what the evaluation has -> the score."""


@dataclass(frozen=True)
class NativeMeasure(CaseMeasure):
    """A measure that is one question to the judge about a case's passages.

    Cases without an answer in the corpus are left out, as in ragas's own measures, unless `cases`
    says otherwise.
    """

    ask: Callable[[CaseResult], str]
    """What is asked after the passages and the question."""
    form: type[BaseModel]
    value: Value
    _: KW_ONLY
    items: Callable[[CaseResult], int | None] = lambda _: None
    """How many items a list in the answer has, where that is known; None: it isn't."""
    inputs: tuple[Input, ...] = ("question", "passages", "answer")
    calls: str = "1"
    cases: "Callable[[Case], bool]" = answerable_cases

    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The value of one case."""
        client, sampling = judge_of(context, measure=self.name)
        if self.needs_answer and not said(result).text.strip():
            raise NotScored("NoValue", "the answer is empty: there is nothing to judge")
        if not result.retrieved:
            raise NotScored("NoValue", "no passage was retrieved: there is nothing to judge")
        judgement = await ask_judge(
            client,
            [{"role": "user", "content": shared_start(result) + self.ask(result)}],
            self.form,
            schema=form_schema(self.form, self.items(result)),
            sampling=sampling,
            what=f"a {self.form.__name__}",
        )
        return await self.value(judgement, result, context)


def shared_start(result: CaseResult) -> str:
    """What all measures of a case begin with, character for character."""
    passages = render_passages(result.retrieved)
    return f"Passages:\n\n{passages}\n\nQuestion: {result.case.question}\n\n"


def share(verdicts: Sequence[Verdict]) -> float:
    """Share of the verdicts that are 1; ragas's faithfulness and context recall.

    Raises:
        NotScored: there are none.
    """
    if not verdicts:
        raise NotScored("NoValue", "the judge named no statement")
    return sum(verdicts) / len(verdicts)


def average_precision(verdicts: Sequence[Verdict]) -> float:
    """Mean of precision@k over the useful passages, best first; 0 when none is useful.

    ragas's context precision (its 1e-10 in the denominator left out).
    """
    hits = [place for place, verdict in enumerate(verdicts) if verdict]
    if not hits:
        return 0.0
    return sum((number + 1) / (place + 1) for number, place in enumerate(hits)) / len(hits)
