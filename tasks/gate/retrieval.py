"""Old and new index, searched with the same questions -> may the new one serve a challenger?

The rule is that of a corpus refresh: it must be shown that nothing gets worse by more than its
margin.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from tasks.config import Settings
from tasks.errors import SuiteError
from tasks.evaluate.measures.base import Score, ScoringFailure
from tasks.evaluate.retrieval import RetrievalSide, score_retrieval
from tasks.evaluate.suite import Suite
from tasks.gate.compare import compare_all, pair_all
from tasks.gate.decision import Comparison
from tasks.gate.inference import mean_bounds
from tasks.gate.pairs import Pairs
from tasks.gate.policy import GatePolicy, MeasurePolicy
from tasks.gate.scores import ScoredCase, ScoreRow, Scores

Questions = Literal["suite", "probes"]
Status = Literal["passed", "worse", "not_shown", "too_few"]

MEASURES = ("R@{k}", "nDCG@{k}", "span_recall")
"""What an index is tested on; k is the challenger's top_k."""


RETRIEVAL_TESTS_VERSION = 1
"""Bumped when the same indexes, suite and rules would be tested otherwise."""


class RetrievalTest(Settings):
    """One measure on one set of questions, new index against old."""

    questions: Questions
    comparison: Comparison
    could_pass: bool
    """Whether an index that finds exactly the same would pass: else there are too few questions."""

    @property
    def status(self) -> Status:
        """What the test came to.

        passed: no worse than the margin allows. worse: by more than that. not_shown: neither, and
        that stops a challenger. too_few: neither, as no index could have passed; that doesn't.
        """
        match self.comparison.outcome:
            case "not_worse":
                return "passed"
            case "worse":
                return "worse"
            case _:
                return "not_shown" if self.could_pass else "too_few"

    @property
    def stops(self) -> bool:
        """Whether a challenger can't have this index."""
        return self.status in ("worse", "not_shown")


class IndexTests(Settings):
    """All tests of a new index, and which questions couldn't be asked."""

    tests: tuple[RetrievalTest, ...]
    margin: float
    alpha: float
    suite_problems: tuple[str, ...] = ()
    """One sentence for each gold span that the new corpus doesn't have; no fault of the index."""
    left_out: tuple[str, ...] = ()
    """Cases that one of the corpora can't answer; they count for no side."""

    @property
    def refused(self) -> tuple[RetrievalTest, ...]:
        """The tests that keep the index out of a challenger."""
        return tuple(test for test in self.tests if test.stops)


def retrieval_rules(policy: GatePolicy, margin: float, measures: Sequence[str]) -> GatePolicy:
    """The gate's own rules for a refresh, with these measures as guardrails."""
    rule = MeasurePolicy(kind="bounded", role="guardrail", direction="higher", margin=margin)
    return GatePolicy(
        mode="refresh",
        alpha=policy.alpha,
        power=policy.power,
        failure_limit=policy.failure_limit,
        clusters=policy.clusters,
        resamples=policy.resamples,
        seed=policy.seed,
        measures=dict.fromkeys(measures, rule),
    )


def compare_retrieval(
    old: RetrievalSide, new: RetrievalSide, *, questions: Questions, rules: GatePolicy
) -> tuple[RetrievalTest, ...]:
    """Search the same questions in both indexes and compare them question by question.

    Args:
        old: the live index.
        new: the one under test, with the same cases.
        questions: where the cases are from.
        rules: `retrieval_rules`; its measures are those that are compared.

    Raises:
        SuiteError: the sides have different cases.
    """
    if [case.case_id for case in old.suite.cases] != [case.case_id for case in new.suite.cases]:
        raise SuiteError(
            f"The two sides have different cases ({len(old.suite.cases)} and "
            f"{len(new.suite.cases)}); expected one suite.",
            next_step="Test both indexes with the same suite file.",
        )
    measures = tuple(rules.measures)
    before, after = (
        as_scores(side.suite, score_retrieval(side, measures=measures)) for side in (old, new)
    )
    return compare_scores(before, after, questions=questions, rules=rules)


def compare_scores(
    old: Scores, new: Scores, *, questions: Questions, rules: GatePolicy
) -> tuple[RetrievalTest, ...]:
    """`compare_retrieval` where the measures are known already."""
    paired = pair_all(rules, old, new)
    rows = compare_all(rules, paired, alpha=rules.alpha, seed=rules.seed)
    return tuple(
        RetrievalTest(
            questions=questions,
            comparison=row,
            could_pass=_could_pass(paired[row.measure], rules, row),
        )
        for row in rows
    )


def _could_pass(pairs: Pairs, rules: GatePolicy, row: Comparison) -> bool:
    """By the same draws as the test itself: a number near the edge must not decide otherwise."""
    sizes = pairs.sizes()
    bounds = mean_bounds(
        np.zeros_like(sizes), sizes, worst=pairs.worst, resamples=rules.resamples, seed=rules.seed
    )
    return bounds.p_above(row.threshold or 0.0) <= row.alpha


def as_scores(suite: Suite, rows: Iterable[Score | ScoringFailure]) -> Scores:
    """Scores of retrieval in the gate's own form."""
    return Scores(
        cases=tuple(
            ScoredCase(case.case_id, case.cluster or case.case_id, case.tags)
            for case in suite.cases
        ),
        rows=tuple(
            ScoreRow(row.case_id, row.measure, row.value)
            if isinstance(row, Score)
            else ScoreRow(row.case_id, row.measure, None, row.message)
            for row in rows
        ),
    )
