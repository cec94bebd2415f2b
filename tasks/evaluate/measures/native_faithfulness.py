"""Answer and passages -> share of its statements that the passages support, in one call."""

from tasks.config import Settings
from tasks.evaluate.measures.base import CaseResult, MeasureContext, said
from tasks.evaluate.measures.native_judge import NativeMeasure, Verdict, share


class Statement(Settings):
    """One claim of the answer."""

    statement: str
    verdict: Verdict


class Statements(Settings):
    """What the judge answers."""

    statements: list[Statement]


def _ask(result: CaseResult) -> str:
    return (
        f"Answer: {said(result).text}\n\n"
        "Split the answer into statements that can be understood by themselves. "
        "Give each statement the verdict 1 if it can be inferred from the passages alone, else 0."
    )


async def _value(judged: Statements, result: CaseResult, context: MeasureContext) -> float:
    return share([row.verdict for row in judged.statements])


NATIVE_FAITHFULNESS = NativeMeasure("native_faithfulness", _ask, Statements, _value)
