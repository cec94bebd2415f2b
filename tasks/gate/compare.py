"""Pairs -> Comparison: which test answers a measure's question, and what it found.

- primary, min_effect 0, binary and no related cases: exact McNemar.
- primary, min_effect 0, else: sign-flip permutation on cluster sums.
- every question about a shifted mean (guardrail margins, a min_effect above 0): Gaffke's bound.
  Flipping signs is no test there. Symmetry follows from "no difference", not from "worse by
  exactly the margin": of 130 pairs with margin 0.03, two losses and no win would pass a shifted
  sign flip far too often.
"""

from collections import defaultdict
from collections.abc import Mapping
from math import ceil, expm1, log1p

import numpy as np

from tasks.gate.decision import Comparison, Outcome
from tasks.gate.inference import (
    MeanBounds,
    SignFlips,
    holm,
    many_mean_bounds,
    mcnemar,
)
from tasks.gate.pairs import Pairs, pair
from tasks.gate.policy import GatePolicy, MeasurePolicy
from tasks.gate.power import Method, cases_needed, spread_of
from tasks.gate.ppi import PpiResult
from tasks.gate.scores import Scores

MCNEMAR: Method = "exact McNemar"
SIGN_FLIP: Method = "sign flip on clusters"
BOUND: Method = "Gaffke bound on clusters"
BY_PEOPLE = "prediction-powered t test"

MOST_RESAMPLES = 1_000_000
_DIGITS = 12
"""Sums may differ in the last bits between two processors; a decision must not."""


def pair_all(policy: GatePolicy, champion: Scores, challenger: Scores) -> dict[str, Pairs]:
    """Pair every measure of the policy that was measured on either side."""
    found = {
        name: pair(name, rule, champion, challenger, clusters=policy.clusters)
        for name, rule in policy.measures.items()
    }
    return {name: pairs for name, pairs in found.items() if pairs is not None}


def compare_all(
    policy: GatePolicy,
    paired: Mapping[str, Pairs],
    *,
    alpha: float,
    seed: int,
    people: Mapping[str, PpiResult] | None = None,
) -> tuple[Comparison, ...]:
    """Compare every measure.

    Args:
        policy: the rules.
        paired: differences by measure.
        alpha: level of the primary: this look's share of the policy's alpha.
        seed: of the random draws; all measures with the same clusters see the same ones.
        people: what people would see, for measures that a judge scored and can't decide alone.
    """
    bounds = _bounds(policy, paired, alpha=alpha, seed=seed)
    complete = {
        name: measured
        for name, pairs in paired.items()
        if policy.measures[name].role != "report" and (measured := pairs.only_measured())
    }
    with_gaps = {name: pairs for name, pairs in complete.items() if not paired[name].measured.all()}
    for_worse = bounds | _bounds(policy, with_gaps, alpha=alpha, seed=seed)
    rows = [
        _compare(
            name,
            policy,
            pairs,
            bounds[name],
            measured=complete.get(name),
            bounds_measured=for_worse[name] if name in complete else None,
            alpha=alpha,
            seed=seed,
        )
        for name, pairs in paired.items()
    ]
    seen = people or {}
    rows = [
        _by_people(row, policy, seen[row.measure]) if row.measure in seen else row for row in rows
    ]
    return _with_moves(rows, bounds)


def method_for(rule: MeasurePolicy, pairs: Pairs) -> Method:
    """The test that answers this measure's question."""
    if rule.role != "primary" or rule.min_effect > 0.0:
        return BOUND
    alone = len(np.unique(pairs.cluster)) == len(pairs.differences)
    whole = bool(np.isin(pairs.differences, (-1.0, 0.0, 1.0)).all())
    return MCNEMAR if alone and whole and rule.kind == "binary" else SIGN_FLIP


def threshold_of(rule: MeasurePolicy) -> float | None:
    """What the difference must exceed, in the unit of the comparison; None without a vote."""
    if rule.role == "report":
        return None
    if rule.role == "primary":
        return in_unit(rule, rule.min_effect)
    return -in_unit(rule, rule.margin or 0.0)


def in_unit(rule: MeasurePolicy, share: float) -> float:
    """A policy's number in the unit of the comparison: a positive measure's is a log ratio."""
    return log1p(share) if rule.kind == "positive" else share


def in_policy_unit(rule: MeasurePolicy, difference: float) -> float:
    """The inverse of `in_unit`."""
    return expm1(difference) if rule.kind == "positive" else difference


def resamples_for(policy: GatePolicy, alpha: float) -> int:
    """Draws enough that the steps of a p-value are far finer than its level."""
    return min(MOST_RESAMPLES, max(policy.resamples, ceil(100 / alpha)))


def _bounds(
    policy: GatePolicy, paired: Mapping[str, Pairs], *, alpha: float, seed: int
) -> dict[str, MeanBounds]:
    alike: dict[tuple[bytes, int], list[str]] = defaultdict(list)
    for name, pairs in paired.items():
        primary = policy.measures[name].role == "primary"
        draws = resamples_for(policy, alpha) if primary else policy.resamples
        alike[pairs.sizes().tobytes(), draws].append(name)
    found: dict[str, MeanBounds] = {}
    for (_, draws), names in alike.items():
        bounds = many_mean_bounds(
            np.stack([paired[name].sums() for name in names]),
            paired[names[0]].sizes(),
            worst=np.array([paired[name].worst for name in names]),
            resamples=draws,
            seed=seed,
        )
        found.update(zip(names, bounds, strict=True))
    return found


