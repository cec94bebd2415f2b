"""Answer -> likeness of the questions that it would answer to the one that was asked (ragas)."""

from typing import Any

from tasks.evaluate.measures.base import CaseResult, MeasureContext
from tasks.evaluate.measures.ragas_judge import (
    RagasMeasure,
    answer_text,
    judge_embedding,
    judge_llm,
)


def _make(name: str, context: MeasureContext) -> Any:
    llm, embedding = judge_llm(name, context), judge_embedding(name, context)
    from ragas.metrics.collections import AnswerRelevancy

    return AnswerRelevancy(llm=llm, embeddings=embedding)


async def _ask(metric: Any, result: CaseResult) -> Any:
    return await metric.ascore(user_input=result.case.question, response=answer_text(result))


# A mean of cosines, so it may fall below 0 for an answer to quite another question.
ANSWER_RELEVANCY = RagasMeasure(
    "answer_relevancy",
    _make,
    _ask,
    lowest=-1.0,
    inputs=("question", "answer", "embedder"),
    calls="3",
)
