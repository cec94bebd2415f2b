"""Passages and reference -> share of the reference's statements that the passages hold (ragas)."""

from typing import Any

from tasks.evaluate.measures.base import CaseResult, MeasureContext
from tasks.evaluate.measures.ragas_judge import RagasMeasure, judge_llm, passages


def _make(name: str, context: MeasureContext) -> Any:
    llm = judge_llm(name, context)
    from ragas.metrics.collections import ContextRecall

    return ContextRecall(llm=llm)


async def _ask(metric: Any, result: CaseResult) -> Any:
    return await metric.ascore(
        user_input=result.case.question,
        reference=result.case.reference,
        retrieved_contexts=passages(result),
    )


CONTEXT_RECALL = RagasMeasure(
    "context_recall", _make, _ask, inputs=("question", "reference", "passages"), calls="1"
)
