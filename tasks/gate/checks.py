"""Scores -> what must hold before a number counts: comparable, complete, no must-pass lost."""

from collections.abc import Iterable

from tasks.errors import ScoresError
from tasks.gate.decision import Check, Comparison
from tasks.gate.policy import GatePolicy
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
        raise ScoresError(
            f"Champion and challenger have different cases: {len(named)} differ, "
            f"for example {named[:3]}.",
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


def check_failures(comparisons: Iterable[Comparison], policy: GatePolicy) -> Check:
    """Count failed and missing scores of the measures that decide, on each side."""
    deciding = [row for row in comparisons if row.role != "report"]
    over = [
        row
        for row in deciding
        if max(row.failed_champion, row.failed_challenger) > policy.failure_limit * row.n
    ]
    return failure_check(
        measures=tuple(row.measure for row in over),
        worst=max((max(r.failed_champion, r.failed_challenger) for r in deciding), default=0),
    )


def failure_check(*, measures: tuple[str, ...], worst: int) -> Check:
    """Word the failure check of a comparison or of a first release."""
    if measures:
        text = f"Too many scores failed or are missing: {', '.join(measures)}."
        return Check(name="failures", status="failed", text=text, measures=measures)
    text = "No deciding score failed."
    if worst:
        text = f"At most {worst} deciding score(s) failed on one side, within the limit."
    return Check(name="failures", status="passed", text=text)


def check_measures(scores: Iterable[Scores], found: Iterable[str], policy: GatePolicy) -> Check:
    """Name measures that decide but weren't measured, and measured ones without a rule."""
    measured = set(found)
    absent = tuple(name for name in policy.named("primary", "guardrail") if name not in measured)
    if absent:
        text = f"No scores of: {', '.join(absent)}."
        return Check(name="measures", status="failed", text=text, measures=absent)
    rows = {row.measure for side in scores for row in side.rows}
    without_rule = tuple(sorted(rows - set(policy.measures)))
    if without_rule:
        text = f"Measured, but not in the policy: {', '.join(without_rule)}."
        return Check(name="measures", status="note", text=text, measures=without_rule)
    return Check(name="measures", status="passed", text="Every deciding measure has scores.")


def check_must_pass(champion: Scores | None, challenger: Scores, policy: GatePolicy) -> Check:
    """Find must-pass cases that the champion passes and the challenger doesn't.

    Without a champion the failing must-pass cases are only named: there is nothing to lose yet.
    """
    old = champion.by_measure.get(policy.must_pass or "", {}) if champion else {}
    new = challenger.by_measure.get(policy.must_pass or "", {})
    # A case that neither side scored nor failed at isn't the measure's business.
    marked = [
        case.case_id
        for case in challenger.cases
        if case.must_pass and (case.case_id in old or case.case_id in new)
    ]
    if not marked:
        return Check(name="must_pass", status="note", text="No must-pass case was checked.")
    failing = [case for case in marked if not _passes(new.get(case, [None]))]
    if champion is None:
        text = f"{len(failing)} of {len(marked)} must-pass cases fail."
        return Check(name="must_pass", status="note", text=text, cases=tuple(failing))
    # A champion score that is missing counts as its best value here too.
    lost = tuple(case for case in failing if _passes(old.get(case, [1.0]), missing=1.0))
    if lost:
        text = f"{len(lost)} must-pass case(s) passed before and fail now."
        return Check(name="must_pass", status="failed", text=text, cases=lost)
    text = f"None of {len(marked)} must-pass cases was lost."
    return Check(name="must_pass", status="passed", text=text)


def _passes(values: list[float | None], *, missing: float = 0.0) -> bool:
    return all((missing if value is None else value) == 1.0 for value in values)
