import numpy as np
import pytest

from tasks.gate.decide import decide
from tasks.gate.policy import GatePolicy, MeasurePolicy
from tasks.gate.scores import ScoredCase, ScoreRow, Scores

MARGIN = 0.05
STEP = 0.9 * MARGIN
CASES = 400
POLICY = GatePolicy(
    resamples=999,
    spending="none",
    measures={
        "correct": MeasurePolicy(kind="binary", role="primary", direction="higher"),
        "quality": MeasurePolicy(
            kind="bounded", role="guardrail", direction="higher", margin=MARGIN
        ),
    },
)


def release(name: str, passes: int, quality: float, generator: np.random.Generator) -> Scores:
    values = np.clip(quality + generator.normal(0, 0.2, CASES), 0, 1)
    cases = [f"c{i}" for i in range(CASES)]
    return Scores(
        cases=tuple(ScoredCase(case, case) for case in cases),
        rows=(
            *(ScoreRow(c, "correct", float(i < passes)) for i, c in enumerate(cases)),
            *(ScoreRow(c, "quality", float(v)) for c, v in zip(cases, values, strict=True)),
        ),
        release=name,
        release_digest=name,
    )


@pytest.mark.parametrize("anchored", [True, False])
def test_a_hundred_small_steps_down_are_stopped_at_one_margin(anchored: bool) -> None:
    generator = np.random.default_rng(11)
    quality, passes, promotions = 0.6, 50, 0
    for night in range(100):
        # Better on the primary by far, worse on the guardrail by less than its margin; every night
        # all are evaluated anew.
        decision = decide(
            release(f"champion {promotions}", passes, quality, generator),
            release(f"night {night}", passes + 10, quality - STEP, generator),
            POLICY,
            look=None,
            anchor=release("anchor", 50, 0.6, generator) if anchored else None,
        )
        if decision.verdict == "PROMOTE":
            promotions, passes, quality = promotions + 1, passes + 10, quality - STEP
    assert promotions >= 1
    drift = 0.6 - quality
    if anchored:
        assert drift <= MARGIN
    else:
        # Every promotion gives most of a margin away: without an anchor the test would fail.
        assert drift > 1.5 * MARGIN
