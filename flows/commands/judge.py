"""`ratchet judge`: is the judge worth listening to, and is it still the one that was measured?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen, table
from flows.show import terminal_progress
from flows.workspace import open_workspace
from tasks.digest import SHORT

if TYPE_CHECKING:
    from tasks.gate.agreement import Estimate
    from tasks.gate.calibration import JudgeCalibration
    from tasks.gate.drift import DriftResult

judge = typer.Typer(help="Measure the judge by people's labels.", no_args_is_help=True)

_VOTES = {
    "alone": "[green]alone[/]",
    "with_labels": "[yellow]with labels[/]",
    "report_only": "[red]report only[/]",
}


@judge.callback()
def _group() -> None:
    """Measure the judge by people's labels."""


@judge.command()
def calibrate(
    pairwise: Annotated[
        Path | None,
        typer.Option(help='A judge of pairs: {"case_id", "order", "winner"}, one a line.'),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the judge's scores with the labels, and say which of its measures may vote.

    The labelled answers are frozen with the scores of now, to notice when the judge changes.

    Example: ratchet judge calibrate
    """
    from flows.steps.judge import calibrate_judge
    from tasks.gate.judge_bias import load_verdicts

    with reported():
        verdicts = load_verdicts(pairwise) if pairwise else ()
        found = calibrate_judge(open_workspace(), pairwise=verdicts)
        if as_json:
            print_json(found.model_dump(mode="json"))
        else:
            _show(found)


@judge.command()
def anchor(as_json: Json = False) -> None:
    """Freeze the labelled answers with the judge's scores of now, as calibrating does.

    Example: ratchet judge anchor
    """
    from flows.steps.judge import freeze_anchor

    with reported():
        frozen = freeze_anchor(open_workspace())
        if as_json:
            print_json(
                {
                    "anchor": frozen.digest,
                    "judge": frozen.judge_digest,
                    "suite": frozen.suite_digest,
                    "answers": len(frozen.answers),
                    "at": frozen.at,
                }
            )
            return
        screen.print(
            f"{len(frozen.answers)} labelled answers are frozen with the scores of judge "
            f"{frozen.judge_digest[:SHORT]}.\n[bold]Next:[/] ratchet judge rejudge   asks it again"
        )


@judge.command()
def rejudge(as_json: Json = False) -> None:
    """Ask the judge about the frozen answers again; one that moved too far loses its vote.

    Example: ratchet judge rejudge
    """
    from flows.steps.judge import refresh_anchor

    with reported():
        workspace = open_workspace()
        with terminal_progress() as progress:
            found = refresh_anchor(workspace, progress)
        if as_json:
            print_json(found.model_dump(mode="json") if found else None)
        elif found is None:
            screen.print("Nothing is frozen for this suite yet.\n[bold]Next:[/] ratchet label")
        else:
            _show_drift(found)


@judge.command()
def status(as_json: Json = False) -> None:
    """Show what is known about the current judge; nothing is computed.

    Example: ratchet judge status
    """
    from flows.steps.judge import current_judge
    from flows.steps.label import stored_labels
    from tasks.gate.calibration import load_calibration
    from tasks.gate.drift import load_frozen

    with reported():
        workspace = open_workspace()
        manifest = current_judge(workspace)
        found = load_calibration(workspace.home, manifest.judge_digest)
        frozen = load_frozen(workspace.home, manifest.suite_digest)
        labels = [
            label
            for label in stored_labels(workspace)
            if label.suite_digest == manifest.suite_digest
        ]
        if as_json:
            print_json(
                {
                    "judge": manifest.judge_digest,
                    "suite": manifest.suite_digest,
                    "labels": len(labels),
                    "labellers": sorted({label.labeller for label in labels}),
                    "frozen_answers": len(frozen.answers) if frozen else 0,
                    "votes": {name: found.vote(name) for name in found.measures} if found else {},
                    "calibration": found.model_dump(mode="json") if found else None,
                }
            )
            return
        people = sorted({label.labeller for label in labels})
        screen.print(
            f"Judge {manifest.judge_digest[:SHORT]} on suite {escape(manifest.suite_name)}: "
            f"{len(labels)} label(s)"
            + (f" by {escape(', '.join(people))}" if people else "")
            + f", {len(frozen.answers) if frozen else 0} frozen answer(s)."
        )
        if found is None:
            step = "ratchet judge calibrate" if labels else "ratchet label"
            screen.print(f"It was never calibrated: it only reports.\n[bold]Next:[/] {step}")
        else:
            _show(found)


def _show(found: "JudgeCalibration") -> None:
    shown = table(
        "measure", ">labels", ">kappa", ">alpha", ">people", ">same mark", ">length", "vote"
    )
    for name, row in found.measures.items():
        numbers = row.agreement
        shown.add_row(
            escape(name),
            str(numbers.n),
            _interval(numbers.decisive),
            _number(numbers.alpha.value if numbers.alpha else None),
            _number(row.between_people),
            _number(numbers.raw.value if numbers.raw else None),
            _interval(row.verbosity_slope, signed=True),
            _VOTES[found.vote(name)],
        )
    screen.print(shown)
    if found.position is not None:
        screen.print(
            f"Same winner in both orders: {_interval(found.position.share)} of "
            f"{found.position.n} pairs."
        )
    for name in found.measures:
        for reason in found.reasons(name):
            screen.print(f"  {escape(name)}: {escape(reason)}", soft_wrap=True)


def _show_drift(found: "DriftResult") -> None:
    shown = table("measure", ">answers", ">unreadable", ">moved by", ">direction", "")
    for name, row in found.measures.items():
        shown.add_row(
            escape(name),
            str(row.n),
            str(row.unreadable or ""),
            _interval(row.absolute),
            _interval(row.signed, signed=True),
            "[red]too far[/]" if row.over else "[green]steady[/]",
        )
    screen.print(shown)
    screen.print(f"[dim]Shares of the scale; {found.limit:g} is allowed.[/]")
    if found.over:
        screen.print("The judge only reports now.\n[bold]Next:[/] ratchet judge calibrate")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _interval(found: "Estimate | None", *, signed: bool = False) -> str:
    if found is None:
        return "unknown"
    sign = "+" if signed else ""
    return f"{found.value:{sign}.2f} [{found.low:{sign}.2f}, {found.high:{sign}.2f}]"
