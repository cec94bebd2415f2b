"""deepeval's prompts -> answers of our judge, so that deepeval computes its own scores from them.

deepeval is optional. Its language model is ours, so that every call goes through the one door; it
reports nothing to its makers, and its other judge, a service on the network, is never asked. In its
version 4 more is better in every one of these metrics: bias is the share of opinions without one.
"""

import asyncio
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tasks.errors import SetupError
from tasks.evaluate.measures.asking import ask_judge, judge_of
from tasks.evaluate.measures.base import (
    CaseMeasure,
    CaseResult,
    Input,
    MeasureContext,
    NotScored,
    answerable_cases,
)
from tasks.serve.label import calling, current_label

if TYPE_CHECKING:
    from tasks.config import Sampling
    from tasks.serve.client import ModelClient

QUIET = {"DEEPEVAL_TELEMETRY_OPT_OUT": "1", "DEEPEVAL_DISABLE_DOTENV": "1"}
"""deepeval's own switches: it sends nothing, and reads no file of the project."""


@cache
def _model_class() -> type[Any]:
    """Our implementation of deepeval's base class; deepeval is imported at the first use."""
    os.environ.update(QUIET)
    from deepeval.models import DeepEvalBaseLLM

    class JudgeLLM(DeepEvalBaseLLM):  # type: ignore[misc]
        """deepeval's language model, behind the one door."""

        def __init__(self, client: "ModelClient", sampling: "Sampling") -> None:
            self.client = client
            self.sampling = sampling
            super().__init__(client.version.name)

        def load_model(self) -> Any:
            return self

        def get_model_name(self) -> str:
            return self.client.version.name

        def generate(self, prompt: str, schema: type[BaseModel] | None = None) -> Any:
            raise NotImplementedError("judging is asynchronous: use a_generate")

        async def a_generate(self, prompt: str, schema: type[BaseModel]) -> BaseModel:
            # One case's calls follow from each other: those that are behind go first.
            with calling(depth=current_label().depth + 1):
                return await ask_judge(
                    self.client,
                    [{"role": "user", "content": prompt}],
                    schema,
                    sampling=self.sampling,
                    what=f"a {schema.__name__}",
                )

    return JudgeLLM


@dataclass(frozen=True)
class DeepevalMeasure(CaseMeasure):
    """A metric of deepeval, with its prompts and its formula."""

    metric: str
    """Its class in `deepeval.metrics`."""

    def require_setup(self) -> None:
        """Say so when deepeval isn't installed.

        Raises:
            SetupError: it isn't.
        """
        if importlib.util.find_spec("deepeval") is None:
            raise SetupError(
                f"The measure {self.name!r} is deepeval's, and deepeval isn't installed.",
                next_step="Install it: .venv/bin/pip install --no-deps "
                "-r requirements/deepeval.txt",
            )

    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The value of one case."""
        client, sampling = judge_of(context, measure=self.name)
        self.require_setup()
        if self.needs_answer and not (result.answer and result.answer.text.strip()):
            raise NotScored("NoValue", "the answer is empty: there is nothing to judge")
        if "passages" in self.inputs and not result.retrieved:
            raise NotScored("NoValue", "no passage was retrieved: there is nothing to judge")
        # Importing deepeval takes seconds.
        make = await context.once.get(
            ("deepeval", self.metric), lambda: asyncio.to_thread(_maker, self.metric)
        )
        # A metric keeps its last case, so that each case needs one of its own.
        metric, test_case = make(_model_class()(client, sampling), result)
        try:
            value = await metric.a_measure(test_case, _show_indicator=False)
        except ValueError as error:
            raise NotScored("RefusedByDeepeval", str(error)) from error
        if value is None or not 0 <= value <= 1:
            raise NotScored("NoValue", f"deepeval gave {value!r} instead of a value from 0 to 1")
        return float(value)


def _maker(name: str) -> Callable[[Any, CaseResult], tuple[Any, Any]]:
    _model_class()
    from deepeval import metrics
    from deepeval.test_case import LLMTestCase

    def make(model: Any, result: CaseResult) -> tuple[Any, Any]:
        metric = getattr(metrics, name)(model=model, eval_mode="llm", include_reason=False)
        test_case = LLMTestCase(
            input=result.case.question,
            # Its retrieval metrics want one too, and don't look at it.
            actual_output=result.answer.text if result.answer is not None else "",
            expected_output=result.case.reference,
            retrieval_context=[passage.text for passage in result.retrieved],
        )
        return metric, test_case

    return make


def _measure(name: str, metric: str, inputs: tuple[Input, ...], calls: str) -> DeepevalMeasure:
    return DeepevalMeasure(
        f"deepeval_{name}", metric, inputs=inputs, calls=calls, cases=answerable_cases
    )


DEEPEVAL = (
    _measure("answer_relevancy", "AnswerRelevancyMetric", ("question", "answer"), "2"),
    _measure("faithfulness", "FaithfulnessMetric", ("question", "passages", "answer"), "3"),
    _measure(
        "contextual_precision",
        "ContextualPrecisionMetric",
        ("question", "reference", "passages"),
        "1",
    ),
    _measure("contextual_recall", "ContextualRecallMetric", ("reference", "passages"), "1"),
    _measure(
        "contextual_relevancy", "ContextualRelevancyMetric", ("question", "passages"), "1 a passage"
    ),
    _measure("bias", "BiasMetric", ("question", "answer"), "2"),
    _measure("toxicity", "ToxicityMetric", ("question", "answer"), "2"),
)
