"""Answer -> what it cost."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.base import AnswerMeasure, NotScored

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case


def cost(case: "Case", answer: "Answer") -> float:
    """Cost when the answer was made, in the currency of the model's price."""
    if answer.cost is None:
        raise NotScored("NotReported", "the server didn't report the tokens that cost money")
    return answer.cost


COST = AnswerMeasure(
    "cost", cost, inputs=("answer", "usage"), kind="positive", higher_is_better=False
)
