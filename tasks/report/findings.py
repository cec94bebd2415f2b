"""GateDecision -> every check and every vote, in plain words, with the line for a statistician."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.gate.decision import Check, CheckName, Comparison, FloorResult, GateDecision
from tasks.report import numbers, words

Status = Literal["passed", "hold", "reject", "note", "not_checked"]

CHECKS: dict[CheckName, tuple[str, str]] = {
    "comparable": ("Comparable", "Did both releases take the same test?"),
    "measures": ("Measures", "Was everything measured that decides?"),
    "failures": ("Failures", "Are few enough scores missing?"),
    "suite": ("Suite", "Does the corpus still have what the suite asks for?"),
    "floors": ("Floors", "Is there a least score that a first release is held to?"),
    "noise": ("Noise", "Does the champion agree with itself when it is asked twice?"),
    "power": ("Sensitivity", "How small an improvement can so many cases show?"),
    "preference": ("Preference", "Which answers does the judge prefer, whatever their order?"),
    "must_pass": ("Must-pass cases", "Do the cases that must work still work?"),
    "slices": ("Slices", "Did any kind of case clearly get worse?"),
    "anchor": ("Anchor", "Did many small losses add up, seen from a fixed release?"),
    "judge": ("Judge", "Does the model that gave scores agree with people?"),
    "budget": ("Alpha budget", "How often was this suite asked before, and what is left?"),
}
"""Name and question of each check beside the measures."""

STATUSES: dict[Status, str] = {
    "passed": "passed",
    "hold": "hold",
    "reject": "reject",
    "note": "note",
    "not_checked": "not checked",
}

_BEFORE_MEASURES: tuple[CheckName, ...] = (
    "comparable",
    "measures",
    "failures",
    "suite",
    "floors",
    "noise",
    "power",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    label: str
    question: str
    status: Status
    text: str
    next_step: str = ""
    detail: str = ""
    """The same for a reader who knows statistics."""
    cases: tuple[str, ...] = ()


def findings(decision: GateDecision) -> tuple[Finding, ...]:
    """Everything that was checked, in the order in which it is asked."""
    before = [check for check in decision.checks if check.name in _BEFORE_MEASURES]
    after = [check for check in decision.checks if check.name not in _BEFORE_MEASURES]
    return (
        *map(_check, before),
        *_measures(decision),
        *map(_floor, decision.floors),
        *map(_check, after),
        *_moved(decision),
    )


def _check(check: Check) -> Finding:
    label, question = CHECKS[check.name]
    return Finding(
        label=label,
        question=question,
        status=_status(check),
        text=check.text,
        next_step=check.next_step,
        detail=check.detail,
        cases=check.cases,
    )


def _status(check: Check) -> Status:
    if check.status == "failed":
        return "hold" if check.verdict == "HOLD" else "reject"
    return check.status


def _measures(decision: GateDecision) -> Iterator[Finding]:
    steps = {
        reason.measure: reason.next_step
        for reason in decision.reasons
        if words.check_of(reason, decision) is None
    }
    voting = [row for row in decision.comparisons if row.role != "report"]
    for row in sorted(voting, key=lambda row: row.role != "primary"):
        primary = row.role == "primary"
        status: Status = "passed"
        if row.outcome in ("worse", "unclear"):
            status = "reject" if row.outcome == "worse" else "hold"
        yield Finding(
            label=row.measure,
            question="Is the challenger better, or only lucky?"
            if primary
            else "Is it certain that not too much was lost?",
            status=status,
            text=_primary(row) if primary else _guardrail(row),
            next_step=steps.get(row.measure, ""),
            detail=_technical(row),
        )


def _primary(row: Comparison) -> str:
    text = f"{_means(row)}: {row.wins} won, {row.losses} lost, {row.ties} tied."
    bad, good = ("no worse", "bad") if row.outcome == "worse" else ("no better", "good")
    if row.threshold and row.outcome != "worse":
        bad = f"better by no more than {_asked(row)}"
    p = words.shown_p(row)
    if p is not None:
        seen, limit = numbers.chances(p, row.alpha)
        only = "only " if row.outcome == "unclear" else ""
        text += (
            f" A challenger that is {bad} looks this {good} by luck in {seen} tries; "
            f"{only}{limit} are allowed."
        )
    return text + _missing(row)


def _guardrail(row: Comparison) -> str:
    asked = _asked(row)
    above = "above" if row.direction == "higher" else "below"
    text = f"{_means(row)}. "
    if row.outcome == "worse":
        text += f"It had to stay {above} {asked}: {row.losses} cases lost, {row.wins} won."
        return text + _missing(row)
    sure = numbers.amount(row.kind, row.direction, row.ci_low)
    only = "only " if row.outcome == "unclear" else ""
    text += (
        f"With {numbers.certainty(row.alpha)} certainty the true change is {only}{above} {sure}; "
        f"it has to be {above} {asked}."
    )
    return text + _missing(row)


def _asked(row: Comparison) -> str:
    return numbers.amount(row.kind, row.direction, row.threshold or 0.0)


def _means(row: Comparison) -> str:
    old, new = (
        numbers.mean(row.kind, row.measure, value)
        for value in (row.mean_champion, row.mean_challenger)
    )
    return f"From {old} to {new} ({numbers.change(row)})"


def _missing(row: Comparison) -> str:
    if not row.n_unpaired:
        return ""
    verbs = ("lacks", "counts") if row.n_unpaired == 1 else ("lack", "count")
    return (
        f" {row.n_unpaired} of {row.n} cases {verbs[0]} a score and {verbs[1]} against the "
        "challenger."
    )


def _technical(row: Comparison) -> str:
    cases = numbers.plural(row.n, "case")
    if row.n_clusters < row.n:
        cases += f" in {numbers.plural(row.n_clusters, 'cluster')}"
    tail = "of a loss" if row.outcome == "worse" else "one-sided"
    return (
        f"{row.method}, {tail}: p {numbers.p_value(words.shown_p(row))} at level "
        f"{numbers.level(row.alpha)}; {words.confidence(row)} {numbers.interval(row)}; "
        f"asked: {numbers.threshold(row)}; {cases}."
    )


def _floor(row: FloorResult) -> Finding:
    bound = "at least" if row.direction == "higher" else "at most"
    missing = f"; {row.failed} of {row.n} failed" if row.failed else ""
    return Finding(
        label=row.measure,
        question="Is the first release good enough by itself?",
        status="passed" if row.met else "reject",
        text=f"Mean {numbers.fixed(row.mean, 3)}; {bound} {numbers.fixed(row.floor, 3)} is asked.",
        detail=f"{numbers.plural(row.n, 'case')}{missing}.",
    )


def _moved(decision: GateDecision) -> Iterator[Finding]:
    """Measures without a vote that changed: nothing follows, but somebody should know."""
    shown = [row for row in decision.comparisons if row.role == "report"]
    moved = [row for row in shown if words.moved(row)]
    if moved:
        yield Finding(
            label="Without a vote",
            question="Did anything else change?",
            status="note",
            text="Changed by more than chance explains: "
            + ", ".join(f"{row.measure} ({numbers.change(row)})" for row in moved)
            + ".",
            detail=f"Two-sided, adjusted for {numbers.plural(len(shown), 'measure')} (Holm): "
            + ", ".join(f"{row.measure} p {numbers.p_value(row.p_moved)}" for row in moved)
            + ".",
        )
