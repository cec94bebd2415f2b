"""Move the champion by hand: forward on a decision or with a recorded reason, or back."""

from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.policies import PROMOTION, one_at_a_time, step
from flows.run_name import rename_run
from flows.workspace import Workspace, actor, open_workspace
from registry import Move

Words = Annotated[str, Field(min_length=1)]


@flow(name="promote", log_prints=True)
def promote(release: Words, why: Words, decision: str | None = None, override: bool = False) -> Any:
    """Make a registered release the champion.

    Args:
        release: The start of a release's digest, or its label.
        why: The reason that the ledger keeps.
        decision: The start of the digest of a decision PROMOTE for this release.
        override: Promote without such a decision; recorded as an override.
    """
    move = promote_by_hand(open_workspace(), release, why, decision=decision, override=override)
    rename_run(f"promote: {move.message}")
    return Completed(message=move.message, data=move.champion)


@flow(name="rollback", log_prints=True)
def rollback(why: Words, to: str | None = None) -> Any:
    """Make a former champion live again; needs neither vLLM nor MLflow.

    Args:
        why: The reason that the ledger keeps.
        to: A former champion; empty: the one before the live one.
    """
    move = roll_back(open_workspace(), to, why)
    rename_run(f"rollback: {move.message}")
    return Completed(message=move.message, data=move.champion)


@step("promote")
def promote_by_hand(
    workspace: Workspace, release: str, why: str, *, decision: str | None, override: bool
) -> Move:
    """Compare and swap: the champion that is live now is the one that is replaced."""
    with one_at_a_time(PROMOTION, workspace.home), workspace.registry() as registry:
        move = registry.promote(
            release,
            expected_champion=registry.champion_digest(),
            decision_digest=decision,
            who=actor(),
            why=why,
            override=override,
        )
    get_run_logger().info(move.message)
    return move


@step("roll back")
def roll_back(workspace: Workspace, to: str | None, why: str) -> Move:
    """Go back, if the champion is still the one that was seen."""
    with one_at_a_time(PROMOTION, workspace.home), workspace.registry() as registry:
        move = registry.rollback(
            to, who=actor(), why=why, expected_champion=registry.champion_digest()
        )
    get_run_logger().info(move.message)
    return move
