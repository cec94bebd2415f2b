"""What happened to a release -> a Prefect event, for automations to act on."""

from typing import Any, Literal

from prefect.events import Event, emit_event

from flows.workspace import Workspace
from registry import Move
from tasks.answer.release import Release

Happening = Literal["promoted", "rolled_back", "held", "rejected"]


def announce(happening: Happening, release: Release, *, why: str, **details: Any) -> Event | None:
    """Emit `ratchet.release.<happening>` about a release, related to the run that calls.

    The ledger is the record; an event is a notice that may be lost, such as when the process dies
    between the two, or no Prefect server is there to take it.

    Args:
        happening: the end of the event's name.
        release: promoted, rolled back to, held or rejected.
        why: the reason that people read.
        details: other fields of the payload.

    Returns:
        What was sent; None when events are switched off.
    """
    return emit_event(
        event=f"ratchet.release.{happening}",
        resource={
            "prefect.resource.id": f"ratchet.release.{release.digest}",
            "prefect.resource.name": release.label,
        },
        payload={"release": release.label, "digest": release.digest, "why": why, **details},
    )


def announce_move(workspace: Workspace, move: Move) -> Event | None:
    """Emit what a promotion or rollback did; nothing when it had been done before."""
    if not move.changed:
        return None
    with workspace.registry() as registry:
        release = registry.release(move.champion)
    return announce(
        "rolled_back" if move.event.kind == "rolled_back" else "promoted",
        release,
        why=move.event.why,
        who=move.event.who,
        channel=move.event.detail["channel"],
        replaced=move.previous,
        decision=move.event.detail.get("decision"),
    )
