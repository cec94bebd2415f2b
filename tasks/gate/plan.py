"""Policy + earlier scores -> what the next run can find, before anything is spent on it.

The spread of the differences comes from an earlier comparison on the suite. Where there is none
yet, it is assumed from the champion's own scores: as if champion and challenger agreed halfway
(correlation 1/2 within a case), which is on the careful side for two versions of one application.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tasks.config import Settings
from tasks.gate.checks import clusters_needed
from tasks.gate.compare import (
    BOUND,
    compare_all,
    in_policy_unit,
    in_unit,
    method_for,
    pair_all,
    threshold_of,
)
from tasks.gate.pairs import Pairs
from tasks.gate.policy import GatePolicy, Kind, MeasurePolicy, Role
from tasks.gate.power import Method, Spread, cases_needed, detectable, power, spread_of
from tasks.gate.scores import ScoreRow, Scores, check_values
from tasks.gate.spending import Look


class MeasurePlan(Settings):
    """What the next run can say about one measure."""

    measure: str
    role: Role
    kind: Kind
    method: Method
    alpha: float
    n: int
    n_clusters: int
    clusters_needed: int
    """With fewer the test can't pass, whatever it sees."""
    detectable: float | None
    """Primary: smallest improvement found with the policy's power. Guardrail: smallest margin that
    an equally good challenger passes with that power. In the policy's unit; None: none at all."""
    asked: float | None
    """The policy's effect or margin."""
    power: float | None
    """Chance to find `asked` (guardrail: to pass without any true difference)."""
    n_needed: int | None
    """Cases that find `asked` with the policy's power; None: not asked, or no number does."""


class RunCost(Settings):
    """What evaluating one release takes, from what it took before."""

    calls: int
    input_tokens: int
    output_tokens: int
    minutes: float
    cost: float
    currency: str


class GatePlan(Settings):
    """What is known about a run before it starts."""

    cases: int
    look: Look | None
    source: str
    """Where the spread of the differences comes from."""
    measures: tuple[MeasurePlan, ...]
    cost: RunCost | None
    hopeless: tuple[str, ...]
    """Why no challenger can be promoted by such a run; empty: one can."""


def plan(
    policy: GatePolicy,
    champion: Scores,
    *,
    look: Look | None,
    pilot: tuple[Scores, Scores] | None = None,
    cost: RunCost | None = None,
) -> GatePlan:
    """Say what a comparison with the champion can find.

    Args:
        policy: the rules.
        champion: scores of the live release on the suite.
        look: which look the next one would be; None takes the policy's whole alpha.
        pilot: scores of two releases that were compared before, for the spread of the differences.
        cost: of one evaluation.

    Raises:
        ScoresError: the champion has scores that the policy doesn't allow.
    """
    alpha = look.alpha if look else policy.alpha
    check_values(champion, policy)
    paired = pair_all(policy, *(pilot or (champion, champion)))
    measures = tuple(
        _measure_plan(name, policy, paired[name], champion, alpha=alpha, assumed=pilot is None)
        for name in policy.named("primary", "guardrail")
        if name in paired
    )
    source = (
        f"the comparison of {pilot[1].release or 'the challenger'} with "
        f"{pilot[0].release or 'the champion'}"
        if pilot
        else "the champion's scores alone, assuming that a challenger's agree with them halfway"
    )
    return GatePlan(
        cases=len(champion.cases),
        look=look,
        source=source,
        measures=measures,
        cost=cost,
        hopeless=_hopeless(policy, champion, measures, alpha=alpha),
    )


