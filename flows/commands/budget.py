"""`ratchet gate budget`: what the looks at each suite have cost, and what is left."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen, table
from flows.workspace import open_workspace
from registry import Budget, SpentLook
from tasks.digest import SHORT
from tasks.report.numbers import plural, significant

SHOWN = 20
"""Looks of one suite in the table; JSON has all."""


def budget(
    policy: Annotated[
        Path | None, typer.Option(help="The rules; default: the project's configs/gate.yaml.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the looks that were spent at each suite, and what alpha is left for later ones.

    Example: ratchet gate budget
    """
    from tasks.gate.policy import load_policy

    with reported():
        workspace = open_workspace()
        rules = load_policy(policy or workspace.project.gate_policy)
        with workspace.registry() as registry:
            budgets = registry.budgets(rule=rules.spending, alpha=rules.alpha)
            labels = {row.digest: row.label for row in registry.releases()}
        if as_json:
            print_json([_plain(each) for each in budgets])
            return
        if not budgets:
            screen.print("No look was spent yet. The first comparison does: ratchet nightly")
        for each in budgets:
            _show(each, labels)


def _show(budget: Budget, labels: dict[str, str]) -> None:
    left = "no limit" if budget.left is None else significant(budget.left)
    screen.print(
        f"[bold]Suite {budget.suite[:SHORT]}, judge {budget.judge[:SHORT]}[/]: "
        f"{plural(len(budget.looks), 'look')}, alpha spent {significant(budget.spent)}, "
        f"left {left}, of it for the next look {significant(budget.next_alpha)}"
    )
    shown = table(">look", "when", "challenger", "champion", ">alpha", "ended")
    for spent in budget.looks[-SHOWN:]:
        shown.add_row(
            str(spent.look.number),
            spent.at,
            escape(labels.get(spent.challenger, spent.challenger[:SHORT])),
            escape(labels.get(spent.champion or "", (spent.champion or "none")[:SHORT])),
            significant(spent.look.alpha),
            spent.verdict or "[yellow]undecided[/]",
        )
    screen.print(shown)
    if len(budget.looks) > SHOWN:
        screen.print(f"[dim]{plural(len(budget.looks) - SHOWN, 'earlier look')}: --json[/]")


def _plain(budget: Budget) -> dict[str, Any]:
    return {
        "suite": budget.suite,
        "judge": budget.judge,
        "spent": budget.spent,
        "left": budget.left,
        "next_alpha": budget.next_alpha,
        "looks": [_plain_look(spent) for spent in budget.looks],
    }


def _plain_look(spent: SpentLook) -> dict[str, Any]:
    return {
        "number": spent.look.number,
        "alpha": spent.look.alpha,
        "rule": spent.rule,
        "at": spent.at,
        "who": spent.who,
        "challenger": spent.challenger,
        "champion": spent.champion,
        "decision": spent.decision,
        "verdict": spent.verdict,
    }
