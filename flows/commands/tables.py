"""Evaluations and decisions as short tables for the terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape

from flows.commands.console import table
from flows.outcome import Outcome
from flows.workspace import Workspace
from tasks.evaluate.log import EvalLog
from tasks.gate.decision import GateDecision, load_decision
from tasks.gate.noise import NoiseFloor
from tasks.report.numbers import p_value, significant

_STATUS_COLORS = {"passed": "green", "failed": "red", "note": "cyan", "not_checked": "yellow"}
_COLORS = {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red", "UNCHANGED": "cyan"}


def means_table(log: EvalLog) -> RenderableType:
    """Mean, cases and failures of each measure."""
    shown = table("measure", ">mean", ">cases", ">failed")
    for info in log.manifest.measures:
        values = log.values(info.name).values()
        mean = significant(sum(values) / len(values)) if values else "none"
        shown.add_row(info.name, mean, str(len(values)), str(len(log.failed(info.name)) or ""))
    return shown


def decision_table(decision: GateDecision) -> RenderableType:
    """The measures that decide, or a first release's floors."""
    if not decision.comparisons:
        floors = table("measure", ">mean", ">floor", "")
        for floor in decision.floors:
            floors.add_row(
                floor.measure,
                significant(floor.mean),
                significant(floor.floor),
                "met" if floor.met else "missed",
            )
        return floors
    shown = table("measure", "role", ">champion", ">challenger", ">wins", ">losses", ">p", "")
    for row in decision.comparisons:
        if row.role == "report":
            continue
        shown.add_row(
            row.measure,
            row.role,
            "none" if row.mean_champion is None else significant(row.mean_champion),
            "none" if row.mean_challenger is None else significant(row.mean_challenger),
            str(row.wins),
            str(row.losses),
            p_value(row.p_value),
            row.outcome.replace("_", " "),
        )
    return shown


def checks_table(decision: GateDecision) -> RenderableType:
    """What was checked beside the measures, and what wasn't."""
    shown = table("check", "", "")
    for check in decision.checks:
        color = _STATUS_COLORS[check.status]
        status = check.status.replace("_", " ")
        shown.add_row(check.name.replace("_", "-"), f"[{color}]{status}[/]", escape(check.text))
    return shown


def noise_table(noise: NoiseFloor) -> RenderableType:
    """How far each deciding measure differs between two evaluations of the same release."""
    shown = table("measure", ">cases", ">differ", ">counts from")
    for name, found in noise.measures.items():
        floor = noise.floor(name, found.n_clusters) or 0.0
        shown.add_row(name, str(found.n), str(found.changed), significant(floor))
    return shown


def outcome_lines(workspace: Workspace, outcome: Outcome) -> Iterator[RenderableType]:
    """Verdict first, then the table, the reasons and where the report is."""
    color = _COLORS[outcome.verdict]
    yield f"[bold {color}]{outcome.verdict}[/] {escape(outcome.message)}"
    if outcome.decision is None:
        yield from (f"  {escape(reason)}" for reason in outcome.reasons[1:])
        yield from _page_line(workspace, outcome)
        return
    decision = load_decision(workspace.home.path("decisions", outcome.decision))
    yield decision_table(decision)
    for reason in decision.reasons:
        if reason.verdict != "PROMOTE":
            yield f"  {reason.verdict}: {escape(reason.text)}"
            if reason.next_step:
                yield f"    {escape(reason.next_step)}"
    yield from _page_line(workspace, outcome)


def _page_line(workspace: Workspace, outcome: Outcome) -> Iterator[RenderableType]:
    if outcome.page is not None:
        root = workspace.project.root
        page = outcome.page.relative_to(root) if outcome.page.is_relative_to(root) else outcome.page
        yield f"[dim]Report: {page}[/]"
