"""`ratchet measures`: what an evaluation can measure, and what each measure needs and asks."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.console import Json, print_json, reported, screen, table
from flows.workspace import open_workspace

if TYPE_CHECKING:
    from tasks.evaluate.measures.base import Measure

All = Annotated[bool, typer.Option("--all", help="Also those that the project doesn't use.")]


def measures(every: All = False, as_json: Json = False) -> None:
    """List the measures of configs/evaluate.yaml: what they look at and what they ask the judge.

    Example: ratchet measures --all
    """
    from tasks.evaluate.measures import MEASURES, measure

    with reported():
        used = open_workspace().project.evaluate.measures
        names = list(dict.fromkeys((*used, *MEASURES))) if every else used
        found = [measure(name) for name in names]
        if as_json:
            print_json(
                [
                    {
                        "name": each.name,
                        "version": each.version,
                        "better": _better(each),
                        "kind": each.kind,
                        "inputs": each.inputs,
                        "calls": each.calls or None,
                        "used": each.name in used,
                    }
                    for each in found
                ]
            )
            return
        shown = table("measure", ">version", "better", "kind", "looks at", "calls a case", "used")
        for each in found:
            shown.add_row(
                each.name,
                str(each.version),
                _better(each),
                each.kind,
                ", ".join(each.inputs),
                each.calls or "none",
                "yes" if each.name in used else "",
            )
        screen.print(shown)


def _better(found: "Measure") -> str:
    return "higher" if found.higher_is_better else "lower"
