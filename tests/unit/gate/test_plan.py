from collections.abc import Callable

import numpy as np
import pytest

from tasks.gate.plan import GatePlan, MeasurePlan, plan
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores
from tasks.gate.spending import look_at

MakeScores = Callable[..., Scores]


def release(make: MakeScores, passes: int, n: int = 130) -> Scores:
    correct = [1.0] * passes + [0.0] * (n - passes)
    return make({"correct": correct, "f1": [0.5] * n, "tokens": [20.0] * n})


def with_effect(policy: GatePolicy, effect: float, **changes: object) -> GatePolicy:
    rules = dict(policy.measures)
    rules["correct"] = rules["correct"].model_copy(update={"effect": effect})
    return policy.model_copy(update={"measures": rules, **changes})


def primary(found: GatePlan) -> MeasurePlan:
    return next(row for row in found.measures if row.role == "primary")


def test_a_plan_knows_the_spread_of_an_earlier_comparison(
    make: MakeScores, policy: GatePolicy
) -> None:
    old, new = release(make, 60), release(make, 75)
    by_pilot = plan(policy, old, look=None, pilot=(old, new))
    alone = plan(policy, old, look=None)
    assert "the comparison of" in by_pilot.source
    assert "assuming" in alone.source
    # 15 of 130 pairs differed; without a pilot it is p (1 - p) = .25.
    assert (primary(by_pilot).detectable or 1) < (primary(alone).detectable or 0)


def test_two_releases_that_score_alike_are_no_pilot(make: MakeScores, policy: GatePolicy) -> None:
    same = release(make, 60)
    by_pilot = primary(plan(policy, same, look=None, pilot=(same, same)))
    assert by_pilot.detectable == primary(plan(policy, same, look=None)).detectable


def test_a_plan_says_how_many_cases_an_effect_takes(make: MakeScores, policy: GatePolicy) -> None:
    found = primary(plan(with_effect(policy, 0.05), release(make, 60), look=None))
    assert found.asked == 0.05
    assert found.power is not None
    assert found.power < 0.8
    assert found.n_needed is not None
    assert found.n_needed > 130


def test_later_looks_can_find_less(make: MakeScores, policy: GatePolicy) -> None:
    found = [
        primary(
            plan(
                policy,
                release(make, 60),
                look=look_at("inverse_square", alpha=0.05, number=number),
            )
        ).detectable
        for number in (1, 5, 50)
    ]
    assert found == sorted(found)


def test_a_champion_that_leaves_no_room_makes_a_run_hopeless(
    make: MakeScores, policy: GatePolicy
) -> None:
    # Four failing cases: even four wins have p = 1/16.
    hopeless = plan(policy, release(make, 126), look=None).hopeless
    assert len(hopeless) == 1
    assert "without a single fault" in hopeless[0]
    assert not plan(policy, release(make, 120), look=None).hopeless


def test_too_few_cases_make_a_run_hopeless(make: MakeScores, policy: GatePolicy) -> None:
    hopeless = plan(policy, release(make, 10, n=40), look=None).hopeless
    assert hopeless == (
        "f1 has 40 unrelated cases and needs 59: with fewer its test can't pass, whatever it sees.",
    )


def test_a_small_suite_is_hopeless_only_where_the_policy_says_so(
    make: MakeScores, policy: GatePolicy
) -> None:
    warns = with_effect(policy, 0.05)
    assert not plan(warns, release(make, 60), look=None).hopeless
    holds = with_effect(policy, 0.05, underpowered="hold")
    assert "don't find an improvement" in plan(holds, release(make, 60), look=None).hopeless[0]


def test_a_guardrail_is_planned_for_a_harmless_challenger(
    make: MakeScores, policy: GatePolicy
) -> None:
    generator = np.random.default_rng(0)
    n = 130
    sides = [
        make(
            {
                "correct": [1.0] * 60 + [0.0] * 70,
                "f1": np.clip(0.5 + generator.normal(0, 0.3, n), 0, 1).tolist(),
                "tokens": [20.0] * n,
            }
        )
        for _ in range(2)
    ]
    found = plan(policy, sides[0], look=None, pilot=(sides[0], sides[1]))
    row = next(row for row in found.measures if row.measure == "f1")
    assert row.power is not None
    assert row.power < 0.8
    assert row.detectable is not None
    assert row.detectable > 0.05
    assert row.n_needed is not None
    assert row.n_needed > n


@pytest.mark.parametrize("n", [130])
def test_a_refresh_has_no_primary_to_plan(make: MakeScores, policy: GatePolicy, n: int) -> None:
    found = plan(policy.for_refresh(), release(make, 60, n=n), look=None)
    assert {row.role for row in found.measures} == {"guardrail"}
    assert not found.hopeless
