"""Answer -> right or wrong, in a way that neither a list of everything nor silence can pass."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.abstention import abstains
from tasks.evaluate.measures.base import AnswerMeasure
from tasks.evaluate.measures.contains import contains

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case

MOST_WORDS = 40
"""A short answer is asked for; a longer one may hold the reference by listing everything."""


def answer_correct(case: "Case", answer: "Answer") -> float:
    """1 for a short, whole answer that holds the reference; without one, for abstaining."""
    abstained = abstains(answer.text)
    if not case.answerable:
        return float(abstained)
    # Cut at the token limit, it is no answer that somebody could be given.
    whole = answer.finish_reason != "length"
    short = len(answer.text.split()) <= MOST_WORDS
    return float(whole and short and not abstained and contains(case, answer) == 1.0)


ANSWER_CORRECT = AnswerMeasure(
    "answer_correct",
    answer_correct,
    inputs=("reference", "answer"),
    kind="binary",
    higher_is_better=True,
    version=2,
)
