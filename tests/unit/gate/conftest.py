"""A small policy and scores made from plain lists."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from tasks.gate.policy import GatePolicy, MeasurePolicy
from tasks.gate.scores import ScoredCase, ScoreRow, Scores

MakeScores = Callable[..., Scores]


@pytest.fixture(scope="session")
def policy() -> GatePolicy:
    return GatePolicy(
        resamples=1999,
        must_pass="correct",
        measures={
            "correct": MeasurePolicy(
                kind="binary", role="primary", direction="higher", margin=0.05, floor=0.5
            ),
            "f1": MeasurePolicy(kind="bounded", role="guardrail", direction="higher", margin=0.05),
            "tokens": MeasurePolicy(
                kind="positive", role="guardrail", direction="lower", margin=0.25
            ),
            "clarity": MeasurePolicy(
                kind="bounded", role="report", direction="higher", range=(1.0, 5.0)
            ),
        },
    )


@pytest.fixture(scope="session")
def make() -> MakeScores:
    def make_scores(
        values: Mapping[str, Sequence[float | None]],
        *,
        release: str = "r",
        suite: str = "s",
        judge: str = "j",
        clusters: Sequence[str] | None = None,
        must_pass: Sequence[int] = (),
        names: str = "case",
        gone: Sequence[int] = (),
    ) -> Scores:
        n = len(next(iter(values.values())))
        ids = [f"{names}-{i:03d}" for i in range(n)]
        return Scores(
            cases=tuple(
                ScoredCase(case, clusters[i] if clusters else case, (), i in must_pass)
                for i, case in enumerate(ids)
            ),
            rows=tuple(
                ScoreRow(ids[i], measure, value, "CallFailed: gone" if value is None else None)
                if i not in gone
                else ScoreRow(ids[i], measure, None, "NotInCorpus: gone", suite_problem=True)
                for measure, row in values.items()
                for i, value in enumerate(row)
            ),
            release=release,
            suite_digest=suite,
            judge_digest=judge,
        )

    return make_scores
