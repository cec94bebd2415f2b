"""Scores without a champion to compare with -> whether they reach the policy's absolute floors."""

import numpy as np

from tasks.gate.checks import check_suite_problems, failure_check
from tasks.gate.decision import Check, FloorResult, Reason, Verdict
from tasks.gate.must_pass import check_must_pass
from tasks.gate.pairs import worst_value
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores

_GIVE_A_FLOOR = "Give a floor in configs/gate.yaml to a measure that is evaluated."


def floor_results(scores: Scores, policy: GatePolicy) -> tuple[FloorResult, ...]:
    """Mean of every measure with a floor, missing scores at their worst value."""
    results = []
    for name, rule in policy.measures.items():
        cases = scores.values_of(name)
        if rule.floor is None or not cases:
            continue
        failed = sum(None in values for values in cases.values())
        if rule.kind == "positive":
            # No worst value exists: the mean is of what was measured, and any failure misses it.
            known = [v for values in cases.values() for v in values if v is not None]
            if not known:
                continue
            mean, complete = float(np.mean(known)), failed == 0
        else:
            bad = worst_value(rule)
            means = [np.mean([bad if v is None else v for v in row]) for row in cases.values()]
            mean, complete = float(np.mean(means)), True
        reached = mean >= rule.floor if rule.direction == "higher" else mean <= rule.floor
        results.append(
            FloorResult(
                measure=name,
                direction=rule.direction,
                mean=mean,
                floor=rule.floor,
                n=len(cases),
                failed=failed,
                met=bool(reached and complete),
            )
        )
    return tuple(results)


def first_checks(
    challenger: Scores, floors: tuple[FloorResult, ...], policy: GatePolicy
) -> tuple[Check, ...]:
    """What has to hold before the floors count."""
    wanted = [name for name, rule in policy.measures.items() if rule.floor is not None]
    absent = tuple(name for name in wanted if name not in {row.measure for row in floors})
    if not wanted:
        text = "The policy has no floor, so nothing says that a first release is good enough."
        have = Check(name="floors", status="failed", text=text, next_step=_GIVE_A_FLOOR)
    elif absent:
        text = f"No scores of: {', '.join(absent)}."
        have = Check(
            name="floors", status="failed", text=text, next_step=_GIVE_A_FLOOR, measures=absent
        )
    else:
        text = "Every measure with a floor has scores."
        have = Check(name="floors", status="passed", text=text)
    return (
        have,
        failure_check(
            {row.measure: row.failed for row in floors},
            {row.measure: row.n for row in floors},
            policy,
        ),
        *check_suite_problems(None, challenger, policy),
        check_must_pass(None, challenger, policy),
    )


def first_verdict(
    checks: tuple[Check, ...], floors: tuple[FloorResult, ...]
) -> tuple[Verdict, tuple[Reason, ...]]:
    """PROMOTE when every floor is reached, REJECT when one is missed on complete scores."""
    invalid = [
        Reason(verdict="HOLD", text=check.text, next_step=check.next_step)
        for check in checks
        if check.status == "failed"
    ]
    missed = [
        Reason(verdict="REJECT", measure=row.measure, text=f"{row.measure} misses its floor.")
        for row in floors
        if not row.met
    ]
    met = [
        Reason(verdict="PROMOTE", measure=row.measure, text=f"{row.measure} reaches its floor.")
        for row in floors
        if row.met
    ]
    if invalid:
        return "HOLD", (*invalid, *missed, *met)
    if missed:
        return "REJECT", (*missed, *met)
    return "PROMOTE", tuple(met)
