"""`ratchet registry`: MLflow's view of the ledger."""

from dataclasses import asdict

import typer
from rich.markup import escape

from flows.addresses import mlflow_url
from flows.commands.console import Json, print_json, reported, screen
from flows.show import terminal_progress
from flows.workspace import open_workspace
from tasks.digest import SHORT

registry = typer.Typer(no_args_is_help=True, help="MLflow's view of the ledger.")


@registry.callback()
def _group() -> None:
    """MLflow's view of the ledger."""


@registry.command()
def sync(as_json: Json = False) -> None:
    """Make MLflow's model registry say what the ledger says: releases, indexes and aliases.

    Runs do it by themselves; this also undoes what somebody changed in MLflow.

    Example: ratchet registry sync
    """
    from flows.steps.track import sync_registry

    with reported():
        workspace = open_workspace()
        with terminal_progress() as progress:
            shown = sync_registry(workspace, progress, compare=True)
        if as_json:
            print_json(asdict(shown))
            return
        for digest in shown.added:
            screen.print(f"added release {digest[:SHORT]}")
        for alias, target in shown.moved.items():
            now = "removed" if target is None else f"now {target[:SHORT]}"
            screen.print(f"alias {escape(alias)}: {now}")
        name = f"{mlflow_url(workspace.project)}/#/models/{workspace.project.services.mlflow.model}"
        if not shown.added and not shown.moved:
            screen.print("MLflow says what the ledger says.")
        screen.print(f"[dim]{escape(name)}[/]", soft_wrap=True)
