"""What happened to a release -> a Prefect event, for automations to act on."""

import os
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import httpx

from flows.addresses import prefect_url
from flows.workspace import Workspace
from registry import PRODUCTION, Move
from tasks.answer.release import Release

if TYPE_CHECKING:
    from prefect.events import Event

Happening = Literal["promoted", "staged", "rolled_back", "held", "rejected"]

_TIMEOUT = httpx.Timeout(3.0, connect=1.0)
"""A command that has done its work waits no longer for somebody to tell."""


def announce(happening: Happening, release: Release, *, why: str, **details: Any) -> "Event | None":
    """Emit `ratchet.release.<happening>` about a release, related to the run that calls.

    The ledger is the record; an event is a notice that may be lost, such as when the process dies
    between the two, or no Prefect server is there to take it.

    Args:
        happening: the end of the event's name.
        release: promoted, staged, rolled back to, held or rejected.
        why: the reason that people read.
        details: other fields of the payload.

    Returns:
        What was sent; None when events are switched off.
    """
    from prefect.events import emit_event

    return emit_event(**_content(happening, release, why=why, **details))


def announce_move(workspace: Workspace, move: Move) -> "Event | None":
    """Emit what a promotion or rollback did; nothing when it had been done before."""
    if not move.changed:
        return None
    from prefect.events import emit_event

    return emit_event(**_moved(workspace, move))


def send_move(workspace: Workspace, move: Move) -> str | None:
    """Give the Prefect server the same event without a run and without Prefect's client.

    Whether a server is there shows when it is told: without one, nothing is waited for. A key is
    taken from PREFECT_API_KEY or PREFECT_API_AUTH_STRING.

    Returns:
        Why a server has no event that should have it; None: it has, or there is no server.
    """
    if not move.changed:
        return None
    event = _moved(workspace, move) | {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
    }
    ours = workspace.project.services.prefect.api_url is None
    url = f"{prefect_url(workspace.project)}/events"
    try:
        # A proxy of the environment can't reach this machine's own server.
        with httpx.Client(timeout=_TIMEOUT, trust_env=not ours, auth=_auth()) as client:
            client.post(url, json=[event], headers=_key()).raise_for_status()
    except httpx.ConnectError as error:
        return None if ours else f"{url} doesn't answer: {error}."
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{url} didn't take it: {type(error).__name__}: {error}."
    return None


def _moved(workspace: Workspace, move: Move) -> dict[str, Any]:
    with workspace.registry() as registry:
        release = registry.release(move.champion)
    channel = move.event.detail["channel"]
    forward: Happening = "promoted" if channel == PRODUCTION else "staged"
    content = _content(
        "rolled_back" if move.event.kind == "rolled_back" else forward,
        release,
        why=move.event.why,
        who=move.event.who,
        channel=channel,
        replaced=move.previous,
        decision=move.event.detail.get("decision"),
    )
    # Of the payload an automation's trigger sees nothing, of the resource all.
    content["resource"]["ratchet.channel"] = channel
    return content


def _content(happening: Happening, release: Release, *, why: str, **details: Any) -> dict[str, Any]:
    return {
        "event": f"ratchet.release.{happening}",
        "resource": {
            "prefect.resource.id": f"ratchet.release.{release.digest}",
            "prefect.resource.name": release.label,
        },
        "payload": {"release": release.label, "digest": release.digest, "why": why, **details},
    }


def _auth() -> httpx.BasicAuth | None:
    user, colon, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    return httpx.BasicAuth(user, password) if colon else None


def _key() -> dict[str, str]:
    key = os.environ.get("PREFECT_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}
