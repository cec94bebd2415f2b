"""Retrieved documents -> ranking measures of the gold documents, by ir_measures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.evaluate.measures.base import (
    CaseResult,
    Measure,
    MeasureContext,
    Score,
    ScoringFailure,
    answerable_cases,
)

PATTERNS = ("R@k", "P@k", "nDCG@k", "RR")
_NAME = re.compile(r"(?:R|P|nDCG)@[1-9][0-9]*|RR(?:@[1-9][0-9]*)?")


@dataclass(frozen=True)
class RetrievalMeasure(Measure):
    """A ranking measure in ir_measures' words: recall, precision, nDCG or reciprocal rank.

    Ranked are documents: a document is relevant when it holds a gold span, and its place is that
    of its first chunk among the documents. So a document counts once, however it is chunked.
    """

    async def score(
        self, results: Sequence[CaseResult], context: MeasureContext
    ) -> list[Score | ScoringFailure]:
        """One row a result, whether or not it was answered."""
        import ir_measures
        from ir_measures import Qrel, ScoredDoc

        # Positions stand for cases, so that a case id may be any text.
        gold = [
            Qrel(str(position), doc_id, 1)
            for position, result in enumerate(results)
            for doc_id in {span.doc_id for span in result.case.gold}
        ]
        ranked = [
            ScoredDoc(str(position), doc_id, -float(place))
            for position, result in enumerate(results)
            for place, doc_id in enumerate(_documents(result))
        ]
        if not gold:
            return []
        values = {
            row.query_id: row.value
            for row in ir_measures.iter_calc([ir_measures.parse_measure(self.name)], gold, ranked)
        }
        return [
            Score(result.case.case_id, self.name, float(values[str(position)]))
            for position, result in enumerate(results)
        ]


def _documents(result: CaseResult) -> list[str]:
    """Document ids in the order of their first chunk."""
    by_rank = sorted(result.retrieved, key=lambda chunk: chunk.rank)
    return list(dict.fromkeys(chunk.doc_id for chunk in by_rank))


def retrieval_measure(name: str) -> RetrievalMeasure | None:
    """The measure of this name, or None where no ranking measure is called so."""
    if not _NAME.fullmatch(name):
        return None
    # Cases without an answer in the corpus have no gold document.
    return RetrievalMeasure(name, inputs=("gold", "passages"), cases=answerable_cases)