def _measure_plan(
    name: str,
    policy: GatePolicy,
    pairs: Pairs,
    champion: Scores,
    *,
    alpha: float,
    assumed: bool,
) -> MeasurePlan:
    rule = policy.measures[name]
    primary = rule.role == "primary"
    level = alpha if primary else policy.alpha
    method, threshold = method_for(rule, pairs), threshold_of(rule) or 0.0
    # Two releases that scored alike on every case say nothing about the next one.
    assumed = assumed or not pairs.differences.any()
    scores = champion.values_of(name)
    spread = _assumed_spread(rule, pairs, scores) if assumed else spread_of(pairs)
    asked = rule.effect if primary else rule.margin
    found: float | None
    if primary:
        difference = None if rule.effect is None else in_unit(rule, rule.effect)
        found = detectable(
            spread, method=method, threshold=threshold, alpha=level, power_wanted=policy.power
        )
    else:
        # The question to a guardrail is the other way round: does a harmless challenger pass?
        difference = 0.0
        found = _passing_margin(spread, alpha=level, power_wanted=policy.power)
    settings = {"method": method, "threshold": threshold, "alpha": level}
    return MeasurePlan(
        measure=name,
        role=rule.role,
        kind=rule.kind,
        method=method,
        alpha=level,
        n=spread.n,
        n_clusters=spread.n_clusters,
        clusters_needed=clusters_needed(policy, name, pairs, alpha=level),
        detectable=None if found is None else in_policy_unit(rule, found),
        asked=asked,
        power=None if difference is None else power(spread, difference, **settings),  # type: ignore[arg-type]
        n_needed=None
        if difference is None
        else cases_needed(spread, difference, power_wanted=policy.power, **settings),  # type: ignore[arg-type]
    )


def _passing_margin(spread: Spread, *, alpha: float, power_wanted: float) -> float | None:
    low, high = 0.0, spread.worst
    for _ in range(50):
        middle = (low + high) / 2
        passes = power(spread, 0.0, method=BOUND, threshold=-middle, alpha=alpha) >= power_wanted
        low, high = (low, middle) if passes else (middle, high)
    return high if high < spread.worst else None


def _assumed_spread(
    rule: MeasurePolicy, pairs: Pairs, values: Mapping[str, list[float | None]]
) -> Spread:
    """Spread of differences between scores that have correlation 1/2: that of the scores."""
    means = np.array(
        [
            np.mean([v for v in values[case] if v is not None] or [0.0]) if case in values else 0.0
            for case in pairs.cases
        ]
    )
    if rule.kind == "positive":
        means = np.log(np.maximum(means, 1e-12))
    spread = spread_of(replace(pairs, differences=means))
    discordant = float(means.mean() * (1 - means.mean())) if rule.kind == "binary" else 1.0
    return replace(spread, discordant=discordant)


def _hopeless(
    policy: GatePolicy, champion: Scores, measures: tuple[MeasurePlan, ...], *, alpha: float
) -> tuple[str, ...]:
    reasons = [
        f"{row.measure} has {row.n_clusters} unrelated cases and needs {row.clusters_needed}: "
        "with fewer its test can't pass, whatever it sees."
        for row in measures
        if row.n_clusters < row.clusters_needed
    ]
    primary = next((row for row in measures if row.role == "primary"), None)
    if primary is None:
        return tuple(reasons)
    if not reasons and not _perfect_passes(policy, champion, alpha=alpha):
        reasons.append(
            f"Even a challenger without a single fault in {primary.measure} would not be promoted: "
            f"the champion leaves too little room for a test at level {alpha:.4g}."
        )
    small = primary.detectable is None or (
        primary.asked is not None and primary.detectable > primary.asked
    )
    if policy.underpowered == "hold" and primary.asked is not None and small:
        needed = (
            f" about {primary.n_needed} cases would." if primary.n_needed else " no suite does."
        )
        reasons.append(
            f"{primary.n} cases don't find an improvement of {primary.measure} by "
            f"{primary.asked:g} often enough;{needed}"
        )
    return tuple(reasons)


def _perfect_passes(policy: GatePolicy, champion: Scores, *, alpha: float) -> bool:
    """Whether the best possible scores of the primary would pass its test."""
    name = policy.primary
    if name is None or policy.measures[name].kind == "positive":
        return True
    rule = policy.measures[name]
    best = rule.range[1] if rule.direction == "higher" else rule.range[0]
    perfect = replace(
        champion,
        rows=tuple(ScoreRow(case, name, best) for case in champion.values_of(name)),
    )
    paired = pair_all(policy, champion, perfect)
    if name not in paired:
        return True
    (row,) = compare_all(policy, {name: paired[name]}, alpha=alpha, seed=policy.seed)
    return row.outcome == "better"
