"""What is known beside the two sets of scores -> checks: noise, power, anchor, judge, budget.

Each says "not checked" when its input wasn't given, and holds then only if the policy requires it.
"""

from collections.abc import Mapping, Sequence

from tasks.gate.compare import in_policy_unit, in_unit, method_for, threshold_of
from tasks.gate.decision import Check, CheckName, Comparison, SliceResult
from tasks.gate.noise import NoiseFloor
from tasks.gate.pairs import Pairs
from tasks.gate.policy import GatePolicy, MeasurePolicy
from tasks.gate.power import cases_needed, detectable, spread_of
from tasks.gate.scores import Scores
from tasks.gate.spending import Look


def not_checked(
    name: CheckName,
    text: str,
    *,
    required: bool,
    next_step: str,
    measures: tuple[str, ...] = (),
) -> Check:
    """A check without its input; it holds when the policy requires it."""
    return Check(
        name=name,
        status="failed" if required else "not_checked",
        text=f"{text} The policy requires it." if required else text,
        next_step=next_step,
        measures=measures,
    )


def check_noise(
    noise: NoiseFloor | None,
    challenger: Scores,
    paired: Mapping[str, Pairs],
    policy: GatePolicy,
) -> Check:
    """Hold what the policy asks for against what the champion does to itself."""
    step = "Evaluate the champion against itself: ratchet gate noise"
    required = policy.noise.required
    if noise is None:
        text = "How much the champion differs from itself wasn't measured."
        return not_checked("noise", text, required=required, next_step=step)
    if (noise.suite_digest, noise.judge_digest) != (
        challenger.suite_digest,
        challenger.judge_digest,
    ):
        text = "The noise was measured on another suite or with another judge."
        return not_checked("noise", text, required=required, next_step=step)
    below, lines = [], []
    for name in policy.named("primary", "guardrail"):
        floor = noise.floor(name, len(paired[name].sizes())) if name in paired else None
        if floor is None:
            continue
        rule = policy.measures[name]
        asked = rule.margin if rule.role == "guardrail" else (rule.effect or rule.min_effect)
        # A policy that asks for "any improvement" is held to the one that was seen.
        size = in_unit(rule, asked) if asked else abs(float(paired[name].differences.mean()))
        lines.append(f"{name}: {size:.4g} against {floor:.4g}")
        # An exact tie with a silent server is no noise.
        if floor > 0.0 and size < floor:
            below.append(name)
    detail = f"Effect or margin against 2 standard deviations of A/A: {'; '.join(lines)}."
    if below:
        return Check(
            name="noise",
            status="failed",
            text=f"The champion differs from itself by as much as this policy asks for: "
            f"{', '.join(below)}.",
            next_step="Evaluate more cases, use a steadier judge, or ask for a larger effect.",
            detail=detail,
            measures=tuple(below),
        )
    text = "What the policy asks for is larger than what the champion differs from itself."
    return Check(name="noise", status="passed", text=text, detail=detail)


def check_power(paired: Mapping[str, Pairs], policy: GatePolicy, *, alpha: float) -> Check:
    """Say what so many cases can find; it never holds a decision that the evidence carries."""
    primary = policy.primary
    if primary is None or primary not in paired:
        return Check(name="power", status="note", text="A refresh has nothing to find.")
    rule, pairs = policy.measures[primary], paired[primary]
    spread, method = spread_of(pairs), method_for(rule, pairs)
    threshold = threshold_of(rule) or 0.0
    found = detectable(
        spread, method=method, threshold=threshold, alpha=alpha, power_wanted=policy.power
    )
    if found is None:
        text = f"{len(pairs.differences)} cases can't show an improvement of {primary}."
        return Check(name="power", status="note", text=text)
    share = in_policy_unit(rule, found)
    text = (
        f"{len(pairs.differences)} cases show an improvement of {primary} by "
        f"{_amount(rule, share)} in {policy.power:.0%} of the runs."
    )
    detail = f"{method}, level {alpha:.4g}, standard error {spread.error:.4g}."
    if rule.effect is None or share <= rule.effect:
        return Check(name="power", status="passed", text=text, detail=detail)
    needed = cases_needed(
        spread,
        in_unit(rule, rule.effect),
        method=method,
        threshold=threshold,
        alpha=alpha,
        power_wanted=policy.power,
    )
    return Check(
        name="power",
        status="note",
        text=f"{text} The policy looks for {_amount(rule, rule.effect)}"
        + (f": that takes about {needed} cases." if needed else "."),
        detail=detail,
    )


