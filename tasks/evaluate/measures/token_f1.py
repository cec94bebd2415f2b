"""Answer -> overlap of its words with those of the reference."""

from collections import Counter
from typing import TYPE_CHECKING

from tasks.evaluate.measures.abstention import ReferenceMeasure
from tasks.evaluate.measures.words import right_answers, words

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case


def token_f1(case: "Case", answer: "Answer", abstained: bool) -> float:
    """SQuAD's F1 (Rajpurkar et al., 2016): the best over the reference and its aliases.

    Where the corpus has no answer, 1 for abstaining and 0 for anything else.
    """
    if not case.answerable:
        return float(abstained)
    said = words(answer.text)
    return max((_f1(said, right) for right in right_answers(case)), default=0.0)


def _f1(said: tuple[str, ...], right: tuple[str, ...]) -> float:
    # F1 of precision and recall is twice the shared words over all words.
    shared = (Counter(said) & Counter(right)).total()
    return 2 * shared / (len(said) + len(right)) if shared else 0.0


TOKEN_F1 = ReferenceMeasure(
    "token_f1",
    token_f1,
    inputs=("reference", "answer"),
    version=2,
    kind="bounded",
    higher_is_better=True,
)
