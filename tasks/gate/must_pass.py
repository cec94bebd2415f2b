"""Cases that must not be lost -> which of them were, and which of those for good."""

from collections.abc import Mapping, Sequence

from tasks.gate.decision import Check
from tasks.gate.pairs import problem_cases
from tasks.gate.policy import GatePolicy, MustPass
from tasks.gate.scores import Scores

Confirmations = Mapping[str, Sequence[float | None]]
"""Values of the must-pass measure when the challenger was asked a lost case again, by case id."""


def lost_cases(champion: Scores, challenger: Scores, policy: GatePolicy) -> tuple[str, ...]:
    """Must-pass cases that the champion passes and the challenger doesn't."""
    if policy.must_pass is None:
        return ()
    measure = policy.must_pass.measure
    old, new = (side.values_of(measure) for side in (champion, challenger))
    # A champion score that is missing counts as its best value here too.
    return tuple(
        case
        for case in _marked(champion, challenger, measure)
        if not _passes(new.get(case, [None])) and _passes(old.get(case, [1.0]), missing=1.0)
    )


def check_must_pass(
    champion: Scores | None,
    challenger: Scores,
    policy: GatePolicy,
    confirmations: Confirmations | None = None,
) -> Check:
    """Find must-pass cases that were lost, and whether they fail again when asked again.

    Without a champion the failing must-pass cases are only named: there is nothing to lose yet.
    """
    rule = policy.must_pass
    if rule is None:
        return Check(name="must_pass", status="not_checked", text="The policy names no measure.")
    new = challenger.values_of(rule.measure)
    marked = _marked(champion, challenger, rule.measure)
    if not marked:
        return Check(name="must_pass", status="note", text="The suite marks no must-pass case.")
    if champion is None:
        failing = tuple(case for case in marked if not _passes(new.get(case, [None])))
        text = f"{len(failing)} of {len(marked)} must-pass cases fail."
        return Check(name="must_pass", status="note", text=text, cases=failing)
    lost = lost_cases(champion, challenger, policy)
    if not lost:
        text = f"None of {len(marked)} must-pass cases was lost."
        return Check(name="must_pass", status="passed", text=text)
    return _lost(lost, rule, confirmations or {}, marked=len(marked))


def _lost(
    lost: tuple[str, ...], rule: MustPass, confirmations: Confirmations, *, marked: int
) -> Check:
    again = {case: list(confirmations.get(case, ()))[: rule.confirm] for case in lost}
    open_cases = tuple(case for case in lost if len(again[case]) < rule.confirm)
    failed_again = {case: sum(value != 1.0 for value in again[case]) for case in lost}
    confirmed = tuple(
        case
        for case in lost
        if case not in open_cases and (not rule.confirm or failed_again[case] * 2 > rule.confirm)
    )
    counts = "; ".join(
        f"{case}: failed {failed_again[case]} of {len(again[case])}" for case in lost
    )
    asked = any(again.values())
    detail = f"Asked again up to {rule.confirm} times. {counts}." if asked else ""
    if confirmed:
        return Check(
            name="must_pass",
            status="failed",
            verdict="REJECT",
            text=f"{len(confirmed)} must-pass case(s) passed before and fail now"
            + (", also when asked again." if rule.confirm else "."),
            next_step="Correct the release: these cases have to pass.",
            detail=detail,
            cases=confirmed,
        )
    if open_cases:
        return Check(
            name="must_pass",
            status="failed",
            text=f"{len(open_cases)} must-pass case(s) passed before and fail now; "
            "nobody has asked them again yet.",
            next_step=f"Ask these cases {rule.confirm} more time(s), or correct the release.",
            detail=detail,
            cases=open_cases,
        )
    return Check(
        name="must_pass",
        status="passed",
        text=f"{len(lost)} of {marked} must-pass cases failed once and pass when asked again.",
        detail=detail,
        cases=lost,
    )


def _marked(champion: Scores | None, challenger: Scores, measure: str) -> list[str]:
    # A case that neither side scored nor failed at isn't the measure's business, and one that a
    # corpus doesn't answer any more can't be lost by a release.
    sides = [side for side in (champion, challenger) if side is not None]
    known = {case for side in sides for case in side.values_of(measure)}
    known -= problem_cases(measure, *sides)
    return [case.case_id for case in challenger.cases if case.must_pass and case.case_id in known]


def _passes(values: Sequence[float | None], *, missing: float = 0.0) -> bool:
    return all((missing if value is None else value) == 1.0 for value in values)
