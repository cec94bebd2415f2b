"""Reference and passages -> share of the reference's statements that the passages hold."""

from tasks.config import Settings
from tasks.evaluate.measures.base import CaseResult, MeasureContext
from tasks.evaluate.measures.native_judge import NativeMeasure, Verdict, share


class Attribution(Settings):
    """One claim of the reference."""

    statement: str
    attributed: Verdict


class Attributions(Settings):
    """What the judge answers."""

    statements: list[Attribution]


def _ask(result: CaseResult) -> str:
    return (
        f"Right answer: {result.case.reference}\n\nSplit the right answer into its statements. "
        "Give each statement 1 as `attributed` if the passages say it, else 0."
    )


async def _value(said: Attributions, result: CaseResult, context: MeasureContext) -> float:
    return share([row.attributed for row in said.statements])


NATIVE_CONTEXT_RECALL = NativeMeasure(
    "native_context_recall",
    _ask,
    Attributions,
    _value,
    inputs=("question", "reference", "passages"),
)
