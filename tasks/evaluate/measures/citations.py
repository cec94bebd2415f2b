"""Answer with citations such as [1] or [2, 3] -> whether the cited passages say what it says.

As in Gao et al., "Enabling Large Language Models to Generate Text with Citations" (ALCE, EMNLP
2023), with the judge in the place of their entailment model, and the passages' numbers those of the
prompt. It sees the cited passages and one sentence, never the others:

    recall    = share of the sentences that the passages they cite support together
    precision = share of the citations that their sentence needs: it is supported, and the passage
                supports it alone or its others don't without that one

A sentence without a citation isn't supported. A passage that doesn't exist supports nothing, so
citing it is never needed.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.config import Settings
from tasks.evaluate.measures.asking import ask_all, ask_judge, judge_of
from tasks.evaluate.measures.base import (
    CaseMeasure,
    CaseResult,
    MeasureContext,
    NotScored,
    answerable_cases,
    said,
)
from tasks.evaluate.measures.native_judge import Verdict

_CITATION = re.compile(r"\s*\[(\d+(?:\s*[,;]\s*\d+)*)\]")
_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
_END = re.compile(r"[.!?](?:\s*\[\d[\d\s,;]*\])*(?=\s|\Z)|\n+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence without its citations, and the numbers that it cites, each once."""

    text: str
    cited: tuple[int, ...]


def sentences(answer: str) -> tuple[Sentence, ...]:
    """Split an answer; citations after a full stop belong to the sentence before it.

    An index in code, such as `argv[1]` between backticks, is no citation.
    """
    masked = _CODE.sub(lambda found: "x" * len(found[0]), answer)
    ends = [found.end() for found in _END.finditer(masked)]
    found: list[Sentence] = []
    for start, end in zip([0, *ends], [*ends, len(answer)], strict=True):
        marks = list(_CITATION.finditer(masked, start, end))
        cited = [int(number) for mark in marks for number in re.split(r"\s*[,;]\s*", mark[1])]
        edges = [start, *(edge for mark in marks for edge in mark.span()), end]
        pieces = zip(edges[::2], edges[1::2], strict=True)
        text = " ".join("".join(answer[left:right] for left, right in pieces).split())
        if re.search(r"\w", text):
            found.append(Sentence(text, tuple(dict.fromkeys(cited))))
        elif found and cited:
            found[-1] = Sentence(found[-1].text, tuple(dict.fromkeys((*found[-1].cited, *cited))))
    return tuple(found)


def cited_sentences(result: CaseResult) -> tuple[Sentence, ...]:
    """The sentences of an answer that cites.

    Raises:
        NotScored: it cites nothing.
    """
    found = sentences(said(result).text)
    if not any(sentence.cited for sentence in found):
        raise NotScored("NoCitation", "the answer cites no passage: there is nothing to check")
    return found


def validity(result: CaseResult) -> float:
    """Share of the citations that point to a passage that was given; no model is asked."""
    cited = [number for sentence in cited_sentences(result) for number in sentence.cited]
    return sum(1 <= number <= len(result.retrieved) for number in cited) / len(cited)


Supports = Callable[[Sentence, tuple[int, ...]], Awaitable[bool]]
"""Whether these passages together say what a sentence says."""


async def recall(found: Sequence[Sentence], given: Collection[int], supports: Supports) -> float:
    """Share of the sentences that are supported by what they cite."""
    held = await ask_all(_held(sentence, given, supports) for sentence in found)
    return sum(held) / len(held)


async def precision(found: Sequence[Sentence], given: Collection[int], supports: Supports) -> float:
    """Share of the citations that a supported sentence needs."""
    needed = await ask_all(_needed(sentence, given, supports) for sentence in found)
    return sum(needed) / sum(len(sentence.cited) for sentence in found)


async def _held(sentence: Sentence, given: Collection[int], supports: Supports) -> bool:
    known = _known(sentence, given)
    return bool(known) and await supports(sentence, known)


async def _needed(sentence: Sentence, given: Collection[int], supports: Supports) -> int:
    if not await _held(sentence, given, supports):
        return 0
    known = _known(sentence, given)
    if len(known) == 1:
        return 1
    count = 0
    for number in known:
        others = tuple(other for other in known if other != number)
        count += await supports(sentence, (number,)) or not await supports(sentence, others)
    return count


def _known(sentence: Sentence, given: Collection[int]) -> tuple[int, ...]:
    # In the passages' order, so that sentences that cite the same begin alike.
    return tuple(sorted(number for number in sentence.cited if number in given))


class Support(Settings):
    """What the judge answers."""

    supported: Verdict


@dataclass(frozen=True)
class ValidityMeasure(CaseMeasure):
    """Whether citations point to passages that were given."""

    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The value of one case."""
        return validity(result)


@dataclass(frozen=True)
class CitationMeasure(CaseMeasure):
    """Recall or precision of citations, by the judge; both share its verdicts."""

    part: Literal["recall", "precision"]

    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The value of one case."""
        found = cited_sentences(result)
        client, sampling = judge_of(context, measure=self.name)

        async def supports(sentence: Sentence, numbers: tuple[int, ...]) -> bool:
            async def ask() -> bool:
                support = await ask_judge(
                    client,
                    [{"role": "user", "content": _question(result, sentence, numbers)}],
                    Support,
                    sampling=sampling,
                    what="a verdict",
                )
                return support.supported == 1

            key = ("citation", result.case.case_id, sentence.text, numbers)
            return await context.once.get(key, ask)

        value = recall if self.part == "recall" else precision
        return await value(found, range(1, len(result.retrieved) + 1), supports)


def _question(result: CaseResult, sentence: Sentence, numbers: tuple[int, ...]) -> str:
    passages = "\n\n".join(
        f"[{number}] {result.retrieved[number - 1].title}\n{result.retrieved[number - 1].text}"
        for number in numbers
    )
    return (
        f"Passages:\n\n{passages}\n\nQuestion: {result.case.question}\n\n"
        f"Sentence of an answer: {sentence.text}\n\nGive 1 as `supported` if all that the sentence "
        "says can be inferred from the passages alone, else 0."
    )


CITATION_VALIDITY = ValidityMeasure(
    "citation_validity", inputs=("passages", "answer"), cases=answerable_cases
)
CITATION_RECALL = CitationMeasure(
    "citation_recall",
    "recall",
    inputs=("question", "passages", "answer"),
    calls="1 a citing sentence",
    cases=answerable_cases,
)
CITATION_PRECISION = CitationMeasure(
    "citation_precision",
    "precision",
    inputs=("question", "passages", "answer"),
    calls="1 a citing sentence, 2 more a citation beside others",
    cases=answerable_cases,
)
