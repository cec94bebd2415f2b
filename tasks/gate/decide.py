"""Scores of two releases + policy -> PROMOTE, HOLD or REJECT, always with reasons.

A pure function: equal inputs give equal bytes. PROMOTE needs every condition at once, so the
guardrails need no correction for their number. REJECT needs evidence of harm. All else is HOLD,
and each reason to hold says what would settle it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from tasks.gate.calibration import JudgeCalibration
from tasks.gate.checks import (
    check_comparable,
    check_failures,
    check_measures,
    check_suite_problems,
    require_enough_cases,
)
from tasks.gate.compare import compare_all, in_unit, pair_all
from tasks.gate.context_checks import (
    check_anchor,
    check_budget,
    check_noise,
    check_power,
    check_slices,
)
from tasks.gate.decision import (
    Check,
    Comparison,
    FloorResult,
    GateDecision,
    Reason,
    SliceResult,
    Verdict,
)
from tasks.gate.first_release import first_checks, first_verdict, floor_results
from tasks.gate.judged import Labels, check_judge, people_of
from tasks.gate.must_pass import Confirmations, check_must_pass
from tasks.gate.noise import NoiseFloor
from tasks.gate.pairs import Pairs
from tasks.gate.policy import GatePolicy
from tasks.gate.preference import check_preference
from tasks.gate.scores import Scores, check_values
from tasks.gate.slices import slice_results
from tasks.gate.spending import Look, look_at

if TYPE_CHECKING:
    from tasks.evaluate.pairwise import Preferences

_EVIDENCE = ("failures", "measures")
"""Without these no p-value can be trusted, not even one that speaks of harm."""


class GateContext(TypedDict, total=False):
    """What `decide` may be told beside the two sets of scores, by its argument's name."""

    anchor: Scores | None
    noise: NoiseFloor | None
    calibration: JudgeCalibration | None
    labels: Labels | None


@dataclass(frozen=True)
class _Findings:
    """All that a verdict is made of."""

    checks: tuple[Check, ...]
    comparisons: tuple[Comparison, ...] = ()
    anchor: tuple[Comparison, ...] = ()
    slices: tuple[SliceResult, ...] = ()
    floors: tuple[FloorResult, ...] = ()


def decide(
    champion: Scores | None,
    challenger: Scores,
    policy: GatePolicy,
    *,
    seed: int | None = None,
    look: int | Look | None = 1,
    anchor: Scores | None = None,
    noise: NoiseFloor | None = None,
    calibration: JudgeCalibration | None = None,
    labels: Labels | None = None,
    confirmations: Confirmations | None = None,
    preferences: "Preferences | None" = None,
) -> GateDecision:
    """Judge a challenger.

    Args:
        champion: scores of the live release; None when there is none: then the challenger has to
            reach the policy's absolute floors.
        challenger: scores of the release under test, on the same suite.
        policy: the rules; use `policy.for_refresh()` when only the corpus changed.
        seed: of the random draws; None takes the policy's.
        look: how often this suite was used to decide, this time included, or what the ledger says
            about it; None takes the policy's whole alpha.
        anchor: scores of a fixed release on the same suite; guardrails are held against it too.
        noise: how far the champion differs from itself on this suite.
        calibration: how far the judge agrees with people.
        labels: what people saw between these two releases, for a judge that can't decide alone.
        confirmations: what lost must-pass cases got when they were asked again.
        preferences: which answers a judge prefers, if it was asked; their scores are in both
            sides' already (`with_preferences`), and what is said of them has no vote.

    Raises:
        ScoresError: the sides can't be compared, a score is impossible, or the cases are too few
            for the policy's tests to pass whatever they show.
    """
    seed = policy.seed if seed is None else seed
    at = None if champion is None or policy.mode == "refresh" else _look(look, policy)
    if champion is None:
        check_values(challenger, policy)
        floors = floor_results(challenger, policy)
        found = _Findings(first_checks(challenger, floors, policy), floors=floors)
        verdict, reasons = first_verdict(found.checks, floors)
    else:
        found = _compare_sides(
            champion,
            challenger,
            policy,
            look=at,
            anchor=anchor,
            noise=noise,
            calibration=calibration,
            labels=labels,
            confirmations=confirmations,
            preferences=preferences,
            seed=seed,
        )
        verdict, reasons = _verdict(found, policy)
    return GateDecision(
        verdict=verdict,
        reasons=reasons,
        comparisons=found.comparisons,
        anchor_comparisons=found.anchor,
        slices=found.slices,
        floors=found.floors,
        checks=found.checks,
        champion=champion.release if champion else None,
        challenger=challenger.release,
        champion_release=champion.release_digest if champion else None,
        challenger_release=challenger.release_digest,
        champion_log=champion.log_digest if champion else None,
        challenger_log=challenger.log_digest,
        champion_scores=champion.digest if champion else None,
        challenger_scores=challenger.digest,
        anchor_release=anchor.release_digest if anchor else None,
        anchor_scores=anchor.digest if anchor else None,
        noise_digest=noise.digest if noise else None,
        calibration_digest=calibration.digest if calibration else None,
        look=at,
        suite_digest=challenger.suite_digest,
        judge_digest=challenger.judge_digest,
        policy=policy,
        policy_digest=policy.digest,
        seed=seed,
    )


