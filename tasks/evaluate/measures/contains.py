"""Answer -> whether it holds the reference or an alias, word by word."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.abstention import ReferenceMeasure
from tasks.evaluate.measures.words import right_answers, words

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case


def contains(case: "Case", answer: "Answer", abstained: bool) -> float:
    """1 when the words of the reference or of an alias stand in the answer in one piece.

    `heapq.nsmallest` is one word, so it isn't found in `heapq.nsmallest_n`. Where the corpus has
    no answer, 1 for abstaining and 0 for anything else.
    """
    if not case.answerable:
        return float(abstained)
    return float(holds(case, answer))


def holds(case: "Case", answer: "Answer") -> bool:
    """Whether the words of the reference or of an alias stand in the answer in one piece."""
    said = words(answer.text)
    return any(_holds(said, right) for right in right_answers(case))


def _holds(said: tuple[str, ...], right: tuple[str, ...]) -> bool:
    width = len(right)
    return any(said[i : i + width] == right for i in range(len(said) - width + 1))


CONTAINS = ReferenceMeasure(
    "contains",
    contains,
    inputs=("reference", "answer"),
    version=2,
    kind="binary",
    higher_is_better=True,
)
