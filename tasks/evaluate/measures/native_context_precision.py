"""Passages and reference -> whether useful passages come first, all judged in one call."""

from tasks.config import Settings
from tasks.evaluate.measures.base import CaseResult, MeasureContext, NotScored
from tasks.evaluate.measures.native_judge import NativeMeasure, Verdict, average_precision


class Verdicts(Settings):
    """What the judge answers: 1 or 0 for each passage, in their order."""

    verdicts: list[Verdict]


def _ask(result: CaseResult) -> str:
    return (
        f"Right answer: {result.case.reference}\n\nFor each of the {len(result.retrieved)} "
        "passages, in their order, give the verdict 1 if it was useful in "
        "arriving at the right answer, else 0."
    )


async def _value(said: Verdicts, result: CaseResult, context: MeasureContext) -> float:
    if len(said.verdicts) != len(result.retrieved):
        raise NotScored(
            "UnreadableJudgement",
            f"the judge gave {len(said.verdicts)} verdicts for {len(result.retrieved)} passages",
            raw=said.model_dump_json(),
        )
    return average_precision(said.verdicts)


NATIVE_CONTEXT_PRECISION = NativeMeasure(
    "native_context_precision",
    _ask,
    Verdicts,
    _value,
    items=lambda result: len(result.retrieved),
    inputs=("question", "reference", "passages"),
)