def worth_a_look(
    champion: Scores,
    challenger: Scores,
    policy: GatePolicy,
    *,
    anchor: Scores | None = None,
    noise: NoiseFloor | None = None,
    calibration: JudgeCalibration | None = None,
    labels: Labels | None = None,
) -> bool:
    """Whether a decision could promote: the evidence is valid, and all that is required is there.

    A look costs a share of alpha, and the same evidence gets the same decision: it is spent only
    when both are worth it. An evaluation that lost too many scores is repeated and costs nothing.

    Raises:
        ScoresError: as for `decide`.
    """
    validity, paired = _validity(champion, challenger, policy)
    missing = (policy.anchor.required and anchor is None) or (
        policy.noise.required and noise is None
    )
    people = people_of(calibration, labels or {}, paired, policy, seed=policy.seed)
    checks = (*validity, check_judge(calibration, people, challenger, policy))
    require_enough_cases(paired, policy, alpha=policy.alpha)
    return not missing and all(check.status != "failed" for check in checks)


def _look(look: int | Look | None, policy: GatePolicy) -> Look | None:
    if isinstance(look, int):
        return look_at(policy.spending, alpha=policy.alpha, number=look)
    return look


def _validity(
    champion: Scores, challenger: Scores, policy: GatePolicy
) -> tuple[tuple[Check, ...], dict[str, Pairs]]:
    """What can be known before the result is looked at, and the pairs that it is known of."""
    comparable = check_comparable(champion, challenger, policy)
    paired = pair_all(policy, champion, challenger)
    return (
        comparable,
        check_measures(champion, challenger, paired, policy),
        check_failures(paired, policy),
        *check_suite_problems(champion, challenger, policy),
    ), paired


def _compare_sides(
    champion: Scores,
    challenger: Scores,
    policy: GatePolicy,
    *,
    look: Look | None,
    anchor: Scores | None,
    noise: NoiseFloor | None,
    calibration: JudgeCalibration | None,
    labels: Labels | None,
    confirmations: Confirmations | None,
    preferences: "Preferences | None",
    seed: int,
) -> _Findings:
    alpha = look.alpha if look else policy.alpha
    validity, paired = _validity(champion, challenger, policy)
    require_enough_cases(paired, policy, alpha=alpha)
    people = people_of(calibration, labels or {}, paired, policy, seed=seed)
    comparisons = compare_all(policy, paired, alpha=alpha, seed=seed, people=people)
    slices, margin = _slices(challenger, paired, policy, seed=seed)
    behind = _against_anchor(anchor, champion, challenger, policy, seed=seed)
    return _Findings(
        checks=(
            *validity,
            check_must_pass(champion, challenger, policy, confirmations),
            check_slices(slices, margin, policy),
            check_anchor(anchor, champion, behind, policy),
            check_noise(noise, challenger, paired, policy),
            check_judge(calibration, people, challenger, policy),
            *((check_preference(preferences),) if preferences else ()),
            check_power(paired, policy, alpha=alpha),
            check_budget(look, policy),
        ),
        comparisons=comparisons,
        anchor=behind,
        slices=slices or (),
    )


