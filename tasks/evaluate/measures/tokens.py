"""Answer -> tokens that the server counted for it."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.base import AnswerMeasure, NotScored

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case


def _reported(value: int | None, what: str) -> float:
    if value is None:
        raise NotScored("NotReported", f"the server didn't report {what} of this answer")
    return float(value)


def input_tokens(case: "Case", answer: "Answer") -> float:
    """Tokens of the whole prompt: instructions, passages and question."""
    return _reported(answer.input_tokens, "the input tokens")


def cached_tokens(case: "Case", answer: "Answer") -> float:
    """Input tokens that the server's prefix cache already held."""
    return _reported(answer.cached_tokens, "the cached tokens")


def output_tokens(case: "Case", answer: "Answer") -> float:
    """Tokens of the answer."""
    return _reported(answer.output_tokens, "the output tokens")


INPUT_TOKENS = AnswerMeasure(
    "input_tokens",
    input_tokens,
    inputs=("answer", "usage"),
    kind="positive",
    higher_is_better=False,
)
# More of the prompt in the cache is cheaper, so this is the one count that should be high.
CACHED_TOKENS = AnswerMeasure(
    "cached_tokens",
    cached_tokens,
    inputs=("answer", "usage"),
    kind="positive",
    higher_is_better=True,
)
OUTPUT_TOKENS = AnswerMeasure(
    "output_tokens",
    output_tokens,
    inputs=("answer", "usage"),
    kind="positive",
    higher_is_better=False,
)
