"""Scores of two releases + policy -> PROMOTE, HOLD or REJECT, always with reasons.

A pure function: equal inputs give equal bytes. PROMOTE needs every condition at once, so the
guardrails need no correction for their number. REJECT needs evidence of harm. All else is HOLD,
and each reason to hold says what would settle it.
"""

import numpy as np

from tasks.gate.checks import (
    check_comparable,
    check_failures,
    check_measures,
    check_must_pass,
    failure_check,
)
from tasks.gate.compare import compare
from tasks.gate.decision import Check, Comparison, FloorResult, GateDecision, Reason, Verdict
from tasks.gate.pairs import worst_value
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores, check_values


def decide(
    champion: Scores | None, challenger: Scores, policy: GatePolicy, *, seed: int | None = None
) -> GateDecision:
    """Judge a challenger.

    Args:
        champion: scores of the live release; None when there is none: then the challenger has to
            reach the policy's absolute floors.
        challenger: scores of the release under test, on the same suite.
        policy: the rules; use `policy.for_refresh()` when only the corpus changed.
        seed: of the random draws; None takes the policy's.

    Raises:
        ScoresError: the two sides can't be compared, or a score is impossible.
    """
    seed = policy.seed if seed is None else seed
    comparisons: tuple[Comparison, ...] = ()
    floors: tuple[FloorResult, ...] = ()
    if champion is None:
        check_values(challenger, policy)
        floors = _floors(challenger, policy)
        checks = _first_checks(challenger, floors, policy)
        verdict, reasons = _first_verdict(checks, floors)
    else:
        comparable = check_comparable(champion, challenger, policy)
        rows = [compare(name, policy, champion, challenger, seed=seed) for name in policy.measures]
        comparisons = tuple(row for row in rows if row is not None)
        checks = (
            comparable,
            check_measures((champion, challenger), (row.measure for row in comparisons), policy),
            check_failures(comparisons, policy),
            check_must_pass(champion, challenger, policy),
        )
        verdict, reasons = _verdict(checks, comparisons, policy)
    return GateDecision(
        verdict=verdict,
        reasons=reasons,
        comparisons=comparisons,
        floors=floors,
        checks=checks,
        champion=champion.release if champion else None,
        challenger=challenger.release,
        champion_release=champion.release_digest if champion else None,
        challenger_release=challenger.release_digest,
        champion_log=champion.log_digest if champion else None,
        challenger_log=challenger.log_digest,
        champion_scores=champion.digest if champion else None,
        challenger_scores=challenger.digest,
        suite_digest=challenger.suite_digest,
        judge_digest=challenger.judge_digest,
        policy=policy,
        policy_digest=policy.digest,
        seed=seed,
    )


def _verdict(
    checks: tuple[Check, ...], comparisons: tuple[Comparison, ...], policy: GatePolicy
) -> tuple[Verdict, tuple[Reason, ...]]:
    invalid = [_hold(check) for check in checks if check.status == "failed"]
    worse = [
        Reason(verdict="REJECT", measure=row.measure, text=_worse(row))
        for row in comparisons
        if row.outcome == "worse"
    ]
    unclear = [_unclear(row) for row in comparisons if row.outcome == "unclear"]
    passed = [
        Reason(verdict="PROMOTE", measure=row.measure, text=_passed(row))
        for row in comparisons
        if row.outcome in ("better", "not_worse")
    ]
    # Harm is only proved where most scores exist; a lost must-pass case takes nothing away from it.
    trusted = not any(c.status == "failed" and c.name in ("failures", "measures") for c in checks)
    if worse and trusted:
        return "REJECT", (*worse, *invalid, *unclear, *passed)
    if worse or invalid or unclear:
        return "HOLD", (*invalid, *worse, *unclear, *passed)
    return "PROMOTE", tuple(passed)


def _hold(check: Check) -> Reason:
    steps = {
        "failures": "Look at the failures below, remove their cause, and evaluate again.",
        "measures": "Add the measures to configs/evaluate.yaml, or drop them from the policy.",
        "must_pass": "Correct the release, or evaluate these cases again: this version of the gate "
        "doesn't confirm a flip by repeating it, so one flip is enough to hold.",
    }
    return Reason(
        verdict="HOLD",
        text=check.text,
        next_step=steps.get(check.name, ""),
        measure=check.measures[0] if check.measures else None,
        cases=check.cases,
    )


def _worse(row: Comparison) -> str:
    if row.role == "primary":
        return f"{row.measure} is worse: {row.losses} losses against {row.wins} wins."
    return f"{row.measure} is worse by more than its margin: {row.losses} cases lost."


def _passed(row: Comparison) -> str:
    if row.role == "primary":
        return f"{row.measure} is better: {row.wins} wins against {row.losses} losses."
    return f"{row.measure} is no worse than its margin allows."


def _unclear(row: Comparison) -> Reason:
    what = "better" if row.role == "primary" else "within its margin"
    text = f"{row.measure} is not shown to be {what}: {row.wins} wins, {row.losses} losses"
    text += f", {row.ties} ties over {row.n} cases."
    if row.n_unpaired:
        text += f" {row.n_unpaired} of them lack a score and count against the challenger."
    if row.n_unpaired and row.role == "guardrail":
        step = "Remove the cause of the missing scores first: each one counts as the worst value."
    elif row.n_needed is not None:
        step = f"About {row.n_needed} cases would settle it if the difference is as large as seen."
    elif row.role == "primary":
        step = "More cases won't help while the challenger isn't ahead: improve it on the losses."
    else:
        step = f"Look at the {row.losses} cases that {row.measure} lost, and correct the release."
    return Reason(verdict="HOLD", measure=row.measure, text=text, next_step=step)


def _floors(scores: Scores, policy: GatePolicy) -> tuple[FloorResult, ...]:
    results = []
    for name, rule in policy.measures.items():
        cases = scores.by_measure.get(name)
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


def _first_checks(
    challenger: Scores, floors: tuple[FloorResult, ...], policy: GatePolicy
) -> tuple[Check, ...]:
    wanted = [name for name, rule in policy.measures.items() if rule.floor is not None]
    absent = tuple(name for name in wanted if name not in {row.measure for row in floors})
    if not wanted:
        text = "The policy has no floor, so nothing says that a first release is good enough."
        have = Check(name="floors", status="failed", text=text)
    elif absent:
        text = f"No scores of: {', '.join(absent)}."
        have = Check(name="floors", status="failed", text=text, measures=absent)
    else:
        text = "Every measure with a floor has scores."
        have = Check(name="floors", status="passed", text=text)
    over = tuple(r.measure for r in floors if r.failed > policy.failure_limit * r.n)
    worst = max((row.failed for row in floors), default=0)
    return (
        have,
        failure_check(measures=over, worst=worst),
        check_must_pass(None, challenger, policy),
    )


def _first_verdict(
    checks: tuple[Check, ...], floors: tuple[FloorResult, ...]
) -> tuple[Verdict, tuple[Reason, ...]]:
    invalid = [
        _hold(check)
        if check.name != "floors"
        else Reason(
            verdict="HOLD",
            text=check.text,
            next_step="Give a floor in configs/gate.yaml to a measure that is evaluated.",
        )
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
