"""`ratchet gc`: what nothing needs any more, and its removal."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.filesize import decimal

from flows.commands.console import Json, print_json, reported, screen, table
from flows.workspace import open_workspace
from registry.retention import Retention
from tasks.digest import SHORT

_SHOWN = 30


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else nothing is changed.")] = False,
    keep: Annotated[
        int,
        typer.Option(min=1, help="Champions that stay ready for a rollback, with the live one."),
    ] = 5,
    min_age: Annotated[
        float, typer.Option(min=0, help="Hours: what is newer may belong to a run of now.")
    ] = 24.0,
    as_json: Json = False,
) -> None:
    """Show what nothing needs any more, and remove it with --yes.

    The champion, the last champions, open decisions and the anchor keep their index, documents,
    newest evaluation and decision. The ledger and the release files are never touched.

    Example: ratchet gc --keep 3
    """
    with reported():
        workspace = open_workspace()
        with Retention(workspace.project.services.registry.url, workspace.home) as retention:
            act = retention.remove if yes else retention.plan
            plan = act(keep=keep, min_age_s=min_age * 3600)
        if as_json:
            print_json(asdict(plan) | {"bytes": plan.size, "removed": yes})
            return
        kept = table("kept release", "because it is")
        for digest, reasons in plan.kept.items():
            kept.add_row(digest[:SHORT], ", ".join(reasons))
        screen.print(kept)
        if not plan.unneeded:
            screen.print("There is nothing to remove.")
            return
        shown = table("unneeded", "what", ">size")
        for thing in plan.unneeded[:_SHOWN]:
            what = "unfinished" if thing.partial else thing.name[:SHORT]
            shown.add_row(thing.room, what, decimal(thing.size))
        screen.print(shown)
        if len(plan.unneeded) > _SHOWN:
            screen.print(f"and {len(plan.unneeded) - _SHOWN:,} more")
        freed = f"{len(plan.unneeded):,} entries, {decimal(plan.size)}"
        screen.print(f"Removed: {freed}." if yes else f"{freed}. Add --yes to remove them.")