def _compare(
    measure: str,
    policy: GatePolicy,
    pairs: Pairs,
    bounds: MeanBounds,
    *,
    measured: Pairs | None,
    bounds_measured: MeanBounds | None,
    alpha: float,
    seed: int,
) -> Comparison:
    rule = policy.measures[measure]
    level = alpha if rule.role == "primary" else policy.alpha
    method, threshold = method_for(rule, pairs), threshold_of(rule)
    flips = _sign_flips(pairs, policy, level, seed)
    p_value = p_worse = None
    if threshold is not None:
        if method == BOUND:
            p_value = bounds.p_above(threshold)
        else:
            p_value = _no_difference(pairs, 1, method, policy, flips)
        if measured is not None and rule.role == "primary":
            # Without a gap these are the same pairs, and so the same random patterns.
            known = flips if measured is pairs else _sign_flips(measured, policy, level, seed)
            p_worse = _no_difference(measured, -1, _at_zero(method), policy, known)
        elif bounds_measured is not None:
            p_worse = bounds_measured.p_below(threshold)
    delta = float(np.sum(pairs.differences)) / len(pairs.differences)
    low, high = bounds.interval(level)
    if method != BOUND:
        # The interval of the test that decides: two different ones could contradict each other.
        inner = flips.interval(level)
        low, high = max(inner[0], -pairs.worst), min(inner[1], pairs.worst)
    outcome = _outcome(rule, p_value, p_worse, level)
    needed = None
    if outcome == "unclear" and threshold is not None:
        needed = cases_needed(
            spread_of(pairs),
            delta,
            method=method,
            threshold=threshold,
            alpha=level,
            power_wanted=policy.power,
        )
    return Comparison(
        measure=measure,
        role=rule.role,
        kind=rule.kind,
        direction=rule.direction,
        mean_champion=pairs.mean_champion,
        mean_challenger=pairs.mean_challenger,
        delta=round(delta, _DIGITS),
        ci_low=round(low, _DIGITS),
        ci_high=round(high, _DIGITS),
        alpha=level,
        threshold=threshold,
        p_value=None if p_value is None else round(p_value, _DIGITS),
        p_worse=None if p_worse is None else round(p_worse, _DIGITS),
        p_moved=None,
        n=len(pairs.differences),
        n_clusters=len(pairs.sizes()),
        n_unpaired=int(np.sum(~pairs.measured)),
        failed_champion=pairs.failed_champion,
        failed_challenger=pairs.failed_challenger,
        wins=int(np.sum(pairs.differences > 0)),
        losses=int(np.sum(pairs.differences < 0)),
        ties=int(np.sum(pairs.differences == 0)),
        method=method,
        outcome=outcome,
        n_needed=None if needed is None else max(needed, len(pairs.differences) + 1),
    )


def _by_people(row: Comparison, policy: GatePolicy, seen: PpiResult) -> Comparison:
    """The same question, answered by what people saw instead of by the judge alone."""
    threshold = row.threshold or 0.0
    p_value = seen.p_above(threshold)
    p_worse = seen.p_below(0.0 if row.role == "primary" else threshold)
    low, high = seen.interval(row.alpha)
    outcome = _outcome(policy.measures[row.measure], p_value, p_worse, row.alpha)
    needed = None
    if outcome == "unclear":
        needed = seen.labels_needed(threshold, alpha=row.alpha, power=policy.power)
    return row.model_copy(
        update={
            "delta": round(seen.estimate, _DIGITS),
            "ci_low": round(max(low, -seen.worst if seen.worst else low), _DIGITS),
            "ci_high": round(min(high, seen.worst or high), _DIGITS),
            "p_value": round(p_value, _DIGITS),
            "p_worse": round(p_worse, _DIGITS),
            "method": f"{BY_PEOPLE}: {seen.n} labels",
            "outcome": outcome,
            "n_needed": needed,
        }
    )


def _with_moves(rows: list[Comparison], bounds: Mapping[str, MeanBounds]) -> tuple[Comparison, ...]:
    reported = [row.measure for row in rows if row.role == "report"]
    if not reported:
        return tuple(rows)
    two_sided = [
        min(1.0, 2 * min(bounds[name].p_above(0.0), bounds[name].p_below(0.0))) for name in reported
    ]
    moved = dict(zip(reported, holm(np.array(two_sided)), strict=True))
    return tuple(
        row.model_copy(update={"p_moved": round(float(moved[row.measure]), _DIGITS)})
        if row.measure in moved
        else row
        for row in rows
    )


def _at_zero(method: Method) -> Method:
    """The test of "no difference" beside a test that asks for a least effect."""
    return SIGN_FLIP if method == BOUND else method


def _sign_flips(pairs: Pairs, policy: GatePolicy, alpha: float, seed: int) -> SignFlips:
    return SignFlips(pairs.sums(), pairs.sizes(), resamples_for(policy, alpha), seed)


def _no_difference(
    pairs: Pairs, sign: int, method: Method, policy: GatePolicy, flips: SignFlips
) -> float:
    """p-value of H0: the challenger isn't better (sign 1) or isn't worse (sign -1)."""
    differences = sign * pairs.differences
    if method == MCNEMAR:
        return mcnemar(
            int(np.sum(differences > 0)),
            int(np.sum(differences < 0)),
            mid_p=policy.mcnemar == "mid_p",
        )
    return flips.p_above() if sign > 0 else flips.p_below()


def _outcome(
    rule: MeasurePolicy, p_value: float | None, p_worse: float | None, alpha: float
) -> Outcome:
    if p_value is None:
        return "reported"
    if p_value <= alpha:
        return "better" if rule.role == "primary" else "not_worse"
    return "worse" if p_worse is not None and p_worse <= alpha else "unclear"
