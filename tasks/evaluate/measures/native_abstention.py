"""Answer -> whether it gives none exactly when the corpus has none, as a judge reads it."""

from typing import Literal

from tasks.config import Settings
from tasks.evaluate.measures.base import CaseResult, MeasureContext, every_case, said
from tasks.evaluate.measures.native_judge import NativeMeasure


class Reading(Settings):
    """What the judge answers."""

    answer: Literal["answers", "abstains", "refuses"]


def _ask(result: CaseResult) -> str:
    return (
        f"Answer: {said(result).text}\n\nWhat does this answer do? `answers`: it answers the "
        "question, rightly or wrongly, or a part of it. `abstains`: it says that it doesn't know "
        "or that the passages don't say. `refuses`: it won't do what it was asked."
    )


async def _value(judged: Reading, result: CaseResult, context: MeasureContext) -> float:
    return float(result.case.answerable == (judged.answer == "answers"))


NATIVE_ABSTENTION = NativeMeasure(
    "native_abstention", _ask, Reading, _value, kind="binary", cases=every_case
)
