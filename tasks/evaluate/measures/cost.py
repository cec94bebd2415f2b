"""Answer -> what it cost."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.base import AnswerMeasure, NotScored

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case


def cost(case: "Case", answer: "Answer") -> float:
    """Cost when the answer was made, in the currency of the model's price."""
    # None: the price is per token and the server didn't count them.
    value: float | None = answer.cost
    if value is None:
        raise NotScored("NotReported", "the server didn't report the tokens that cost money")
    return value


COST = AnswerMeasure("cost", cost, kind="positive", higher_is_better=False)
