"""`ratchet up`, `down`, `status` and `doctor`: the servers and the machine under them."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from flows.commands.console import Json, print_json, reported, screen, table
from flows.services import SERVICES, Service, ServiceStatus
from flows.show import terminal_progress
from flows.workspace import open_workspace

_COLORS = {
    "running": "green",
    "external": "green",
    "ok": "green",
    "starting": "yellow",
    "warn": "yellow",
    "stopped": "dim",
    "unreachable": "red",
    "fail": "red",
}

Only = Annotated[
    list[str] | None,
    typer.Option("--only", help=f"Only this one; repeatable. One of: {', '.join(SERVICES)}."),
]


def up(only: Only = None, as_json: Json = False) -> None:
    """Start vLLM, MLflow, Prefect and its worker, and wait until each answers.

    A server that has a URL in configs/services.yaml is checked and never started.

    Example: ratchet up --only mlflow --only prefect
    """
    from flows.services import up as start

    with reported():
        workspace = open_workspace()
        rows = start(workspace.project, workspace.home, _say(quiet=as_json), only=_chosen(only))
        if any(row.service == "mlflow" for row in rows):
            from flows.steps.track import sync_registry

            # Releases may have moved while it was down.
            with terminal_progress() as progress:
                sync_registry(workspace, progress)
        _show(rows, as_json=as_json)


def down(only: Only = None) -> None:
    """Stop the servers that Ratchet started.

    Example: ratchet down --only vllm
    """
    from flows.services import down as stop

    with reported():
        workspace = open_workspace()
        stopped = stop(workspace.project, workspace.home, _say(), only=_chosen(only))
        if not stopped:
            screen.print("Nothing was running.")


def status(as_json: Json = False) -> None:
    """Show every server: whether it answers, where, and where its log is.

    Example: ratchet status
    """
    from flows.services import status as look

    with reported():
        workspace = open_workspace()
        _show(look(workspace.project, workspace.home), as_json=as_json)


def doctor(as_json: Json = False) -> None:
    """Check versions, disk, memory, ports, models and servers, and say what to do.

    Exit code 1 when a check fails.

    Example: ratchet doctor
    """
    from flows.doctor import check_machine

    with reported():
        workspace = open_workspace()
        rows = check_machine(workspace.project, workspace.home)
        if as_json:
            print_json([asdict(row) for row in rows])
        else:
            shown = table("check", "state", "found", "next")
            for row in rows:
                color = _COLORS[row.state]
                shown.add_row(row.name, f"[{color}]{row.state}[/]", row.found, row.next_step)
            screen.print(shown)
        if any(row.state == "fail" for row in rows):
            raise typer.Exit(1)


def _show(rows: list[ServiceStatus], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    shown = table("server", "state", "address", ">process", "log")
    for row in rows:
        log = str(row.log) if row.log else ""
        shown.add_row(
            row.service,
            f"[{_COLORS[row.state]}]{row.state}[/]",
            row.url or "",
            str(row.pid or ""),
            f"[dim]{log}[/]",
        )
    screen.print(shown)


def _say(*, quiet: bool = False) -> Callable[[str], None]:
    return (lambda text: None) if quiet else (lambda text: screen.print(f"[dim]{text}[/]"))


def _chosen(only: list[str] | None) -> tuple[Service, ...]:
    if not only:
        return SERVICES
    unknown = [name for name in only if name not in SERVICES]
    if unknown:
        raise typer.BadParameter(f"{unknown} are no servers; choose from {', '.join(SERVICES)}")
    return tuple(name for name in SERVICES if name in only)
