"""GateDecision + eval logs -> a short Markdown report, for a Prefect artifact.

Everything that a model, a document or a server wrote is escaped character by character: a viewer
must neither render nor load anything that it holds.
"""

import re
from typing import TYPE_CHECKING

from tasks.digest import SHORT
from tasks.gate.decision import GateDecision
from tasks.report import effort, numbers, words
from tasks.report.cases import CaseView, sorting_measure, view_cases

if TYPE_CHECKING:
    from tasks.evaluate.log import EvalLog

SHOWN_CASES = 5
"""Wins and losses that are named; the page has all."""

SHOWN_TEXT = 160
"""Characters of an answer."""

_ICONS = {"PROMOTE": "✅", "HOLD": "⏸️", "REJECT": "⛔"}
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
    champion_log: "EvalLog | None",
    challenger_log: "EvalLog",
    *,
    page: str | None = None,
) -> str:
    """Summarise a decision.

    Args:
        decision: what the gate decided.
        champion_log: the live release's evaluation; None for a first release.
        challenger_log: the challenger's evaluation.
        page: where the full HTML page is, for people to open.
    """
    parts = [
        f"# {_ICONS[decision.verdict]} {decision.verdict}\n\n**{words.headline(decision)}**",
        _sides(decision, challenger_log),
        _reasons(decision),
        _measures(decision, challenger_log),
        _cases(decision, champion_log, challenger_log),
        _effort(champion_log, challenger_log),
    ]
    if page:
        parts.append(f"Full report: {escape(page)}")
    parts.append(
        f"Decision {_code(decision.digest)}, policy {_code(decision.policy_digest)}, "
        f"seed {decision.seed}"
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _code(digest: str) -> str:
    return f"`{digest[:SHORT]}`"


def _sides(decision: GateDecision, log: "EvalLog") -> str:
    champion = escape(decision.champion) if decision.champion else "none yet"
    return (
        f"Challenger **{escape(decision.challenger)}**, champion **{champion}**, suite "
        f"{escape(log.manifest.suite_name)} with {numbers.plural(len(log.results), 'case')}"
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


def _measures(decision: GateDecision, log: "EvalLog") -> str:
    currency = log.manifest.currency
    if not decision.comparisons:
        rows = [
            f"| {escape(row.measure)} | {numbers.fixed(row.mean, 3)} | "
            f"{'at least' if row.direction == 'higher' else 'at most'} "
            f"{numbers.fixed(row.floor, 3)} | {'reached' if row.met else '**missed**'} |"
            for row in decision.floors
        ]
        head = ["## Floors", "", "| Measure | Mean | Asked | Result |", "|---|--:|--:|---|"]
        return "\n".join([*head, *rows])
    lines = [
        "## Measures",
        "",
        f"| Measure | Champion | Challenger | Change ({words.confidence(decision)}) | p | Result |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in decision.comparisons:
        p = row.p_worse if row.outcome == "worse" else row.p_value
        name = escape(row.measure) + (f" ({row.role})" if row.role != "report" else "")
        means = [
            numbers.mean(row.kind, row.measure, value, currency=currency)
            for value in (row.mean_champion, row.mean_challenger)
        ]
        result = words.OUTCOMES[row.outcome]
        result = result if row.role == "report" else f"**{result}**"
        if row.n_unpaired:
            result += f", {row.n_unpaired} of {row.n} missing"
        lines.append(
            f"| {name} | {means[0]} | {means[1]} | {numbers.change(row)} "
            f"({numbers.interval(row)}) | {numbers.p_value(p)} | "
            f"{result} |"
        )
    return "\n".join(lines)


def _cases(decision: GateDecision, old: "EvalLog | None", new: "EvalLog") -> str:
    if old is None:
        return ""
    views = view_cases(decision.policy, old, new)
    lost = [view for view in views if view.change == "lost"]
    won = [view for view in views if view.change == "won"]
    counts = (
        f"**{numbers.plural(len(won), 'win')}**",
        f"**{numbers.plural(len(lost), 'loss', 'losses')}**",
        f"{len(views) - len(won) - len(lost)} without a difference",
    )
    lines = [
        "## Cases",
        "",
        f"By {escape(sorting_measure(decision.policy))}: {', '.join(counts)}.",
    ]
    for title, members in (("Losses", lost), ("Wins", won)):
        if members:
            more = len(members) - SHOWN_CASES
            lines += [
                "",
                f"| {title} | Question | Champion | Challenger |",
                "|---|---|---|---|",
                *(_case(view) for view in members[:SHOWN_CASES]),
            ]
            if more > 0:
                lines += ["", f"and {more} more"]
    return "\n".join(lines)


def _case(view: CaseView) -> str:
    cells = [view.case.case_id, view.case.question]
    for side in (view.old, view.new):
        text = (side.answer if side.answer is not None else side.error or "") if side else ""
        cells.append(text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + "…")
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _effort(old: "EvalLog | None", new: "EvalLog") -> str:
    currency = new.manifest.currency
    lines = ["## Time, cost and failures", "", "| | Spent | Median latency | Failures |"]
    lines.append("|---|--:|--:|--:|")
    for name, log in (("champion", old), ("challenger", new)):
        if log is not None:
            time = effort.latency(log)
            spent = effort.total(list(log.manifest.costs.values()))
            lines.append(
                f"| {name} | {numbers.money(spent, currency)}"
                f" | {numbers.duration(time.p50) if time else numbers.UNKNOWN}"
                f" | {numbers.count(len(log.failures))} |"
            )
    return "\n".join(lines)
