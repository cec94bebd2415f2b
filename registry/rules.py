"""Past events -> what may happen next: which move is allowed, and what a rollback means."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry.ledger import PRODUCTION, Channel, LedgerEvent
from tasks.digest import SHORT, Digest
from tasks.errors import PromotionConflict, RegistryError


@dataclass(frozen=True, slots=True)
class PromotionRules:
    """What a promotion needs beside a decision."""

    require_clean: bool = False
    """Whether a decision counts only when its evaluations ran on committed code."""
    production_from_staging: bool = False
    """Whether only the release that staging runs goes to production."""


def channel_of(move: LedgerEvent) -> Channel:
    """Where a promotion or rollback happened."""
    channel: Channel = move.detail["channel"]
    return channel


def place(channel: Channel) -> str:
    """What a release is that a channel runs, for messages."""
    return "the champion" if channel == PRODUCTION else f"on {channel}"


def called(channel: Channel) -> str:
    """The name of the release that a channel runs, for messages."""
    return "champion" if channel == PRODUCTION else f"release on {channel}"


def previous_champion(moves: Sequence[LedgerEvent]) -> Digest | None:
    """Find the release under the champion, when moves are undone one by one as in an editor.

    Args:
        moves: promotions and rollbacks of one channel, oldest first.
    """
    line: list[Digest] = []
    for event in moves:
        if event.kind == "rolled_back" and event.subject in line:
            while line[-1] != event.subject:
                line.pop()
        else:
            line.append(event.subject)
    return line[-2] if len(line) > 1 else None


def require_evidence(
    decision: LedgerEvent | None,
    moves: Sequence[LedgerEvent],
    *,
    challenger: Digest,
    champion: Digest | None,
    suite: Digest | None,
    policy: Digest | None,
    require_clean: bool,
) -> None:
    """Refuse anything but a fresh PROMOTE for exactly this pair, suite and policy.

    Args:
        decision: the latest record of the decision.
        moves: what happened on the channel that is promoted to.
        challenger: the release to promote.
        champion: the champion of now.
        suite: the cases that count; None: those of the decision.
        policy: the rules that count; None: those of the decision.
        require_clean: refuse a decision on evaluations of code that wasn't committed.

    Raises:
        RegistryError: there is no decision, it says something else, is about another pair, suite
            or policy, comes from code that nobody can find again, or it promoted before.
    """
    if decision is None:
        raise RegistryError(
            f"Promoting {challenger[:SHORT]!r} needs a recorded decision PROMOTE, found none.",
            next_step="Let the gate decide: ratchet nightly; or override with a reason.",
        )
    short = decision.subject[:SHORT]
    found = decision.detail
    if found["verdict"] != "PROMOTE":
        raise RegistryError(
            f"Decision {short!r} says {found['verdict']}, expected PROMOTE. {decision.why}".strip(),
            next_step="Read its report, or override with a reason.",
        )
    if (found["challenger"], found["champion"]) != (challenger, champion):
        raise RegistryError(
            f"Decision {short!r} is about {_pair(found['challenger'], found['champion'])}, "
            f"not about {_pair(challenger, champion)}.",
            next_step="Promote with the decision for this pair, or let the gate decide anew.",
        )
    for what, wanted in (("suite", suite), ("policy", policy)):
        if wanted is not None and found[what] != wanted:
            raise RegistryError(
                f"Decision {short!r} was made with {what} {_short(found[what])}, expected "
                f"{_short(wanted)}, the {what} of now.",
                next_step=f"Let the gate decide with the {what} of now: ratchet nightly",
            )
    if require_clean and (found["git_commit"] is None or found["git_dirty"] is not False):
        where = f"commit {found['git_commit'][:SHORT]}" if found["git_commit"] else "no commit"
        raise RegistryError(
            f"Decision {short!r} rests on evaluations of {where}"
            + (" with changes that weren't committed" if found["git_dirty"] else "")
            + "; registry.require_clean expects a clean commit.",
            next_step="Commit and let the gate decide anew, from stored calls: ratchet nightly; or "
            "override with a reason.",
        )
    if any(event.detail.get("decision") == decision.subject for event in moves):
        raise RegistryError(
            f"Decision {short!r} promoted {challenger[:SHORT]!r} before, and another release "
            "is live since; the same evidence doesn't promote twice.",
            next_step="See why it was replaced: ratchet history. Then override with a reason, "
            "or evaluate on new cases.",
        )


def require_staged(challenger: Digest, staged: Digest | None) -> None:
    """Refuse to bring anything to production that staging doesn't run.

    Raises:
        RegistryError: staging runs another release, or none.
    """
    if challenger != staged:
        raise RegistryError(
            f"Staging runs {_short(staged)}, not {challenger[:SHORT]!r}: with "
            "registry.production_from_staging a release goes to production only from staging.",
            next_step=f"ratchet promote {challenger[:SHORT]} --channel staging, then try it there.",
        )


def require_same_promotion(
    event: LedgerEvent, decision: LedgerEvent | None, *, override: bool
) -> None:
    """Tell a promotion that is run again from one that came second.

    Args:
        event: the event that made the release the champion.
        decision: the evidence of the promotion that is asked for now.
        override: whether it is asked for without evidence.

    Raises:
        PromotionConflict: the release became the champion in another way.
    """
    if override or (decision is not None and event.detail.get("decision") == decision.subject):
        return
    raise PromotionConflict(
        f"Release {event.subject[:SHORT]!r} is {place(channel_of(event))} since {event.at} for "
        f"another reason: {event.kind} by {event.who!r}, {event.why!r}.",
        next_step="Nothing is left to do if it should be live: ratchet history",
        found=event.subject,
    )


def _pair(challenger: Digest, champion: Digest | None) -> str:
    against = "no champion" if champion is None else repr(champion[:SHORT])
    return f"{challenger[:SHORT]!r} against {against}"


def _short(name: Digest | None) -> str:
    return "none" if name is None else repr(name[:SHORT])
