"""Past events -> what may happen next: which move is allowed, and what a rollback means."""

from collections.abc import Sequence

from registry.ledger import LedgerEvent
from tasks.digest import SHORT, Digest
from tasks.errors import PromotionConflict, RegistryError


def previous_champion(moves: Sequence[LedgerEvent]) -> Digest | None:
    """Find the release under the champion, when moves are undone one by one as in an editor.

    Args:
        moves: promotions and rollbacks, oldest first.
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
) -> None:
    """Refuse anything but a fresh PROMOTE for exactly this pair.

    Raises:
        RegistryError: there is no decision, it says something else or is about another pair, or
            it promoted before.
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
    if any(event.detail.get("decision") == decision.subject for event in moves):
        raise RegistryError(
            f"Decision {short!r} promoted {challenger[:SHORT]!r} before, and another release "
            "is live since; the same evidence doesn't promote twice.",
            next_step="See why it was replaced: ratchet history. Then override with a reason, "
            "or evaluate on new cases.",
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
        f"Release {event.subject[:SHORT]!r} is the champion since {event.at} for another reason: "
        f"{event.kind} by {event.who!r}, {event.why!r}.",
        next_step="Nothing is left to do if it should be live: ratchet history",
        found=event.subject,
    )


def _pair(challenger: Digest, champion: Digest | None) -> str:
    against = "no champion" if champion is None else repr(champion[:SHORT])
    return f"{challenger[:SHORT]!r} against {against}"
