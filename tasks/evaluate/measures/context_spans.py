"""Retrieved chunks -> how much of the gold text they hold, and how much of them is gold.

Precision and recall of text ranges as in Smith and Troynikov, "Evaluating Chunking Strategies for
Retrieval" (Chroma technical report, 2024), in characters instead of tokens:

    recall    = |gold ∩ retrieved| / |gold|
    precision = |gold ∩ retrieved| / |retrieved|

where both are sets of (document, character position), so that overlapping chunks count once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tasks.evaluate.measures.base import (
    CaseMeasure,
    CaseResult,
    MeasureContext,
    NotScored,
    answerable_cases,
)

if TYPE_CHECKING:
    from tasks.evaluate.suite import Case, Span


class _Range(Protocol):
    @property
    def doc_id(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


Ranges = dict[str, list[tuple[int, int]]]


def merged(ranges: Iterable[_Range]) -> Ranges:
    """Half-open character ranges by document: sorted, without overlaps and empty ones."""
    by_document: Ranges = defaultdict(list)
    for part in sorted(ranges, key=lambda part: (part.doc_id, part.start, part.end)):
        found = by_document[part.doc_id]
        if found and part.start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], part.end))
        elif part.start < part.end:
            found.append((part.start, part.end))
    return by_document


def size(ranges: Ranges) -> int:
    """Characters in merged ranges."""
    return sum(end - start for parts in ranges.values() for start, end in parts)


def shared(left: Ranges, right: Ranges) -> int:
    """Characters that are in both."""
    return sum(
        max(0, min(end, other_end) - max(start, other_start))
        for doc_id in left.keys() & right.keys()
        for start, end in left[doc_id]
        for other_start, other_end in right[doc_id]
    )


def span_recall(result: CaseResult) -> float:
    """Share of the gold characters that were retrieved."""
    gold, found = merged(result.case.gold), merged(result.retrieved)
    if not size(gold):
        raise NotScored("NoGold", "the gold spans of this case are empty")
    return shared(gold, found) / size(gold)


def span_precision(result: CaseResult) -> float:
    """Share of the retrieved characters that are gold."""
    gold, found = merged(result.case.gold), merged(result.retrieved)
    if not size(found):
        raise NotScored("NothingRetrieved", "no passage was retrieved, so none can be right")
    return shared(gold, found) / size(found)


@dataclass(frozen=True)
class SpanMeasure(CaseMeasure):
    """Overlap of retrieved and gold text, for cases with an answer in the corpus."""

    value: Callable[[CaseResult], float]

    def lost_evidence(self, case: "Case") -> "Span | None":
        """Any quote that the corpus lacks: its characters are nowhere."""
        return next((span for span in case.gold if span.lost), None)

    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The value of one case, whether or not it was answered."""
        return self.value(result)


SPAN_PRECISION = SpanMeasure(
    "span_precision", span_precision, inputs=("gold", "passages"), cases=answerable_cases
)
SPAN_RECALL = SpanMeasure(
    "span_recall", span_recall, inputs=("gold", "passages"), cases=answerable_cases
)