def _slices(
    challenger: Scores, paired: Mapping[str, Pairs], policy: GatePolicy, *, seed: int
) -> tuple[tuple[SliceResult, ...] | None, float]:
    """Slices of the primary, or of the must-pass measure, else the first one.

    A refresh has no primary, and that of another serving profile is what it costs.
    """
    if policy.slices is None:
        return None, 0.0
    fallback = policy.must_pass.measure if policy.must_pass else policy.named("guardrail")[0]
    quality = None if policy.primary == policy.cheaper else policy.primary
    name = quality or fallback
    if name not in paired:
        return (), policy.slices.margin
    margin = in_unit(policy.measures[name], policy.slices.margin)
    tags = {case.case_id: case.tags for case in challenger.cases}
    results = slice_results(
        paired[name],
        [tags[case] for case in paired[name].cases],
        policy.slices,
        margin=margin,
        alpha=policy.alpha,
        resamples=policy.resamples,
        seed=seed,
    )
    return results, margin


def _against_anchor(
    anchor: Scores | None,
    champion: Scores,
    challenger: Scores,
    policy: GatePolicy,
    *,
    seed: int,
) -> tuple[Comparison, ...]:
    same = anchor is not None and anchor.release_digest == champion.release_digest
    if anchor is None or (same and anchor.release_digest is not None):
        return ()
    check_comparable(anchor, challenger, policy)
    guardrails = {name: rule for name, rule in policy.measures.items() if rule.role == "guardrail"}
    if not guardrails:
        return ()
    rules = GatePolicy.model_validate(
        policy.model_dump()
        | {"mode": "refresh", "measures": guardrails, "must_pass": None, "cheaper": None}
    )
    return compare_all(rules, pair_all(rules, anchor, challenger), alpha=policy.alpha, seed=seed)


def _verdict(found: _Findings, policy: GatePolicy) -> tuple[Verdict, tuple[Reason, ...]]:
    failed = [check for check in found.checks if check.status == "failed"]
    rejecting = [_reason(check) for check in failed if check.verdict == "REJECT"]
    holding = [_reason(check) for check in failed if check.verdict == "HOLD"]
    worse = [
        Reason(verdict="REJECT", measure=row.measure, text=_worse(row))
        for row in found.comparisons
        if row.outcome == "worse"
    ]
    unclear = [_unclear(row) for row in found.comparisons if row.outcome == "unclear"]
    passed = [
        Reason(verdict="PROMOTE", measure=row.measure, text=_passed(row))
        for row in found.comparisons
        if row.outcome in ("better", "not_worse")
    ]
    harm = [*worse, *rejecting]
    # Harm is only proved where most scores exist.
    trusted = not any(check.name in _EVIDENCE for check in failed)
    if harm and trusted:
        return "REJECT", (*harm, *holding, *unclear, *passed)
    if harm or holding or unclear:
        return "HOLD", (*holding, *harm, *unclear, *passed)
    return "PROMOTE", tuple(passed)


def _reason(check: Check) -> Reason:
    return Reason(
        verdict=check.verdict,
        text=check.text,
        next_step=check.next_step,
        measure=check.measures[0] if check.measures else None,
        cases=check.cases,
    )


def _worse(row: Comparison) -> str:
    if row.role == "primary":
        return f"{row.measure} is worse: {_losses(row)} against {_wins(row)}."
    return f"{row.measure} is worse by more than its margin: {_losses(row)} of {row.n} cases."


def _passed(row: Comparison) -> str:
    if row.role == "primary":
        return f"{row.measure} is better: {_wins(row)} against {_losses(row)}."
    return f"{row.measure} is no worse than its margin allows."


def _unclear(row: Comparison) -> Reason:
    what = "better" if row.role == "primary" else "within its margin"
    text = f"{row.measure} is not shown to be {what}: {_wins(row)}, {_losses(row)} "
    text += f"and {row.ties} without a difference over {row.n} cases."
    if row.n_unpaired:
        text += f" {row.n_unpaired} of them lack a score and count against the challenger."
    if row.n_unpaired and row.role == "guardrail":
        step = "Remove the cause of the missing scores first: each one counts as the worst value."
    elif row.n_needed is not None:
        step = f"About {row.n_needed} cases would settle it if the difference is as large as seen."
    elif row.role == "primary":
        step = "More cases won't help while the challenger isn't ahead: improve it on the losses."
    else:
        step = f"Look at the cases that {row.measure} lost, and correct the release."
    return Reason(verdict="HOLD", measure=row.measure, text=text, next_step=step)


def _wins(row: Comparison) -> str:
    return "1 win" if row.wins == 1 else f"{row.wins} wins"


def _losses(row: Comparison) -> str:
    return "1 loss" if row.losses == 1 else f"{row.losses} losses"