def check_slices(results: Sequence[SliceResult] | None, margin: float, policy: GatePolicy) -> Check:
    """Hold when a group of cases lost more than its margin."""
    if policy.slices is None or results is None:
        return Check(name="slices", status="not_checked", text="The policy looks at no slices.")
    if not results:
        text = f"No tag has {policy.slices.min_clusters} groups of cases or more."
        return Check(name="slices", status="note", text=text)
    lost = [row for row in results if row.lost]
    worst = min(results, key=lambda row: row.delta)
    detail = (
        f"{len(results)} slices together at level {policy.alpha:g}; the worst is {worst.tag}: "
        f"{worst.delta:+.3f} [{worst.low:+.3f}, {worst.high:+.3f}] over {worst.n} cases."
    )
    if lost:
        return Check(
            name="slices",
            status="failed",
            text=f"Worse by more than {margin:g} on cases tagged "
            f"{', '.join(row.tag for row in lost)}.",
            next_step="Look at the losses with these tags, and correct the release.",
            detail=detail,
        )
    text = f"None of {len(results)} tags lost more than {margin:g} for certain."
    return Check(name="slices", status="passed", text=text, detail=detail)


def check_anchor(
    anchor: Scores | None,
    champion: Scores,
    comparisons: Sequence[Comparison],
    policy: GatePolicy,
) -> Check:
    """Hold when a guardrail fell too far behind the fixed release."""
    step = "Evaluate the anchor release on this suite, or name another one: ratchet anchor"
    if anchor is None:
        text = "No anchor release was given: small losses may add up from night to night."
        return not_checked("anchor", text, required=policy.anchor.required, next_step=step)
    if anchor.release_digest is not None and anchor.release_digest == champion.release_digest:
        text = "The champion is the anchor release: the guardrails are its guardrails."
        return Check(name="anchor", status="passed", text=text)
    behind = [row for row in comparisons if row.outcome != "not_worse"]
    detail = "; ".join(
        f"{row.measure}: {row.delta:+.4g} [{row.ci_low:+.4g}, {row.ci_high:+.4g}]"
        for row in comparisons
    )
    if behind:
        worse = any(row.outcome == "worse" for row in behind)
        names = tuple(row.measure for row in behind)
        said = "is worse by more than its margin" if worse else "isn't shown to keep its margin"
        return Check(
            name="anchor",
            status="failed",
            verdict="REJECT" if worse else "HOLD",
            text=f"Against the anchor {anchor.release or 'release'}: {', '.join(names)} {said}.",
            next_step="Win it back, or choose a new anchor on purpose: ratchet anchor",
            detail=detail,
            measures=names,
        )
    text = f"Every guardrail also keeps its margin against the anchor {anchor.release}."
    return Check(name="anchor", status="passed", text=text, detail=detail)


def check_budget(look: Look | None, policy: GatePolicy) -> Check:
    """Say which look this was, what it cost and what is left."""
    if policy.mode == "refresh":
        text = "A refresh doesn't claim to be better: nothing is spent."
        return Check(name="budget", status="note", text=text)
    step = "Let the nightly flow decide: it writes every look into the ledger first."
    if look is None or not look.recorded:
        text = "Nobody counted how often this suite was looked at before."
        if look is not None:
            text += f" Taken as look {look.number}, at level {look.alpha:.4g}."
        return not_checked("budget", text, required=policy.budget.required, next_step=step)
    left = "without limit" if look.left is None else f"{look.left:.4g}"
    return Check(
        name="budget",
        status="passed",
        text=f"Look {look.number} at this suite: {look.alpha:.4g} of alpha {policy.alpha:g} spent, "
        f"{left} left.",
        detail=f"Rule {policy.spending}; spent by earlier looks: {look.spent_before:.4g}. "
        "Fresh cases have a budget of their own.",
    )


def _amount(rule: MeasurePolicy, value: float) -> str:
    """A difference as people say it."""
    if rule.kind == "bounded":
        return f"{value:.3f}"
    return f"{value * 100:.1f} {'points' if rule.kind == 'binary' else '%'}"
