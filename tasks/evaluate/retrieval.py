"""Two indexes + one suite -> retrieval side by side, before a token is spent on answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.errors import SuiteError
from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import CaseResult, MeasureContext, Score
from tasks.evaluate.suite import Suite
from tasks.index.retrieve import Searcher


@dataclass(frozen=True, slots=True)
class RetrievalSide:
    """One release's way to find passages; the suite's spans must fit its corpus."""

    suite: Suite
    index: Searcher
    top_k: int


@dataclass(frozen=True, slots=True)
class RetrievalChange:
    """Mean of a retrieval measure in the old and the new index, over the same n questions."""

    measure: str
    old: float
    new: float
    n: int


def compare_retrieval(
    old: RetrievalSide, new: RetrievalSide, *, measures: Sequence[str]
) -> tuple[RetrievalChange, ...]:
    """Search every answerable question in both indexes.

    Args:
        old: the live side.
        new: the side under test, with the same cases.
        measures: names of retrieval measures.

    Raises:
        SuiteError: the sides have different cases.
    """
    if [case.case_id for case in old.suite.cases] != [case.case_id for case in new.suite.cases]:
        raise SuiteError(
            f"The two sides have different cases ({len(old.suite.cases)} and "
            f"{len(new.suite.cases)}); expected one suite.",
            next_step="Test both indexes with the same suite file.",
        )
    before, after = _values(old, measures), _values(new, measures)
    return tuple(
        RetrievalChange(
            measure=name,
            old=sum(before[name].values()) / len(before[name]),
            new=sum(after[name].values()) / len(after[name]),
            n=len(before[name]),
        )
        for name in measures
        if before[name] and after[name]
    )


def _values(side: RetrievalSide, measures: Sequence[str]) -> dict[str, dict[str, float]]:
    cases = [case for case in side.suite.cases if case.answerable]
    found = side.index.search([case.question for case in cases], top_k=side.top_k)
    results = [
        CaseResult(case=case, retrieved=tuple(passages), answer=None)
        for case, passages in zip(cases, found, strict=True)
    ]

    async def score() -> dict[str, dict[str, float]]:
        context = MeasureContext()
        rows = {name: await measure(name).score(results, context) for name in measures}
        return {
            name: {row.case_id: row.value for row in scored if isinstance(row, Score)}
            for name, scored in rows.items()
        }

    return asyncio.run(score())
