"""Answer -> whether it says "I don't know" exactly when the corpus has no answer."""

import re
from typing import TYPE_CHECKING

from tasks.evaluate.measures.base import AnswerMeasure

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case

_SOURCE = r"(?:passages?|context|documents?|documentation|text|sources?)"
_NOT = r"(?:not|never|cannot|cant|isnt|arent|doesnt|dont|wasnt|couldnt|didnt)"
_DO_NOT = r"(?:(?:do|does|did) not|dont|doesnt|didnt)"
_HOLD = r"(?:contain|hold|have|mention|say|include|provide|answer|specify|give|cover)"
PATTERNS = (
    r"i (?:do not|dont|cannot|cant) (?:know|answer|tell|say)",
    r"(?:i am|im) (?:not sure|unsure)",
    r"i (?:cannot|cant|could not|couldnt|did not|didnt) find",
    r"(?:unknown|unanswerable|no answer|not known|not answerable)$",
    rf"{_NOT} (?:\w+ ){{0,3}}(?:in|from|by) (?:the |these |any |given |provided ){{0,3}}{_SOURCE}",
    rf"{_SOURCE} (?:provided |given )?{_DO_NOT} (?:\w+ )?{_HOLD}",
    rf"no (?:relevant )?(?:information|answer|mention) (?:\w+ ){{0,4}}in (?:\w+ ){{0,2}}{_SOURCE}",
)
"""What counts as not knowing, on lower-case words without punctuation.

A pattern must start within the first words of the answer: an anecdote that says "I don't know"
somewhere is no abstention. An empty answer says nothing, so it isn't one either.
"""
FIRST_WORDS = 12

_PATTERN = re.compile("|".join(rf"(?:\b{pattern})" for pattern in PATTERNS))
_NO_PUNCTUATION = re.compile(r"[^\w\s]")


def abstains(text: str) -> bool:
    """Whether an answer says that it doesn't know."""
    said = " ".join(_NO_PUNCTUATION.sub("", text.lower()).split())
    found = _PATTERN.search(said)
    return found is not None and said[: found.start()].count(" ") < FIRST_WORDS


def abstention(case: "Case", answer: "Answer") -> float:
    """1 when the case has an answer or the model abstains, but not both and not neither."""
    return float(case.answerable != abstains(answer.text))


ABSTENTION = AnswerMeasure(
    "abstention", abstention, inputs=("reference", "answer"), kind="binary", higher_is_better=True
)
