"""GateDecision + what it was made from -> a short Markdown report, for a Prefect artifact.

Everything that a model, a document or a server wrote is escaped character by character: a viewer
must neither render nor load anything that it holds.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.digest import SHORT
from tasks.gate.attribution import PartEffect
from tasks.gate.decision import Comparison, GateDecision
from tasks.gate.scores import Scores
from tasks.report import effort, numbers, words
from tasks.report.cases import CaseView, Side, sorting_measure, view_cases
from tasks.report.evidence import Evidence, Logs, evidence
from tasks.report.findings import STATUSES, Finding, Status, findings
from tasks.report.latency import latency_rows

if TYPE_CHECKING:
    from tasks.evaluate.log import EvalLog
    from tasks.serve.latency import LatencyReport

SHOWN_CASES = 5
"""Wins and losses that are named; the page has all."""

SHOWN_TEXT = 160
"""Characters of an answer."""

_ICONS = {"PROMOTE": "✅", "HOLD": "⏸️", "REJECT": "⛔"}
_MARKS: dict[Status, str] = {
    "passed": "✅",
    "hold": "⏸️",
    "reject": "⛔",
    "note": "ℹ️",
    "not_checked": "⚪",
}
_EFFECTS = {"helped": "**helped**", "hurt": "**hurt**", "unclear": "not shown"}
_PLAIN = re.compile(r"[^\w\s,?'%–…·-]|_")
_LINE_BREAKS = re.compile(r"\s+")


def escape(text: str) -> str:
    """Make a text show as itself inside a Markdown table cell.

    Punctuation becomes character references: they can't start a tag, a link, an image, code,
    a table cell or an address that a viewer would turn into a link by itself.
    """
    # Invisible characters go: some turn the direction of everything after them.
    shown = "".join(c if c.isprintable() or c.isspace() else " " for c in text)
    line = _LINE_BREAKS.sub(" ", shown).strip()
    return _PLAIN.sub(lambda found: f"&#{ord(found[0])};", line)


def decision_markdown(
    decision: GateDecision,
    champion: "EvalLog | Scores | None",
    challenger: "EvalLog | Scores",
    *,
    attribution: Sequence[PartEffect] = (),
    page: str | None = None,
    latency: "LatencyReport | None" = None,
    spent: Mapping[str, float] | None = None,
) -> str:
    """Summarise a decision.

    Args:
        decision: what the gate decided.
        champion: the live release's evaluation, or its scores; None for a first release.
        challenger: the same of the challenger.
        attribution: what each of several changes does by itself.
        page: where the full HTML page is, for people to open.
        latency: what a probe of both sides found.
        spent: by currency, what all calls of the run cost that made it.
    """
    shown = evidence(champion, challenger)
    currency = shown.logs.new.manifest.currency if shown.logs else ""
    parts = [
        f"# {_ICONS[decision.verdict]} {decision.verdict}\n\n**{words.headline(decision)}**",
        _sides(decision, shown),
        _reasons(decision),
        _checks(findings(decision)),
        _measures(decision, currency),
        _anchor(decision),
        _changes(attribution),
        _slices(decision),
        _cases(decision, shown),
        _effort(shown.logs, spent or {}),
        _latency(latency),
    ]
    if page:
        parts.append(f"Full report: {escape(page)}")
    parts.append(
        f"Decision {_code(decision.digest)}, policy {_code(decision.policy_digest)}, "
        f"seed {decision.seed}"
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _latency(found: "LatencyReport | None") -> str:
    if found is None:
        return ""
    how = (
        f"Poisson arrivals of both sides together, prefix cache {found.prefix_cache}; in brackets "
        f"{found.confidence:.0%} intervals."
    )
    lines = [
        f"## Latency at {found.rate:g} requests a second",
        "",
        how,
        "",
        "| | | 50 % | 95 % | 99 % | Requests | Failed |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in latency_rows(found):
        cells = [row.what, escape(row.side), *row.quantiles, str(row.n), str(row.failures)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _code(digest: str) -> str:
    return f"`{digest[:SHORT]}`"


def _sides(decision: GateDecision, shown: Evidence) -> str:
    challenger = escape(decision.challenger) or "without a name"
    champion = "none yet" if shown.old is None else escape(decision.champion or "without a name")
    suite = f"suite {escape(shown.logs.new.manifest.suite_name)} with " if shown.logs else ""
    return (
        f"Challenger **{challenger}**, champion **{champion}**, {suite}"
        f"{numbers.plural(len(shown.new.cases), 'case')}"
    )


def _reasons(decision: GateDecision) -> str:
    lines = ["## Why", ""]
    for reason in words.sentences(decision):
        mark = {"PROMOTE": "for", "HOLD": "hold", "REJECT": "against"}[reason.verdict]
        line = f"- **{mark}**: {escape(reason.text)}"
        if reason.numbers:
            line += f" {reason.numbers}"
        if reason.next_step:
            line += f" *What would settle it:* {escape(reason.next_step)}"
        if reason.cases:
            line += " Cases: " + ", ".join(escape(case) for case in reason.cases[:SHOWN_CASES])
        lines.append(line)
    return "\n".join(lines)


def _checks(rows: Iterable[Finding]) -> str:
    lines = ["## Checks", "", "| | | |", "|---|---|---|"]
    for row in rows:
        text = escape(row.text)
        if row.detail:
            text += f" ({escape(row.detail)})"
        status = f"{_MARKS[row.status]} {STATUSES[row.status]}"
        lines.append(f"| {status} | {escape(row.label)} | {text} |")
    return "\n".join(lines)


def _measures(decision: GateDecision, currency: str) -> str:
    if not decision.comparisons:
        rows = [
            f"| {escape(row.measure)} | {numbers.fixed(row.mean, 3)} | "
            f"{'at least' if row.direction == 'higher' else 'at most'} "
            f"{numbers.fixed(row.floor, 3)} | {'reached' if row.met else '**missed**'} |"
            for row in decision.floors
        ]
        head = ["## Floors", "", "| Measure | Mean | Asked | Result |", "|---|--:|--:|---|"]
        return "\n".join([*head, *rows])
    head = ["## Measures", "", f"Changes with the {escape(words.intervals(decision))}.", ""]
    table = _comparisons(decision.comparisons, "Champion", currency)
    return "\n".join([*head, *table])


def _comparisons(rows: Iterable[Comparison], other: str, currency: str = "") -> list[str]:
    lines = [
        f"| Measure | {other} | Challenger | Change | p | Result |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        name = escape(row.measure) + (f" ({row.role})" if row.role != "report" else "")
        means = [
            numbers.mean(row.kind, row.measure, value, currency=currency)
            for value in (row.mean_champion, row.mean_challenger)
        ]
        result = words.result(row)
        result = result if row.role == "report" else f"**{result}**"
        if row.n_unpaired:
            result += f", {row.n_unpaired} of {row.n} missing"
        lines.append(
            f"| {name} | {means[0]} | {means[1]} | {numbers.change(row)} "
            f"({numbers.interval(row)}) | {numbers.p_value(words.shown_p(row))} | "
            f"{result} |"
        )
    return lines


def _anchor(decision: GateDecision) -> str:
    if not decision.anchor_comparisons:
        return ""
    table = _comparisons(decision.anchor_comparisons, "Anchor")
    return "\n".join(["## Against the anchor", "", *table])


def _changes(attribution: Sequence[PartEffect]) -> str:
    if not attribution:
        return ""
    measure = escape(attribution[0].primary.measure)
    lines = [
        "## What each change does by itself",
        "",
        f"| Changed part | Effect on {measure} | Change | p | Guardrails that it breaks |",
        "|---|---|--:|--:|---|",
    ]
    for row in attribution:
        broken = ", ".join(escape(name) for name in row.worse) or "none"
        p = numbers.p_value(words.shown_p(row.primary))
        lines.append(
            f"| {escape(row.part)} | {_EFFECTS[row.effect]} | {numbers.change(row.primary)} "
            f"({numbers.interval(row.primary)}) | {p} | {broken} |"
        )
    return "\n".join(lines)


def _slices(decision: GateDecision) -> str:
    """The worst ones; the page has all."""
    if not decision.slices:
        return ""
    rule = decision.policy.measures[sorting_measure(decision.policy)]
    worst = sorted(decision.slices, key=lambda row: (not row.lost, row.delta))[:SHOWN_CASES]
    lines = ["## Slices", "", "| Tag | Cases | Change | Result |", "|---|--:|--:|---|"]
    for row in worst:
        change = numbers.amount(rule.kind, rule.direction, row.delta)
        bounds = numbers.between(rule.kind, rule.direction, row.low, row.high)
        result = "**lost**" if row.lost else "not lost"
        lines.append(f"| {escape(row.tag)} | {row.n} | {change} ({bounds}) | {result} |")
    more = len(decision.slices) - len(worst)
    return "\n".join([*lines, *(["", f"and {more} more"] if more else [])])


def _cases(decision: GateDecision, shown: Evidence) -> str:
    if shown.old is None:
        return ""
    views = view_cases(decision.policy, shown)
    lost = [view for view in views if view.change == "lost"]
    won = [view for view in views if view.change == "won"]
    ties = sum(view.change == "tie" for view in views)
    counts = (
        f"**{numbers.plural(len(won), 'win')}**",
        f"**{numbers.plural(len(lost), 'loss', 'losses')}**",
        numbers.plural(ties, "tie"),
    )
    lines = [
        "## Cases",
        "",
        f"By {escape(sorting_measure(decision.policy))}: {', '.join(counts)}.",
    ]
    question = " Question |" if shown.logs else ""
    for title, members in (("Losses", lost), ("Wins", won)):
        if members:
            more = len(members) - SHOWN_CASES
            lines += [
                "",
                f"| {title} |{question} Champion | Challenger |",
                f"|---|{'---|' if question else ''}---|---|",
                *(_case(view) for view in members[:SHOWN_CASES]),
            ]
            if more > 0:
                lines += ["", f"and {more} more"]
    return "\n".join(lines)


def _case(view: CaseView) -> str:
    cells = [view.case.case_id]
    if view.question is not None:
        cells.append(view.question.text)
    for side in (view.old, view.new):
        text = _said(side, view) if side else ""
        cells.append(text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + "…")
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _said(side: Side, view: CaseView) -> str:
    """The answer; without one its error, and without an evaluation the value."""
    if side.answered is not None and side.answered.text is not None:
        return side.answered.text
    if side.error is not None:
        return side.error
    sorting = view.values[0]
    return numbers.score(sorting.kind, sorting.measure, side.value)


def _effort(logs: Logs | None, spent: Mapping[str, float]) -> str:
    if logs is None:
        return ""
    both = [row for log in (logs.old, logs.new) if log for row in log.manifest.costs.values()]
    currency = logs.new.manifest.currency
    lines = [
        "## Time, cost and failures",
        "",
        "| | Spent | Machine time | Median latency | Failures |",
    ]
    lines.append("|---|--:|--:|--:|--:|")
    for name, log in (("champion", logs.old), ("challenger", logs.new)):
        if log is not None:
            time = effort.latency(log)
            rows = list(log.manifest.costs.values())
            paid, seconds = effort.total(rows), effort.machine_s(rows)
            lines.append(
                f"| {name} | {numbers.money(paid, currency)}"
                f" | {'–' if seconds is None else numbers.duration(seconds)}"
                f" | {numbers.duration(time.p50) if time else numbers.UNKNOWN}"
                f" | {numbers.count(len(log.failures))} |"
            )
    taken = numbers.money(effort.total(both), currency)
    lines += ["", f"Both evaluations together: {taken}; what was cached was paid for before."]
    for unit, amount in sorted(spent.items()):
        lines.append(f"All calls of this run: {numbers.money(amount, unit)}.")
    return "\n".join(lines)
