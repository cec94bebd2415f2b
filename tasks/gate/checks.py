"""Scores -> what must hold before a number counts: comparable, complete, enough cases."""

from collections.abc import Mapping

from tasks.errors import ScoresError
from tasks.gate.compare import in_unit, method_for
from tasks.gate.decision import Check
from tasks.gate.inference import mcnemar
from tasks.gate.pairs import Pairs, problem_cases
from tasks.gate.policy import GatePolicy
from tasks.gate.power import MOST_CASES
from tasks.gate.scores import Scores, check_values


def check_comparable(champion: Scores, challenger: Scores, policy: GatePolicy) -> Check:
    """Refuse to compare what was measured differently.

    Raises:
        ScoresError: another suite, judge or set of cases; or scores that a measure can't have.
    """
    for what, old, new in (
        ("suite", champion.suite_digest, challenger.suite_digest),
        ("judge", champion.judge_digest, challenger.judge_digest),
    ):
        if old != new:
            raise ScoresError(
                f"Champion and challenger were evaluated with different {what}s: "
                f"{old!r} and {new!r}.",
                next_step="Evaluate both releases again with the same configuration.",
            )
    old_cases, new_cases = (
        {(case.case_id, case.cluster, case.must_pass) for case in side.cases}
        for side in (champion, challenger)
    )
    if old_cases != new_cases:
        named = sorted({case[0] for case in old_cases ^ new_cases})
        more = "" if len(named) <= 3 else ", ..."
        raise ScoresError(
            f"Champion and challenger have different cases; {len(named)} differ: "
            f"{', '.join(named[:3])}{more}.",
            next_step="Evaluate both releases on the same suite.",
            cases=tuple(named),
        )
    check_values(champion, policy)
    check_values(challenger, policy)
    return Check(
        name="comparable",
        status="passed",
        text=f"Both releases were evaluated on the same {len(new_cases)} cases by the same judge.",
    )


def check_measures(
    champion: Scores, challenger: Scores, paired: Mapping[str, Pairs], policy: GatePolicy
) -> Check:
    """Name measures that decide but weren't measured, and measured ones without a rule."""
    absent = tuple(name for name in policy.named("primary", "guardrail") if name not in paired)
    if absent:
        return Check(
            name="measures",
            status="failed",
            text=f"No scores of: {', '.join(absent)}.",
            next_step="Add the measures to configs/evaluate.yaml, or drop them from the policy.",
            measures=absent,
        )
    measured = {*champion.rows_of, *challenger.rows_of}
    without_rule = tuple(sorted(measured - set(policy.measures)))
    if without_rule:
        text = f"Measured, but not in the policy: {', '.join(without_rule)}."
        return Check(name="measures", status="note", text=text, measures=without_rule)
    return Check(name="measures", status="passed", text="Every deciding measure has scores.")


def check_failures(paired: Mapping[str, Pairs], policy: GatePolicy) -> Check:
    """Count failed and missing scores of the measures that decide, on each side."""
    failed = {
        name: max(pairs.failed_champion, pairs.failed_challenger)
        for name, pairs in paired.items()
        if policy.measures[name].role != "report"
    }
    return failure_check(failed, {name: len(paired[name].differences) for name in failed}, policy)


def failure_check(failed: Mapping[str, int], cases: Mapping[str, int], policy: GatePolicy) -> Check:
    """Hold the failures of each measure against the policy's limit.

    Args:
        failed: failed and missing scores of each deciding measure, on its worse side.
        cases: how many cases each of them has.
        policy: has the limit.
    """
    over = tuple(
        name for name, count in failed.items() if count > policy.failure_limit * cases[name]
    )
    worst = max(failed.values(), default=0)
    detail = ", ".join(f"{name}: {count} of {cases[name]}" for name, count in failed.items())
    if over:
        return Check(
            name="failures",
            status="failed",
            text=f"Too many scores failed or are missing: {', '.join(over)}.",
            next_step="Look at the failures below, remove their cause, and evaluate again.",
            detail=f"Limit {policy.failure_limit:.0%}; {detail}.",
            measures=over,
        )
    text = "No deciding score failed."
    if worst:
        text = f"At most {worst} deciding score(s) failed on one side, within the limit."
    return Check(name="failures", status="passed", text=text)


