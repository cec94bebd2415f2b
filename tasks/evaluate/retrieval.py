"""One index + questions with gold spans -> retrieval measures of each; no model is asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.corpus.snapshot import Snapshot
from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import CaseResult, MeasureContext, Score, ScoringFailure
from tasks.evaluate.spans import LostSpan, check_suite, relocate
from tasks.evaluate.suite import Suite
from tasks.index.retrieve import Searcher


@dataclass(frozen=True, slots=True)
class RetrievalSide:
    """One release's way to find passages; the suite's spans must fit its corpus."""

    suite: Suite
    index: Searcher
    top_k: int


@dataclass(frozen=True, slots=True)
class SharedCases:
    """The questions whose answers stand in both of two corpora, with their places in each.

    Attributes:
        old: answerable cases with spans in the old corpus.
        new: the same cases with spans in the new one.
        lost: gold spans that the new corpus doesn't have: problems of the suite.
        left_out: ids of the cases that one of the two corpora can't answer in full.
    """

    old: Suite
    new: Suite
    lost: tuple[LostSpan, ...]
    left_out: tuple[str, ...]


def shared_cases(suite: Suite, old: Snapshot, new: Snapshot) -> SharedCases:
    """Keep the cases that both corpora can answer: no index finds what isn't there any more.

    Args:
        suite: cases with gold spans, and others.
        old: the live corpus.
        new: the new one.
    """
    answerable = tuple(case for case in suite.cases if case.answerable)
    asked = replace(suite, cases=answerable)
    before, now = (check_suite(asked, corpus) for corpus in (old, new))
    without = {span.case_id for span in (*before.lost, *now.lost)}
    kept = replace(suite, cases=tuple(case for case in answerable if case.case_id not in without))
    return SharedCases(
        old=relocate(kept, before, lost="keep"),
        new=relocate(kept, now, lost="keep"),
        lost=now.lost,
        left_out=tuple(case.case_id for case in answerable if case.case_id in without),
    )


def score_retrieval(
    side: RetrievalSide, *, measures: Sequence[str]
) -> list[Score | ScoringFailure]:
    """Search every question and measure what was found.

    Args:
        side: the index and the questions.
        measures: names of measures that need no answer.

    Raises:
        ConfigError: a measure isn't known.
    """
    cases = side.suite.cases
    found = side.index.search([case.question for case in cases], top_k=side.top_k)
    results = [
        CaseResult(case=case, retrieved=tuple(passages), answer=None)
        for case, passages in zip(cases, found, strict=True)
    ]

    async def score() -> list[Score | ScoringFailure]:
        context = MeasureContext()
        rows = [await measure(name).score(results, context) for name in measures]
        return [row for scored in rows for row in scored]

    return asyncio.run(score())
