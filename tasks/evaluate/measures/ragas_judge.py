"""ragas's prompts -> answers of our judge, so that ragas computes its own scores from them.

ragas calls a language model through its base class `InstructorBaseRagasLLM`. The implementation
here sends ragas's prompt unchanged through the metered client and lets the server force the answer
into the schema of ragas's response model. ragas's own `llm_factory` asks for any JSON and describes
the schema a second time in a system message: more prompt tokens, and fields may be missing.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tasks.evaluate.measures.asking import ask_judge, judge_of
from tasks.evaluate.measures.base import (
    CaseMeasure,
    CaseResult,
    MeasureContext,
    NotScored,
    answerable_cases,
)
from tasks.serve.label import calling, current_label

if TYPE_CHECKING:
    from tasks.config import Sampling
    from tasks.evaluate.suite import Case
    from tasks.index.embed import Embedder
    from tasks.serve.client import ModelClient

TOLERANCE = 1e-6
"""ragas's own rounding, such as a cosine of 1.0000001."""


@cache
def _classes() -> "tuple[type[Any], type[Any]]":
    """Our implementations of ragas's base classes; ragas is imported at the first use."""
    # ragas reports every use to its makers unless this is set before its first import.
    os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")
    from ragas.embeddings.base import BaseRagasEmbedding
    from ragas.llms.base import InstructorBaseRagasLLM

    class JudgeLLM(InstructorBaseRagasLLM):
        """ragas's language model, behind the one door."""

        def __init__(self, client: "ModelClient", sampling: "Sampling") -> None:
            self.client = client
            self.sampling = sampling

        def generate(self, prompt: str, response_model: type[BaseModel]) -> BaseModel:
            raise NotImplementedError("judging is asynchronous: use agenerate")

        async def agenerate(self, prompt: str, response_model: type[BaseModel]) -> BaseModel:
            # One case's calls follow from each other: those that are behind go first.
            with calling(depth=current_label().depth + 1):
                return await ask_judge(
                    self.client,
                    [{"role": "user", "content": prompt}],
                    response_model,
                    sampling=self.sampling,
                    what=f"a {response_model.__name__}",
                )

    class EmbedderEmbedding(BaseRagasEmbedding):
        """ragas's embedding, by the release's embedder."""

        def __init__(self, embedder: "Embedder") -> None:
            super().__init__()
            self.embedder = embedder

        def embed_text(self, text: str, **_: Any) -> list[float]:
            return self.embed_texts([text])[0]

        async def aembed_text(self, text: str, **_: Any) -> list[float]:
            return (await self.aembed_texts([text]))[0]

        def embed_texts(self, texts: list[str], **_: Any) -> list[list[float]]:
            rows: list[list[float]] = self.embedder.encode(texts).tolist()
            return rows

        async def aembed_texts(self, texts: list[str], **_: Any) -> list[list[float]]:
            # Encoding is work for the processor; calls of other cases wait for the loop.
            return await asyncio.to_thread(self.embed_texts, texts)

    return JudgeLLM, EmbedderEmbedding


def judge_llm(measure: str, context: MeasureContext) -> Any:
    """Ragas's language model for this evaluation's judge."""
    return _classes()[0](*judge_of(context, measure=measure))


def judge_embedding(measure: str, context: MeasureContext) -> Any:
    """Ragas's embedding for this evaluation's embedder."""
    embedder = context.require(context.embedder, measure=measure, what="an embedding model")
    return _classes()[1](embedder)


@dataclass(frozen=True)
class RagasMeasure(CaseMeasure):
    """A measure that ragas computes, one case after the other at the same time.

    Cases without an answer in the corpus are left out: they have no reference, and "I don't know",
    which is right for them, makes no claim that could be checked.
    """

    make: Callable[[str, MeasureContext], Any]
    """Measure name and context -> ragas metric."""
    ask: "Callable[[Any, CaseResult], Awaitable[Any]]"
    """ragas metric and case -> ragas MetricResult."""
    _: KW_ONLY
    lowest: float = 0.0
    cases: "Callable[[Case], bool]" = answerable_cases

    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The value of one case."""
        # Importing ragas takes seconds.
        metric = await context.once.get(
            ("ragas", self.name), lambda: asyncio.to_thread(self.make, self.name, context)
        )
        try:
            value = float((await self.ask(metric, result)).value)
        except ValueError as error:
            # ragas refuses an empty answer or empty contexts in this way.
            raise NotScored("RefusedByRagas", str(error)) from error
        return self._checked(value)

    def _checked(self, value: float) -> float:
        # Also false for NaN, by which ragas says that the judge named no statement.
        if not self.lowest - TOLERANCE <= value <= 1 + TOLERANCE:
            raise NotScored(
                "NoValue",
                f"ragas gave {value!r} instead of a value from {self.lowest:g} to 1",
            )
        return value


def answer_text(result: CaseResult) -> str:
    """The answer; ragas refuses an empty one."""
    return result.answer.text if result.answer is not None else ""


def passages(result: CaseResult) -> list[str]:
    """Texts of the retrieved passages, best first."""
    return [passage.text for passage in result.retrieved]
