"""Answer -> right or wrong, in a way that neither a list of everything nor silence can pass."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.abstention import ReferenceMeasure
from tasks.evaluate.measures.contains import holds

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case

MOST_WORDS = 40
"""A short answer is asked for; a longer one may hold the reference by listing everything."""


def answer_correct(case: "Case", answer: "Answer", abstained: bool) -> float:
    """1 for a short, whole answer that holds the reference; without one, for abstaining."""
    if not case.answerable:
        return float(abstained)
    # Cut at the token limit, it is no answer that somebody could be given.
    whole = answer.finish_reason != "length"
    short = len(answer.text.split()) <= MOST_WORDS
    return float(whole and short and not abstained and holds(case, answer))


ANSWER_CORRECT = ReferenceMeasure(
    "answer_correct",
    answer_correct,
    inputs=("reference", "answer"),
    kind="binary",
    higher_is_better=True,
    version=3,
)
