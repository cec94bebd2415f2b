"""Question, reference and answer -> a judge's marks from 1 to 5, three of them from one call."""

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tasks.config import Settings
from tasks.errors import CallFailed
from tasks.evaluate.measures.asking import ask_judge, judge_of
from tasks.evaluate.measures.base import (
    CaseMeasure,
    CaseResult,
    Input,
    MeasureContext,
    NotScored,
    said,
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


@dataclass(frozen=True)
class RubricMeasure(CaseMeasure):
    """One mark of the rubric.

    Every case has it: for one without an answer in the corpus, the right one is to say so.
    """

    mark: Literal["accuracy", "completeness", "clarity"]
    _: KW_ONLY
    inputs: tuple[Input, ...] = ("question", "reference", "answer")
    calls: str = "1 for all three"

    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The mark; the judge is asked once a case for all three."""
        case, answer = result.case, said(result)

        async def ask() -> Marks | NotScored:
            return await self._ask(case, answer, context)

        marks = await context.once.get(("rubric", case.case_id, answer.text), ask)
        if isinstance(marks, NotScored):
            raise marks
        return float(getattr(marks, self.mark))

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
