"""A person's word -> the pointer of a channel, moved forward or back; no server is needed."""

from flows.steps.decide import policy_for
from flows.steps.evaluate import plan_release
from flows.workspace import Workspace, actor
from registry import PRODUCTION, Channel, Move


def promote_named(
    workspace: Workspace,
    name: str,
    *,
    why: str,
    decision: str | None = None,
    override: bool = False,
    channel: Channel = PRODUCTION,
) -> Move:
    """Promote a release by hand: what the channel runs now is what it replaces.

    Args:
        workspace: settings and state.
        name: the release.
        why: the reason that the ledger keeps.
        decision: the start of a decision's digest; it must be made by the policy and on the suite
            that are configured now.
        override: promote without a decision.
        channel: where to.

    Raises:
        PromotionConflict: something else was promoted at the same time.
        RegistryError: the decision isn't PROMOTE for exactly this, or the release isn't ready.
        SuiteError: the suite can't be read, or belongs to another corpus.
    """
    with workspace.registry() as registry:
        suite = policy = None
        if decision is not None and not override:
            release = registry.release(name)
            policy = policy_for(workspace, registry.champion(), release).digest
            suite = plan_release(workspace, release).suite.digest
        move = registry.promote(
            name,
            expected_champion=registry.channel_digest(channel),
            decision_digest=decision,
            who=actor(),
            why=why,
            override=override,
            channel=channel,
            suite=suite,
            policy=policy,
        )
        workspace.write_champion_file(registry)
    return move


def roll_back_named(
    workspace: Workspace, to: str | None = None, *, why: str, channel: Channel = PRODUCTION
) -> Move:
    """Go back, if the channel still runs what it runs now: two at once don't go back two steps.

    Args:
        workspace: settings and state.
        to: a release that the channel ran before; None: the one before this one.
        why: the reason that the ledger keeps.
        channel: where.

    Raises:
        PromotionConflict: something else was promoted or rolled back at the same time.
        RegistryError: there is no such release, or it isn't ready.
    """
    with workspace.registry() as registry:
        move = registry.rollback(
            to,
            who=actor(),
            why=why,
            expected_champion=registry.channel_digest(channel),
            channel=channel,
        )
        workspace.write_champion_file(registry)
    return move
