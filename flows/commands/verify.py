"""`ratchet verify`: whether ledger and stored content still are what was written."""

from dataclasses import asdict

import typer
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen
from flows.workspace import open_workspace


def verify(as_json: Json = False) -> None:
    """Check every event, pointer and stored content; needs no server but the ledger's.

    Every event carries a digest of itself and of the one before it, so that nothing can be
    changed, removed or moved without a trace. The first thing that doesn't fit is named. Nothing
    is repaired. Exit code: 0 everything fits, 1 something doesn't.

    Example: ratchet verify
    """
    with reported(), open_workspace().registry(repair=False) as registry:
        found = registry.verify()
    if as_json:
        print_json({"fits": found.fits} | asdict(found))
    else:
        counts = ", ".join(f"{count} {what}" for what, count in found.checked.items())
        if found.misfit is None:
            screen.print(f"[green]Everything fits:[/] {counts}.")
        else:
            screen.print(f"[red]Doesn't fit:[/] {escape(found.misfit.message)}", soft_wrap=True)
            screen.print(f"[bold]Next:[/bold] {escape(found.misfit.next_step)}", soft_wrap=True)
            screen.print(f"Fits before it: {counts or 'nothing'}.")
    if not found.fits:
        raise typer.Exit(1)
