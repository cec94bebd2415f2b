"""GateDecision -> plain sentences: the verdict, and each reason with its numbers."""

from dataclasses import dataclass

from tasks.gate.decision import Comparison, GateDecision, Outcome, Reason
from tasks.report import numbers

OUTCOMES: dict[Outcome, str] = {
    "better": "better",
    "not_worse": "not worse",
    "worse": "worse",
    "unclear": "not shown",
    "reported": "no vote",
}

ROLES = {"primary": "primary", "guardrail": "guardrail", "report": "report"}


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
    return tuple(_sentence(reason, decision) for reason in decision.reasons)


def _sentence(reason: Reason, decision: GateDecision) -> Sentence:
    return Sentence(
        verdict=reason.verdict,
        text=reason.text,
        numbers=_numbers(reason, decision),
        next_step=reason.next_step,
        cases=reason.cases,
    )


def _numbers(reason: Reason, decision: GateDecision) -> str:
    row = decision.comparison(reason.measure) if reason.measure else None
    if row is not None:
        return comparison_numbers(row, decision)
    floor = next((row for row in decision.floors if row.measure == reason.measure), None)
    if floor is not None:
        bound = "at least" if floor.direction == "higher" else "at most"
        return (
            f"mean {numbers.fixed(floor.mean, 3)}, asked: {bound} {numbers.fixed(floor.floor, 3)}"
        )
    return ""


def comparison_numbers(row: Comparison, decision: GateDecision) -> str:
    """Change, interval and p-value of one measure."""
    parts = [f"{numbers.change(row)} ({confidence(decision)} {numbers.interval(row)})"]
    if row.outcome == "worse":
        parts.append(f"p {numbers.p_value(row.p_worse)}")
    elif row.p_value is not None:
        parts.append(f"p {numbers.p_value(row.p_value)}")
    wanted = numbers.threshold(row)
    if wanted:
        parts.append(f"asked: {wanted}")
    return ", ".join(parts)


def confidence(decision: GateDecision) -> str:
    """The level of the intervals: each end holds with 1 - alpha."""
    return f"{numbers.fixed((1 - 2 * decision.policy.alpha) * 100, 0)} % interval"
