"""Answer -> whether its words are those of the reference or of an alias."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.abstention import ReferenceMeasure
from tasks.evaluate.measures.words import right_answers, words

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case


def exact_match(case: "Case", answer: "Answer", abstained: bool) -> float:
    """SQuAD's exact match (Rajpurkar et al., 2016) over the reference and its aliases.

    Where the corpus has no answer, the right answer is to abstain (SQuAD 2.0, 2018).
    """
    if not case.answerable:
        return float(abstained)
    return float(words(answer.text) in right_answers(case))


EXACT_MATCH = ReferenceMeasure(
    "exact_match",
    exact_match,
    inputs=("reference", "answer"),
    version=2,
    kind="binary",
    higher_is_better=True,
)
