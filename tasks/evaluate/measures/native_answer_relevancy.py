"""Answer -> likeness of the questions that it would answer to the one asked, in one call."""

import asyncio
from typing import Any

from tasks.config import Settings
from tasks.evaluate.measures.base import CaseResult, MeasureContext, said
from tasks.evaluate.measures.native_judge import NativeMeasure, Verdict

QUESTIONS = 3
"""ragas's strictness."""


class Question(Settings):
    """A question that the answer would answer."""

    question: str
    noncommittal: Verdict


class Questions(Settings):
    """What the judge answers."""

    questions: list[Question]


def _ask(result: CaseResult) -> str:
    return (
        f"Answer: {said(result).text}\n\n"
        f"Forget the question above. Write {QUESTIONS} different questions to which this "
        "answer would be the answer. Give each 1 as `noncommittal` if the answer is evasive, "
        "vague or says that it doesn't know, else 0."
    )


def relevancy(asked: Any, generated: Any, noncommittal: list[int]) -> float:
    """Mean cosine of the generated questions to the one that was asked; 0 if all are evasive.

    ragas's answer relevancy.

    Args:
        asked: vector of the question, shape (dimensions,).
        generated: vectors, shape (n, dimensions).
        noncommittal: 1 or 0 for each.
    """
    import numpy as np

    asked, generated = np.asarray(asked, np.float64), np.asarray(generated, np.float64)
    norms = np.linalg.norm(generated, axis=1) * np.linalg.norm(asked)
    return float((generated @ asked / norms).mean() * (not all(noncommittal)))


async def _value(judged: Questions, result: CaseResult, context: MeasureContext) -> float:
    embedder = context.require(
        context.embedder, measure="native_answer_relevancy", what="an embedding model"
    )
    texts = [result.case.question, *(row.question for row in judged.questions)]
    # Encoding is work for the processor; calls of other cases wait for the loop.
    vectors = await asyncio.to_thread(embedder.encode, texts)
    return relevancy(vectors[0], vectors[1:], [row.noncommittal for row in judged.questions])


NATIVE_ANSWER_RELEVANCY = NativeMeasure(
    "native_answer_relevancy",
    _ask,
    Questions,
    _value,
    items=lambda _: QUESTIONS,
    inputs=("question", "passages", "answer", "embedder"),
)
