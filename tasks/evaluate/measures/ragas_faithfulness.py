"""Answer and passages -> share of the answer's statements that the passages support (ragas)."""

from typing import Any

from tasks.evaluate.measures.base import CaseResult, MeasureContext
from tasks.evaluate.measures.ragas_judge import RagasMeasure, answer_text, judge_llm, passages


def _make(name: str, context: MeasureContext) -> Any:
    llm = judge_llm(name, context)
    from ragas.metrics.collections import Faithfulness

    return Faithfulness(llm=llm)


async def _ask(metric: Any, result: CaseResult) -> Any:
    return await metric.ascore(
        user_input=result.case.question,
        response=answer_text(result),
        retrieved_contexts=passages(result),
    )


FAITHFULNESS = RagasMeasure(
    "faithfulness", _make, _ask, inputs=("question", "passages", "answer"), calls="2"
)
