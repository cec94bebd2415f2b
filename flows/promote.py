"""Move a channel's release by hand: forward on a decision or with a recorded reason, or back."""

from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.events import announce_move
from flows.policies import PROMOTION, one_at_a_time, step
from flows.run_name import rename_run
from flows.show_in_mlflow import show_in_mlflow
from flows.steps.move import promote_named, roll_back_named
from flows.workspace import Workspace, open_workspace
from registry import PRODUCTION, Channel, Move

Words = Annotated[str, Field(min_length=1)]


@flow(name="promote", log_prints=True)
def promote(
    release: Words,
    why: Words,
    decision: str | None = None,
    override: bool = False,
    channel: Channel = PRODUCTION,
) -> Any:
    """Make a registered release the champion, or the one on staging.

    Args:
        release: The start of a release's digest, or its label.
        why: The reason that the ledger keeps.
        decision: The start of the digest of a decision PROMOTE for this release.
        override: Promote without such a decision; recorded as an override.
        channel: Where to; the release on production is the champion.
    """
    workspace = open_workspace()
    move = promote_by_hand(
        workspace, release, why, decision=decision, override=override, channel=channel
    )
    show_in_mlflow(workspace)
    rename_run(f"promote: {move.message}")
    return Completed(message=move.message, data=move.champion)


@flow(name="rollback", log_prints=True)
def rollback(why: Words, to: str | None = None, channel: Channel = PRODUCTION) -> Any:
    """Make a former champion live again; needs neither vLLM nor MLflow.

    Args:
        why: The reason that the ledger keeps.
        to: A former champion; empty: the one before the live one.
        channel: Where; the release on production is the champion.
    """
    workspace = open_workspace()
    move = roll_back(workspace, to, why, channel=channel)
    show_in_mlflow(workspace)
    rename_run(f"rollback: {move.message}")
    return Completed(message=move.message, data=move.champion)


@step("promote")
def promote_by_hand(
    workspace: Workspace,
    release: str,
    why: str,
    *,
    decision: str | None,
    override: bool,
    channel: Channel,
) -> Move:
    """Compare and swap: the release that is live now is the one that is replaced."""
    with one_at_a_time(PROMOTION, workspace.home):
        move = promote_named(
            workspace, release, why=why, decision=decision, override=override, channel=channel
        )
    announce_move(workspace, move)
    get_run_logger().info(move.message)
    return move


@step("roll back")
def roll_back(workspace: Workspace, to: str | None, why: str, *, channel: Channel) -> Move:
    """Go back, if what is live is still what was seen."""
    with one_at_a_time(PROMOTION, workspace.home):
        move = roll_back_named(workspace, to, why=why, channel=channel)
    announce_move(workspace, move)
    get_run_logger().info(move.message)
    return move
