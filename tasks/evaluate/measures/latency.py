"""Answer -> seconds that the model took."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.base import AnswerMeasure

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case


def latency_s(case: "Case", answer: "Answer") -> float:
    """Seconds from sending the request to the last byte, when the answer was made."""
    return answer.latency_s


LATENCY = AnswerMeasure(
    "latency_s", latency_s, inputs=("answer", "usage"), kind="positive", higher_is_better=False
)
