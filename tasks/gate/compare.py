"""Pairs -> Comparison: which test answers a measure's question, and what it found.

- primary, min_effect 0, binary and no related cases: exact McNemar.
- primary, min_effect 0, else: sign-flip permutation on cluster sums.
- every question about a shifted mean (guardrail margins, a min_effect above 0): Gaffke's bound.
  Flipping signs is no test there. Symmetry follows from "no difference", not from "worse by
  exactly the margin": of 130 pairs with margin 0.03, two losses and no win would pass a shifted
  sign flip far too often.
"""

from math import ceil, log, log1p

import numpy as np

from tasks.gate.decision import Comparison, Outcome
from tasks.gate.inference import mcnemar, mean_bounds, sign_flip, standard_error
from tasks.gate.pairs import Pairs, pair
from tasks.gate.policy import GatePolicy, MeasurePolicy
from tasks.gate.scores import Scores

BOUND = "Gaffke bound on clusters"


def compare(
    measure: str, policy: GatePolicy, champion: Scores, challenger: Scores, *, seed: int
) -> Comparison | None:
    """Compare one measure of the policy; None when neither side has any row of it."""
    rule = policy.measures[measure]
    pairs = pair(measure, rule, champion, challenger, clusters=policy.clusters)
    if pairs is None:
        return None
    draws = policy.resamples
    sums, sizes = pairs.sums(), pairs.sizes()
    bounds = mean_bounds(sums, sizes, worst=pairs.worst, resamples=draws, seed=seed)
    low, high = bounds.interval(policy.alpha)
    threshold = _threshold(rule)
    method, p_value, p_worse = BOUND, None, None
    if threshold is not None:
        measured = pairs.only_measured()
        if rule.role == "primary" and threshold == 0.0:
            method, p_value = _no_difference(pairs, better=True, draws=draws, seed=seed)
        else:
            p_value = bounds.p_above(threshold)
        if measured is not None and rule.role == "primary":
            p_worse = _no_difference(measured, better=False, draws=draws, seed=seed)[1]
        elif measured is not None:
            p_worse = mean_bounds(
                measured.sums(), measured.sizes(), worst=pairs.worst, resamples=draws, seed=seed
            ).p_below(threshold)
    delta = float(np.sum(sums) / np.sum(sizes))
    outcome = _outcome(rule, p_value, p_worse, policy.alpha)
    return Comparison(
        measure=measure,
        role=rule.role,
        kind=rule.kind,
        direction=rule.direction,
        mean_champion=pairs.mean_champion,
        mean_challenger=pairs.mean_challenger,
        delta=delta,
        ci_low=low,
        ci_high=high,
        threshold=threshold,
        p_value=p_value,
        p_worse=p_worse,
        n=len(pairs.differences),
        n_clusters=len(sums),
        n_unpaired=int(np.sum(~pairs.measured)),
        failed_champion=pairs.failed_champion,
        failed_challenger=pairs.failed_challenger,
        wins=int(np.sum(pairs.differences > 0)),
        losses=int(np.sum(pairs.differences < 0)),
        ties=int(np.sum(pairs.differences == 0)),
        method=method,
        outcome=outcome,
        n_needed=_needed(pairs, delta, threshold, policy, method=method)
        if outcome == "unclear"
        else None,
    )


def _threshold(rule: MeasurePolicy) -> float | None:
    if rule.role == "report":
        return None
    if rule.role == "primary":
        return log1p(rule.min_effect) if rule.kind == "positive" else rule.min_effect
    margin = rule.margin or 0.0
    return -log1p(margin) if rule.kind == "positive" else -margin


def _no_difference(pairs: Pairs, *, better: bool, draws: int, seed: int) -> tuple[str, float]:
    differences = pairs.differences if better else -pairs.differences
    sums = pairs.sums() if better else -pairs.sums()
    alone = len(sums) == len(differences)
    if alone and bool(np.isin(differences, (-1.0, 0.0, 1.0)).all()):
        return "exact McNemar", mcnemar(int(np.sum(differences > 0)), int(np.sum(differences < 0)))
    return "sign flip on clusters", sign_flip(sums, resamples=draws, seed=seed)


def _outcome(
    rule: MeasurePolicy, p_value: float | None, p_worse: float | None, alpha: float
) -> Outcome:
    if p_value is None:
        return "reported"
    if p_value <= alpha:
        return "better" if rule.role == "primary" else "not_worse"
    return "worse" if p_worse is not None and p_worse <= alpha else "unclear"


def _needed(
    pairs: Pairs, delta: float, threshold: float | None, policy: GatePolicy, *, method: str
) -> int | None:
    """Cases for the policy's power if the true difference is the one seen.

    ((z_{1-alpha} + z_power) sd / gap)^2 with the design effect of the clusters inside the standard
    error; Gaffke's bound needs as many more as it would need without any spread.
    """
    from scipy.stats import norm

    gap = delta - (threshold or 0.0)
    if gap <= 0:
        return None
    n, clusters = len(pairs.differences), len(pairs.sums())
    quantiles = float(norm.ppf(1 - policy.alpha) + norm.ppf(policy.power))
    error = standard_error(pairs.sums(), pairs.sizes()) or 0.0
    by_spread = n * (quantiles * error / gap) ** 2
    room = delta + pairs.worst
    by_bound = log(policy.alpha) / log1p(-gap / room) * n / clusters if gap < room else 1.0
    if method != BOUND:
        by_bound = 0.0
    return max(ceil(by_spread + by_bound), n + 1)
