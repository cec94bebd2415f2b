"""Answer -> whether it holds the reference or an alias, word by word."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.abstention import abstains
from tasks.evaluate.measures.base import AnswerMeasure
from tasks.evaluate.measures.words import right_answers, words

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case


def contains(case: "Case", answer: "Answer") -> float:
    """1 when the words of the reference or of an alias stand in the answer in one piece.

    `heapq.nsmallest` is one word, so it isn't found in `heapq.nsmallest_n`. Where the corpus has
    no answer, 1 for abstaining and 0 for anything else.
    """
    if not case.answerable:
        return float(abstains(answer.text))
    said = words(answer.text)
    return float(any(_holds(said, right) for right in right_answers(case)))


def _holds(said: tuple[str, ...], right: tuple[str, ...]) -> bool:
    width = len(right)
    return any(said[i : i + width] == right for i in range(len(said) - width + 1))


CONTAINS = AnswerMeasure(
    "contains", contains, inputs=("reference", "answer"), kind="binary", higher_is_better=True
)
