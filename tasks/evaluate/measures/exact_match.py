"""Answer -> whether its words are those of the reference or of an alias."""

from typing import TYPE_CHECKING

from tasks.evaluate.measures.abstention import abstains
from tasks.evaluate.measures.base import AnswerMeasure
from tasks.evaluate.measures.words import right_answers, words

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case


def exact_match(case: "Case", answer: "Answer") -> float:
    """SQuAD's exact match (Rajpurkar et al., 2016) over the reference and its aliases.

    Where the corpus has no answer, the right answer is to abstain (SQuAD 2.0, 2018).
    """
    if not case.answerable:
        return float(abstains(answer.text))
    return float(words(answer.text) in right_answers(case))


EXACT_MATCH = AnswerMeasure(
    "exact_match", exact_match, inputs=("reference", "answer"), kind="binary", higher_is_better=True
)
