"""Measure names -> measures: one small file each."""

from tasks.errors import ConfigError
from tasks.evaluate.measures.abstention import ABSTENTION, REFUSAL
from tasks.evaluate.measures.answer_correct import ANSWER_CORRECT
from tasks.evaluate.measures.base import Measure
from tasks.evaluate.measures.citations import (
    CITATION_PRECISION,
    CITATION_RECALL,
    CITATION_VALIDITY,
)
from tasks.evaluate.measures.contains import CONTAINS
from tasks.evaluate.measures.context_spans import SPAN_PRECISION, SPAN_RECALL
from tasks.evaluate.measures.cost import COST
from tasks.evaluate.measures.deepeval_judge import DEEPEVAL
from tasks.evaluate.measures.exact_match import EXACT_MATCH
from tasks.evaluate.measures.latency import LATENCY
from tasks.evaluate.measures.native_abstention import NATIVE_ABSTENTION
from tasks.evaluate.measures.native_answer_relevancy import NATIVE_ANSWER_RELEVANCY
from tasks.evaluate.measures.native_context_precision import NATIVE_CONTEXT_PRECISION
from tasks.evaluate.measures.native_context_recall import NATIVE_CONTEXT_RECALL
from tasks.evaluate.measures.native_faithfulness import NATIVE_FAITHFULNESS
from tasks.evaluate.measures.ragas_answer_relevancy import ANSWER_RELEVANCY
from tasks.evaluate.measures.ragas_context_precision import CONTEXT_PRECISION
from tasks.evaluate.measures.ragas_context_recall import CONTEXT_RECALL
from tasks.evaluate.measures.ragas_faithfulness import FAITHFULNESS
from tasks.evaluate.measures.retrieval import PATTERNS, retrieval_measure
from tasks.evaluate.measures.rubric import JUDGE_ACCURACY, JUDGE_CLARITY, JUDGE_COMPLETENESS
from tasks.evaluate.measures.token_f1 import TOKEN_F1
from tasks.evaluate.measures.tokens import CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS
from tasks.evaluate.measures.toxicity import TOXICITY

__all__ = ["MEASURES", "measure", "measure_names"]

_ALL: tuple[Measure, ...] = (
    SPAN_PRECISION,
    SPAN_RECALL,
    ANSWER_CORRECT,
    EXACT_MATCH,
    TOKEN_F1,
    CONTAINS,
    ABSTENTION,
    REFUSAL,
    CITATION_VALIDITY,
    TOXICITY,
    FAITHFULNESS,
    ANSWER_RELEVANCY,
    CONTEXT_PRECISION,
    CONTEXT_RECALL,
    NATIVE_FAITHFULNESS,
    NATIVE_ANSWER_RELEVANCY,
    NATIVE_CONTEXT_PRECISION,
    NATIVE_CONTEXT_RECALL,
    NATIVE_ABSTENTION,
    CITATION_RECALL,
    CITATION_PRECISION,
    *DEEPEVAL,
    JUDGE_ACCURACY,
    JUDGE_COMPLETENESS,
    JUDGE_CLARITY,
    LATENCY,
    INPUT_TOKENS,
    CACHED_TOKENS,
    OUTPUT_TOKENS,
    COST,
)
MEASURES: dict[str, Measure] = {each.name: each for each in _ALL}
"""Every measure without a number in its name."""


def measure_names() -> tuple[str, ...]:
    """What `measure` takes; `k` stands for a number."""
    return (*PATTERNS, *MEASURES)


def measure(name: str) -> Measure:
    """The measure of this name, for example `token_f1` or `R@5`.

    Raises:
        ConfigError: no measure is called so; the message lists all.
    """
    found = retrieval_measure(name) or MEASURES.get(name)
    if name == "preference":
        raise ConfigError(
            "The measure 'preference' compares the answers of two releases, and an evaluation has "
            "those of one.",
            next_step="Name it under `measures` in configs/gate.yaml instead; the nightly run asks "
            "for it when both are evaluated.",
        )
    if found is None:
        raise ConfigError(
            f"There is no measure {name!r}; there are {', '.join(measure_names())} "
            "(k is a number, as in R@5).",
            next_step="Correct `measures` in configs/evaluate.yaml.",
        )
    return found
