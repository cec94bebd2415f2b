"""Question, reference and answer -> a judge's marks from 1 to 5, three of them from one call."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tasks.config import Settings
from tasks.errors import CallFailed
from tasks.evaluate.measures.asking import ask_judge, judge_of
from tasks.evaluate.measures.base import (
    CaseResult,
    Kind,
    MeasureContext,
    NotScored,
    Score,
    ScoringFailure,
    every_case,
    failed,
    no_answer,
)

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case

RUBRIC_VARIABLES = frozenset({"question", "reference", "answer"})
"""What the prompt of the rubric is given."""
NO_REFERENCE = "The documents hold no answer. The right answer is to say so."
NO_TEXT = "(no text)"


class Marks(Settings):
    """What the judge answers."""

    accuracy: int = Field(ge=1, le=5)
    completeness: int = Field(ge=1, le=5)
    clarity: int = Field(ge=1, le=5)


SCHEMA: dict[str, Any] = {
    "title": "Marks",
    "type": "object",
    "properties": {
        name: {"type": "integer", "enum": [1, 2, 3, 4, 5]} for name in Marks.model_fields
    },
    "required": list(Marks.model_fields),
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class RubricMeasure:
    """One mark of the rubric."""

    name: str
    mark: Literal["accuracy", "completeness", "clarity"]
    version: int = 1
    kind: Kind = "bounded"
    higher_is_better: bool = True
    judged: bool = True

    def applies(self, case: "Case") -> bool:
        """Every case: for one without an answer in the corpus, the right one is to say so."""
        return every_case(case)

    async def score(
        self, results: Sequence[CaseResult], context: MeasureContext
    ) -> list[Score | ScoringFailure]:
        """One row a result; the judge is asked once a case for all three marks.

        Raises:
            ConfigError: the evaluation has no judge or no prompt for it.
            TooManyFailures: the judge's server is gone.
        """
        context.require(context.client, measure=self.name, what="a judge's server")
        return list(await asyncio.gather(*(self._row(result, context) for result in results)))

    async def _row(self, result: CaseResult, context: MeasureContext) -> Score | ScoringFailure:
        case, answer = result.case, result.answer
        if answer is None:
            return no_answer(self.name, result)

        async def ask() -> Marks | NotScored:
            return await self._ask(case, answer, context)

        marks = await context.once.get(("rubric", case.case_id, answer.text), ask)
        if isinstance(marks, NotScored):
            return failed(self.name, case.case_id, marks)
        return Score(case.case_id, self.name, float(getattr(marks, self.mark)))

    async def _ask(
        self, case: "Case", answer: "Answer", context: MeasureContext
    ) -> Marks | NotScored:
        prompt = context.require(context.judge_prompt, measure=self.name, what="a judge's prompt")
        client, sampling = judge_of(context, measure=self.name)
        messages = prompt.render(
            question=case.question,
            reference=case.reference if case.answerable else NO_REFERENCE,
            answer=answer.text or NO_TEXT,
        )
        try:
            return await ask_judge(
                client,
                messages,
                Marks,
                schema=SCHEMA,
                sampling=sampling,
                what="three marks from 1 to 5",
            )
        except CallFailed as error:
            return NotScored(type(error).__name__, error.message)
        except NotScored as error:
            return error


JUDGE_ACCURACY = RubricMeasure("judge_accuracy", "accuracy")
JUDGE_COMPLETENESS = RubricMeasure("judge_completeness", "completeness")
JUDGE_CLARITY = RubricMeasure("judge_clarity", "clarity")