def check_suite_problems(
    champion: Scores | None, challenger: Scores, policy: GatePolicy
) -> tuple[Check, ...]:
    """Name the cases that a corpus can't be asked any more; nothing where there are none.

    They count for no side. Were there no limit, a corpus that lost half of its documents would be
    judged by the other half: so the challenger's are counted, over all of its cases of a measure.
    The champion's aren't: its corpus may lack what a new one brings with new questions.
    """
    named = [name for name, rule in policy.measures.items() if rule.role != "report"]
    if policy.must_pass is not None and policy.must_pass.measure not in named:
        named.append(policy.must_pass.measure)
    mine = {name: challenger.suite_problems.get(name, frozenset()) for name in named}
    theirs = {name: problem_cases(name, champion) for name in named}
    lost, before = (frozenset().union(*found.values()) for found in (mine, theirs))
    if not lost | before:
        return ()
    sizes = {name: len(mine[name] | challenger.values_of(name).keys()) for name in named}
    over = tuple(
        name for name in named if len(mine[name]) > policy.failure_limit * max(1, sizes[name])
    )
    gone = tuple(case.case_id for case in challenger.cases if case.case_id in lost | before)
    shown = ", ".join(gone[:3]) + (", ..." if len(gone) > 3 else "")
    counts = ", ".join(
        f"{name}: {len(mine[name] | theirs[name])}" for name in named if mine[name] | theirs[name]
    )
    return (
        Check(
            name="suite",
            status="failed" if over else "note",
            text=f"{len(gone)} case(s) count for neither side, a problem of the suite and not of "
            f"the index: the challenger's corpus lacks the evidence of {len(lost)}, the champion's "
            f"that of {len(before)} ({shown})."
            + (f" Too many of {', '.join(over)} are left out." if over else ""),
            next_step="Correct or remove these cases, or bring the documents back; "
            "see: ratchet suite check",
            detail=f"Left out of {counts}. Limit of the challenger's: {policy.failure_limit:.0%}.",
            measures=over,
            cases=gone,
        ),
    )


def require_enough_cases(paired: Mapping[str, Pairs], policy: GatePolicy, *, alpha: float) -> None:
    """Refuse a policy whose tests can't pass on so few cases, whatever the challenger does.

    A guardrail counts as impossible when it fails even though no case was lost; a primary when
    it fails even though every group of related cases was won.

    Raises:
        ScoresError: the measure, its cases, and how many it needs.
    """
    short = []
    for name in policy.named("primary", "guardrail"):
        if name not in paired:
            continue
        clusters = len(paired[name].sizes())
        needed = clusters_needed(policy, name, paired[name], alpha=alpha)
        if clusters < needed:
            short.append(f"{name} has {clusters} and needs {needed}")
    if short:
        raise ScoresError(
            f"Too few unrelated cases for this policy: {'; '.join(short)}. With fewer a guardrail "
            "can't show that it kept its margin, not even without a single loss.",
            next_step="Evaluate more cases, or give the measure a larger margin in the policy.",
        )


def clusters_needed(policy: GatePolicy, measure: str, pairs: Pairs, *, alpha: float) -> int:
    """Fewest unrelated cases with which this measure's test can pass at all."""
    from math import ceil, log

    rule = policy.measures[measure]
    if rule.role == "guardrail":
        # Gaffke's bound without any difference is (1 - margin / worst)^C.
        share = in_unit(rule, rule.margin or 0.0) / pairs.worst
        return ceil(log(policy.alpha) / log(1 - share))
    if method_for(rule, pairs) == "Gaffke bound on clusters":
        # With every case won as far as a case can be, the bound is at (worst - unseen) / C.
        share = 1 - in_unit(rule, rule.min_effect) / pairs.worst
        return max(2, ceil(log(alpha) / log(1 - share / 2))) if share < 1 else 2
    needed = 1
    while mcnemar(needed, 0) > alpha and needed < MOST_CASES:
        needed += 1
    return needed
