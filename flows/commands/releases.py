"""`ratchet promote`, `rollback`, `releases`, `history`: what is live, and why."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.console import Json, errors, print_json, reported, screen, table
from flows.events import send_move
from flows.show import terminal_progress
from flows.workspace import Workspace, actor, open_workspace
from registry import PRODUCTION, Channel, Move
from tasks.errors import RatchetError, ServerUnavailable

Why = Annotated[str, typer.Option("--why", help="The reason that the ledger keeps.")]
Name = Annotated[str, typer.Argument(help="The start of a digest, a label, champion or previous.")]
On = Annotated[Channel, typer.Option("--channel", help="Where; production runs the champion.")]


def promote(
    release: Name,
    decision: Annotated[
        str | None, typer.Option(help="The start of the digest of a decision PROMOTE.")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="The reason that the ledger keeps.")] = "",
    override: Annotated[
        str | None,
        typer.Option(
            "--override", metavar="REASON", help="Promote without a decision; this is recorded."
        ),
    ] = None,
    channel: On = PRODUCTION,
    as_json: Json = False,
) -> None:
    """Make a release the champion, or the one on staging; needs no server but the ledger's.

    Example: ratchet promote answer@1f2e3d --override "urgent fix, reviewed by two"
    """
    from flows.steps.move import promote_named

    if override is None and not why.strip():
        raise typer.BadParameter("say why: --why with --decision, or --override")
    with reported():
        workspace = open_workspace()
        move = promote_named(
            workspace,
            release,
            why=override or why,
            decision=decision,
            override=override is not None,
            channel=channel,
        )
        _tell(workspace, move, as_json=as_json)


def rollback(
    why: Why,
    to: Annotated[
        str | None, typer.Option(help="A former champion; default: the one before this one.")
    ] = None,
    channel: On = PRODUCTION,
    as_json: Json = False,
) -> None:
    """Make a former champion live again, in one step; needs no server but the ledger's.

    Example: ratchet rollback --why "answers got slower in production"
    """
    from flows.steps.move import roll_back_named

    with reported():
        workspace = open_workspace()
        move = roll_back_named(workspace, to, why=why, channel=channel)
        _tell(workspace, move, as_json=as_json)


def _tell(workspace: Workspace, move: Move, *, as_json: bool) -> None:
    """Say what was done: here first, then to Prefect and MLflow, if they are there."""
    if as_json:
        print_json({"changed": move.changed, "champion": move.champion})
    else:
        screen.print(escape(move.message))
    if problem := send_move(workspace, move):
        errors.print(f"[yellow]No event in Prefect:[/] {escape(problem)}", soft_wrap=True)
    if problem := _show_in_mlflow(workspace):
        errors.print(f"[yellow]Not in MLflow yet:[/] {escape(problem)}", soft_wrap=True)


def _show_in_mlflow(workspace: Workspace) -> str | None:
    """Move the aliases; else why not. A server that isn't there is shown all of it later."""
    from flows.steps.track import sync_registry

    try:
        with terminal_progress() as progress:
            sync_registry(workspace, progress)
    except ServerUnavailable:
        return None
    except RatchetError as error:
        return error.message
    return None


def releases(as_json: Json = False) -> None:
    """List registered releases, oldest first; the live one is marked.

    Example: ratchet releases
    """
    with reported(), open_workspace().registry() as registry:
        rows = registry.releases()
        if as_json:
            print_json([asdict(row) for row in rows])
            return
        if not rows:
            screen.print("No release yet. The first run registers one: ratchet nightly")
            return
        shown = table("release", "registered", "")
        for row in rows:
            marks = {"[green]champion[/]": row.champion, "previous": row.previous}
            marks["staging"] = row.staging
            mark = ", ".join(word for word, is_so in marks.items() if is_so)
            shown.add_row(escape(row.label), row.registered_at, mark)
        screen.print(shown)


def history(as_json: Json = False) -> None:
    """Show what happened: registrations, evaluations, decisions, promotions and rollbacks.

    Example: ratchet history
    """
    with reported(), open_workspace().registry() as registry:
        events = registry.history()
        if as_json:
            print_json(
                [
                    {
                        "id": e.id,
                        "kind": e.kind,
                        "at": e.at,
                        "who": e.who,
                        "why": e.why,
                        "subject": e.subject,
                        "detail": dict(e.detail),
                        "previous": e.previous,
                        "digest": e.digest,
                    }
                    for e in events
                ]
            )
            return
        shown = table("when", "what", "of", "who", "why")
        for event in events:
            kind = event.kind.replace("_", " ")
            if event.kind == "decided":
                kind = f"decided {event.detail['verdict']}"
            if event.detail.get("channel", PRODUCTION) != PRODUCTION:
                kind = f"{kind} ({event.detail['channel']})"
            shown.add_row(event.at, kind, event.subject[:12], event.who, escape(event.why[:90]))
        screen.print(shown)


def anchor(
    release: Annotated[
        str | None, typer.Argument(help="The new anchor; none: show the one of now.")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="The reason that the ledger keeps.")] = "",
    as_json: Json = False,
) -> None:
    """Choose the fixed release that no later one may fall behind, however slowly.

    Small losses within the margin of each promotion add up; against a release that stays the same
    they don't. Until one is chosen it is the first champion.

    Example: ratchet anchor champion --why "new product generation"
    """
    with reported(), open_workspace().registry() as registry:
        if release is not None:
            registry.choose_anchor(release, who=actor(), why=why)
        found = registry.anchor()
        if as_json:
            print_json({"anchor": found.digest if found else None})
        elif found is None:
            screen.print("No anchor yet: the first champion will be it.")
        else:
            screen.print(f"The anchor is {escape(found.label)}.")
