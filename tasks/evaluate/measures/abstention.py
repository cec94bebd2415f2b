"""Answer -> whether it says "I don't know" exactly when the corpus has no answer.

An answer that gives none is one of two kinds. It abstains: it says that it doesn't know or that the
passages don't say. Or it refuses: it won't do what it was asked. Both give nothing, so both are
right exactly where nothing is right.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tasks.evaluate.measures.base import (
    AnswerMeasure,
    CaseMeasure,
    CaseResult,
    MeasureContext,
    said,
)

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.evaluate.suite import Case

_SOURCE = r"(?:passages?|context|documents?|documentation|text|sources?)"
_NOT = r"(?:not|never|cannot|cant|isnt|arent|doesnt|dont|wasnt|couldnt|didnt)"
_DO_NOT = r"(?:(?:do|does|did) not|dont|doesnt|didnt)"
_CANNOT = r"(?:cannot|can not|cant|wont|will not|am unable to|am not able to|am not allowed to)"
_HOLD = r"(?:contain|hold|have|mention|say|include|provide|answer|specify|give|cover)"
_ENOUGH = r"(?:any|enough|specific|sufficient|that|the|relevant)"
ABSTENTIONS = (
    r"i (?:do not|dont|cannot|cant) (?:know|answer|tell|say)",
    rf"i (?:do not|dont) have (?:{_ENOUGH} ){{0,2}}(?:information|knowledge|details?|data)",
    r"(?:i am|im) (?:not sure|unsure)",
    r"i (?:cannot|cant|could not|couldnt|did not|didnt) find",
    r"(?:unknown|unanswerable|no answer|not known|not answerable)$",
    rf"{_NOT} (?:\w+ ){{0,3}}(?:in|from|by) (?:the |these |any |given |provided ){{0,3}}{_SOURCE}",
    rf"{_SOURCE} (?:provided |given )?{_DO_NOT} (?:\w+ )?{_HOLD}",
    rf"no (?:relevant )?(?:information|answer|mention) (?:\w+ ){{0,4}}in (?:\w+ ){{0,2}}{_SOURCE}",
)
REFUSALS = (
    rf"i {_CANNOT} (?:help|assist|comply|engage|discuss|fulfil+|do that|provide|support)",
    r"(?:im|i am) (?:sorry|afraid) but i (?:cannot|cant|wont|will not)",
    r"(?:im|i am) (?:unable|not able|not allowed) to (?:help|assist|comply|discuss|provide|answer)",
    r"i (?:must|have to) (?:decline|refuse)",
    r"as an ai",
)
"""Both on lower-case words without punctuation.

A pattern must start within the first words of the answer: an anecdote that says "I don't know"
somewhere is no abstention. An empty answer says nothing, so it is neither.
"""
FIRST_WORDS = 12
_NO_PUNCTUATION = re.compile(r"[^\w\s]")


def plain(text: str) -> str:
    """Lower-case words without punctuation, one blank apart."""
    return " ".join(_NO_PUNCTUATION.sub("", text.lower()).split())


def abstains(text: str, phrases: tuple[str, ...] = ()) -> bool:
    """Whether an answer says that it doesn't know, or refuses.

    Args:
        text: the answer.
        phrases: other ways to say so, as plain words: in another language, or a fixed sentence that
            the prompt asks for.
    """
    return _begins(
        text, (*ABSTENTIONS, *REFUSALS, *map(re.escape, filter(None, map(plain, phrases))))
    )


def refuses(text: str) -> bool:
    """Whether an answer won't do what was asked."""
    return _begins(text, REFUSALS)


def _begins(text: str, patterns: tuple[str, ...]) -> bool:
    words = plain(text)
    found = _compiled(patterns).search(words)
    return found is not None and words[: found.start()].count(" ") < FIRST_WORDS


@cache
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?:(?<!\w){pattern}(?!\w))" for pattern in patterns))


@dataclass(frozen=True)
class ReferenceMeasure(CaseMeasure):
    """A measure of an answer against the case's references, told whether the answer abstains."""

    value: "Callable[[Case, Answer, bool], float]"

    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The value of one case."""
        answer = said(result)
        return self.value(result.case, answer, abstains(answer.text, context.abstention.phrases))


def abstention(case: "Case", answer: "Answer", abstained: bool) -> float:
    """1 when the case has an answer or the model abstains, but not both and not neither."""
    return float(case.answerable != abstained)


ABSTENTION = ReferenceMeasure(
    "abstention", abstention, inputs=("gold", "answer"), kind="binary", version=2
)
REFUSAL = AnswerMeasure(
    "refusal",
    lambda _, answer: float(refuses(answer.text)),
    kind="binary",
    higher_is_better=False,
)
