"""GateDecision -> plain sentences: the verdict, and each reason with its numbers."""

from dataclasses import dataclass

from tasks.gate.decision import Check, Comparison, GateDecision, Outcome, Reason
from tasks.report import numbers

OUTCOMES: dict[Outcome, str] = {
    "better": "better",
    "not_worse": "not worse",
    "worse": "worse",
    "unclear": "not shown",
    "reported": "no vote",
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A reason for reading."""

    verdict: str
    text: str
    numbers: str
    next_step: str
    cases: tuple[str, ...]


def headline(decision: GateDecision) -> str:
    """The verdict in one sentence."""
    refresh = decision.policy.mode == "refresh"
    if decision.champion is None:
        return {
            "PROMOTE": "The first release reaches every floor. It can go live.",
            "HOLD": "The first release can't be judged yet. Nothing goes live.",
            "REJECT": "The first release misses a floor. Nothing goes live.",
        }[decision.verdict]
    if decision.verdict == "PROMOTE":
        if refresh:
            return "The refreshed corpus does no harm. It replaces the champion."
        return "The challenger is better, and nothing that matters got worse."
    if decision.verdict == "REJECT":
        return "The challenger is worse. The champion stays."
    if refresh:
        return "It is not shown that the refreshed corpus does no harm. The champion stays."
    return "The evidence is not enough to replace the champion. The champion stays."


def sentences(decision: GateDecision) -> tuple[Sentence, ...]:
    """Every reason, in the decision's order."""
    return tuple(
        Sentence(
            verdict=reason.verdict,
            text=reason.text,
            numbers=_numbers(reason, decision),
            next_step=reason.next_step,
            cases=reason.cases,
        )
        for reason in decision.reasons
    )


def check_of(reason: Reason, decision: GateDecision) -> Check | None:
    """The check that gave a reason; None: a measure did."""
    return next((check for check in decision.checks if check.text == reason.text), None)


def result(row: Comparison) -> str:
    """What a measure's row ends with; one without a vote may have moved all the same."""
    return "moved" if moved(row) else OUTCOMES[row.outcome]


def moved(row: Comparison) -> bool:
    """Whether a measure without a vote changed by more than chance explains."""
    return row.p_moved is not None and row.p_moved <= row.alpha


def shown_p(row: Comparison) -> float | None:
    """The p-value that belongs to the result."""
    if row.role == "report":
        return row.p_moved
    return row.p_worse if row.outcome == "worse" else row.p_value


def comparison_numbers(row: Comparison) -> str:
    """Change, interval and p-value of one measure."""
    parts = [f"{numbers.change(row)} ({confidence(row)} {numbers.interval(row)})"]
    p = shown_p(row)
    if p is not None:
        parts.append(f"p {numbers.p_value(p)}")
    wanted = numbers.threshold(row)
    if wanted:
        parts.append(f"asked: {wanted}")
    return ", ".join(parts)


def confidence(row: Comparison) -> str:
    """The level of a measure's interval: each of its ends is wrong with chance alpha."""
    return f"{numbers.certainty(2 * row.alpha)} interval"


def intervals(decision: GateDecision) -> str:
    """The levels of all intervals: the primary's is that of the look, the others the policy's."""
    levels = {row.alpha: numbers.certainty(2 * row.alpha) for row in decision.comparisons}
    primary = next((row for row in decision.comparisons if row.role == "primary"), None)
    others = [text for alpha, text in levels.items() if primary is None or alpha != primary.alpha]
    if primary is None:
        return f"{others[0]} interval" if others else "interval"
    own = f"{levels[primary.alpha]} interval"
    return f"{own} of {primary.measure}, {others[0]} of the others" if others else own


def _numbers(reason: Reason, decision: GateDecision) -> str:
    if check_of(reason, decision) is not None:
        return ""
    row = decision.comparison(reason.measure) if reason.measure else None
    if row is not None:
        return comparison_numbers(row)
    floor = next((row for row in decision.floors if row.measure == reason.measure), None)
    if floor is not None:
        bound = "at least" if floor.direction == "higher" else "at most"
        return (
            f"mean {numbers.fixed(floor.mean, 3)}, asked: {bound} {numbers.fixed(floor.floor, 3)}"
        )
    return ""
