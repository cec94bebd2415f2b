"""`ratchet label`: a person marks answers of two releases, not knowing which is whose."""

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.rule import Rule

from flows.commands.console import Json, print_json, reported, screen
from flows.workspace import open_workspace
from tasks.errors import BadInput
from tasks.store import write_atomic

if TYPE_CHECKING:
    from flows.steps.label import Labelling
    from tasks.gate.draws import DrawnCase
    from tasks.gate.labels import Label

label = typer.Typer()

MEANINGS = {
    "judge_accuracy": "does it agree with the reference? 5 says the same, 3 partly, 1 is wrong",
    "judge_completeness": "is everything of the reference in it? 5 all, 3 about half, 1 nothing",
    "judge_clarity": "can a reader use it at once? 5 direct and short, 1 confusing or no answer",
}
"""The rubric's own words, so that people and judge answer the same question."""
By = Annotated[str | None, typer.Option(help="Who labels; default: you.")]


class _Stop(Exception):
    """The person wants to stop."""


class _Back(Exception):
    """The person wants to see the case before this one again."""


@label.callback(invoke_without_command=True)
def answers(
    context: typer.Context,
    cases: Annotated[int, typer.Option(min=1, help="Label the first so many of the draw.")] = 50,
    measure: Annotated[
        list[str] | None, typer.Option(help="What to mark; again for more. Default: the rubric.")
    ] = None,
    champion: Annotated[str, typer.Option(help="A release that was evaluated.")] = "champion",
    challenger: Annotated[
        str | None, typer.Option(help="Another one; default: the one evaluated last.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random draw.")] = 0,
    by: By = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a file to fill in, instead of asking here.")
    ] = None,
) -> None:
    """Mark answers of the champion and another release, in random order and without their names.

    The draw is recorded first, in data/labels/draws; labels go to data/labels. Stop with q
    whenever you like; the same command continues.

    Example: ratchet label --cases 60 --by kim
    """
    if context.invoked_subcommand is not None:
        return
    from flows.steps.label import evaluated_pair, open_labelling

    with reported():
        workspace = open_workspace()
        old, new = evaluated_pair(workspace, champion=champion, challenger=challenger)
        work = open_labelling(workspace, old, new, measures=measure or (), labeller=by, seed=seed)
        chosen = work.draw.cases[:cases]
        if csv is not None:
            _write_sheet(work, chosen, csv)
            return
        screen.print(
            f"Draw {work.draw.digest[:12]}: the first {len(chosen)} of {len(work.draw.cases)} "
            f"cases in random order. Labelling as {escape(work.labeller)}.\n"
            "[dim]A key for each mark; b goes back a case, q stops and keeps what is done.[/]"
        )
        _ask_all(work, chosen)
        done = sum(work.is_done(case) for case in chosen)
        where = work.path.relative_to(workspace.project.root)
        screen.print(
            f"\n{done} of {len(chosen)} cases are labelled by {escape(work.labeller)}"
            + (f", in {escape(str(where))}." if work.path.is_file() else "."),
            soft_wrap=True,
        )
        if done == len(chosen):
            screen.print("[bold]Next:[/] ratchet judge calibrate")


@label.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV: filled in, or with the fields of a label.")],
    by: By = None,
    as_json: Json = False,
) -> None:
    """Read labels from a CSV file into data/labels; importing it again changes nothing.

    Example: ratchet label import answers.csv --by kim
    """
    from flows.steps.label import import_csv

    with reported():
        added, replaced, paths = import_csv(open_workspace(), file, labeller=by)
        if as_json:
            print_json({"added": added, "replaced": replaced, "files": [str(p) for p in paths]})
            return
        screen.print(
            f"{added} label(s) added, {replaced} replaced, in "
            f"{escape(', '.join(str(path) for path in paths))}.",
            soft_wrap=True,
        )


def _write_sheet(work: "Labelling", chosen: "tuple[DrawnCase, ...]", path: Path) -> None:
    from tasks.gate.label_csv import label_sheet

    if path.exists():
        raise BadInput(
            f"{str(path)!r} exists, and may hold labels.",
            next_step=f"Import it, or give another name: ratchet label import {path}",
        )
    left = [case.case_id for case in chosen if not work.is_done(case)]
    write_atomic(path, label_sheet(work.draw, left, work.shown, work.measures))
    screen.print(
        f"{len(left)} case(s) to label are in {escape(str(path))}; whose answer A and B are is "
        f"drawn anew for each case.\n[bold]Next:[/] fill in the last {len(work.measures)} "
        f"column(s), then: ratchet label import {escape(str(path))}",
        soft_wrap=True,
    )


def _ask_all(work: "Labelling", chosen: "tuple[DrawnCase, ...]") -> None:
    """Ask for every case that isn't done; a case is kept when its last mark is given."""
    left = [number for number, case in enumerate(chosen) if not work.is_done(case)]
    place = 0
    while place < len(left):
        number = left[place]
        try:
            work.keep(_ask(work, chosen[number], f"{number + 1} of {len(chosen)}"))
            place += 1
        except _Back:
            place = max(place - 1, 0)
        except _Stop:
            return


def _ask(work: "Labelling", case: "DrawnCase", title: str) -> "list[Label]":
    shown = work.shown[case.case_id]
    screen.print()
    screen.print(Rule(f"[bold]Case {title}", align="left"))
    screen.print(f"[bold]Question[/]   {visible(shown.question)}", soft_wrap=True)
    screen.print(f"[bold]Reference[/]  {visible(shown.reference)}", soft_wrap=True)
    sides = work.draw.shown(case)
    names = ("A", "B") if len(sides) > 1 else ("A and B",)
    for name, (_, answer) in zip(names, sides, strict=True):
        screen.print(f"\n[bold]Answer {name}[/]\n{visible(shown.texts[answer])}", soft_wrap=True)
    labels = []
    for measure in work.measures:
        scale = work.scales[measure]
        meaning = f"[dim]  {MEANINGS[measure]}[/]" if measure in MEANINGS else ""
        screen.print(f"\n{escape(measure)} ({scale.keys[0]} to {scale.keys[-1]}){meaning}")
        for name, side in zip(names, sides, strict=True):
            value = scale.values[scale.keys.index(_key(f"  {name}: ", scale.keys))]
            labels.append(work.label(case, side, measure, value))
    return labels


def _key(prompt: str, keys: tuple[str, ...]) -> str:
    """One of these keys, pressed without Enter; all others are ignored."""
    screen.print(prompt, end="")
    while True:
        try:
            pressed = typer.getchar()
        except EOFError:
            pressed = ""
        except OSError as error:
            raise BadInput(
                "This isn't a terminal that a key can be pressed in.",
                next_step="Label in a file: ratchet label --csv answers.csv",
            ) from error
        if pressed in ("", "q"):
            screen.print()
            raise _Stop
        if pressed == "b":
            screen.print("back")
            raise _Back
        if pressed in keys:
            screen.print(pressed)
            return pressed


def visible(text: str) -> str:
    """Untrusted text for the terminal: no markup, and no character that controls it."""
    shown = (
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(character).startswith("C") and character not in "\n\t"
        else character
        for character in text
    )
    return escape("".join(shown)) or "[dim](an empty answer)[/]"
