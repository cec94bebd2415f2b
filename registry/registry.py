"""Releases and decisions -> the one live release: promotion on evidence, and the way back."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from registry.budget import AlphaLedger, LookId, Verdict
from registry.ledger import LedgerEvent
from registry.releases import resolve
from registry.rules import require_evidence, require_same_promotion
from tasks.answer.release import Release
from tasks.digest import SHORT, Digest
from tasks.errors import PromotionConflict, RegistryError


@dataclass(frozen=True, slots=True)
class Move:
    """What a promotion or rollback did."""

    changed: bool
    """False: it had been done before, nothing was written."""
    event: LedgerEvent
    champion: Digest
    previous: Digest | None
    message: str


class Registry(AlphaLedger):
    """Which release is live, who made it so, and why."""

    def register(self, release: Release, *, who: str, why: str = "") -> Digest:
        """Store a release under its digest; again is the same as once."""
        digest = self._files.save(release)
        with self._ledger.writing() as connection:
            if not self._ledger.events(connection, kinds=["registered"], subject=digest):
                self._ledger.append(
                    connection,
                    "registered",
                    subject=digest,
                    who=who,
                    why=why,
                    detail={"label": release.label, "release": release.model_dump(mode="json")},
                )
        return digest

    def record_evaluation(
        self, log_digest: Digest, *, release: Digest, suite: Digest, who: str, why: str = ""
    ) -> LedgerEvent:
        """Record that a release was evaluated on a suite; again is the same as once."""
        detail = {"release": self.resolve(release), "suite": suite}
        with self._ledger.writing() as connection:
            return self._record(
                connection, "evaluated", log_digest, who=who, why=why, detail=detail
            )

    def record_decision(
        self,
        decision_digest: Digest,
        *,
        verdict: Verdict,
        challenger: Digest,
        champion: Digest | None,
        who: str,
        why: str = "",
        look: LookId | None = None,
    ) -> LedgerEvent:
        """Record what the gate said about a pair; again is the same as once.

        Args:
            decision_digest: identity of the decision.
            verdict: the gate's word.
            challenger: release under test.
            champion: release that it was compared with; None for the first one.
            who: who or what ran the gate.
            why: the gate's reasons in a line.
            look: the look that was spent on it; None when it needed none.

        Raises:
            RegistryError: a release isn't registered, the same decision was recorded with other
                content, or the look was spent on another pair or ended with another decision.
        """
        new = self.resolve(challenger)
        old = None if champion is None else self.resolve(champion)
        detail: dict[str, Any] = {"verdict": verdict, "challenger": new, "champion": old}
        if look is not None:
            detail["look"] = asdict(look)
        with self._ledger.writing() as connection:
            if look is not None:
                self._decide_look(
                    connection,
                    look,
                    decision=decision_digest,
                    verdict=verdict,
                    challenger=new,
                    champion=old,
                )
            return self._record(
                connection, "decided", decision_digest, who=who, why=why, detail=detail
            )

    def choose_anchor(self, name: str, *, who: str, why: str) -> Release:
        """Hold the guardrails of all later decisions against another fixed release.

        Raises:
            RegistryError: it names no release, or no reason is given.
        """
        digest = self.resolve(name)
        if not why.strip():
            raise RegistryError(
                "A new anchor needs a reason, found an empty one.",
                next_step="Say what makes the old one obsolete: --why '...'",
            )
        with self._ledger.writing() as connection:
            self._ledger.append(connection, "anchored", subject=digest, who=who, why=why, detail={})
        return self.release(digest)

    def promote(
        self,
        challenger: str,
        *,
        expected_champion: Digest | None,
        decision_digest: Digest | None = None,
        who: str,
        why: str,
        override: bool = False,
    ) -> Move:
        """Make a release the champion if the champion still is the expected one.

        Args:
            challenger: the release to promote.
            expected_champion: the champion that it was compared with; None: there was none.
            decision_digest: a recorded decision PROMOTE for exactly this pair.
            who: who or what promotes.
            why: the reason that history shows.
            override: promote without such a decision; `why` must say why.

        Raises:
            RegistryError: no such decision, a decision that promoted before, an override without
                a reason, or the release's index isn't on this machine.
            PromotionConflict: the champion is another one by now.
        """
        digest = self.resolve(challenger)
        label = self._ready(digest, "promoted")
        if override and not why.strip():
            raise RegistryError(
                "An override needs a reason, found an empty one.",
                next_step="Say why this release goes live without a decision: --why '...'",
            )
        with self._ledger.writing() as connection:
            pointer = self._ledger.pointer(connection)
            decision = None
            if decision_digest is not None:
                decision = self._decision(connection, decision_digest)
            if pointer.digest == digest:
                event = self._why_live(connection, pointer)
                require_same_promotion(event, decision, override=override)
                return self._unchanged(connection, event, label)
            if not override:
                require_evidence(
                    decision,
                    self._moves(connection),
                    challenger=digest,
                    champion=expected_champion,
                )
            event = self._ledger.append(
                connection,
                "promoted",
                subject=digest,
                who=who,
                why=why,
                detail={
                    "from": expected_champion,
                    "decision": decision and decision.subject,
                    "override": override,
                },
            )
            self._ledger.move(connection, expected=expected_champion, to=event)
        self.sync_view()
        message = f"{label} is the champion now."
        return Move(True, event, digest, expected_champion, message)

    def rollback(
        self,
        to: str | None = None,
        *,
        who: str,
        why: str,
        expected_champion: Digest | None = None,
    ) -> Move:
        """Make a former champion live again.

        Args:
            to: the release; None: the champion before this one. After a rollback that is the one
                before the release that came back, so repeating it goes further back.
            who: who or what rolls back.
            why: the reason that history shows.
            expected_champion: roll back only from this release; None: from whichever is live.

        Raises:
            RegistryError: there is no former champion, the release never was one, or its index
                isn't on this machine.
            PromotionConflict: the champion is another one than expected.
        """
        wanted = None if to is None else self.resolve(to)
        with self._ledger.writing() as connection:
            pointer = self._ledger.pointer(connection)
            if expected_champion is not None and pointer.digest != expected_champion:
                raise PromotionConflict(
                    f"The champion is {pointer.digest!r}, expected {expected_champion!r}.",
                    next_step="Look at what happened: ratchet history",
                    expected=expected_champion,
                    found=pointer.digest,
                )
            digest = wanted or self._previous(connection)
            if pointer.event_id is None or digest is None:
                raise RegistryError(
                    "There is no earlier champion to go back to.",
                    next_step="See what happened so far: ratchet history",
                )
            if digest not in {event.subject for event in self._moves(connection)}:
                raise RegistryError(
                    f"Release {digest[:SHORT]!r} never was the champion; expected a former one.",
                    next_step=f"Promote it instead: ratchet promote {digest[:SHORT]}",
                )
            label = self._ready(digest, "rolled back to")
            if pointer.digest == digest:
                return self._unchanged(connection, self._why_live(connection, pointer), label)
            event = self._ledger.append(
                connection,
                "rolled_back",
                subject=digest,
                who=who,
                why=why,
                detail={"from": pointer.digest},
            )
            self._ledger.move(connection, expected=pointer.digest, to=event)
        self.sync_view()
        return Move(True, event, digest, pointer.digest, f"{label} is the champion again.")

    def _record(
        self,
        connection: Connection,
        kind: Literal["evaluated", "decided"],
        subject: Digest,
        *,
        who: str,
        why: str,
        detail: dict[str, Any],
    ) -> LedgerEvent:
        for event in self._ledger.events(connection, kinds=[kind], subject=subject):
            if event.detail == detail:
                return event
            raise RegistryError(
                f"{subject!r} was {kind} before with {dict(event.detail)}, now with {detail}.",
                next_step="A digest stands for one content: compute it from all of it.",
            )
        return self._ledger.append(
            connection, kind, subject=subject, who=who, why=why, detail=detail
        )

    def _unchanged(self, connection: Connection, event: LedgerEvent, label: str) -> Move:
        message = f"{label} is the champion already, since {event.at}; nothing was changed."
        return Move(False, event, event.subject, self._previous(connection), message)

    def _ready(self, digest: Digest, done: str) -> str:
        """Label of a release that could serve this minute."""
        release = self.release(digest)
        directory = self._home.path("index", release.index_digest)
        if not directory.is_dir():
            raise RegistryError(
                f"Release {release.label} can't be {done}: its index {str(directory)!r} is gone.",
                next_step="Choose a release whose index is there, or build that index again: "
                "ratchet reindex",
            )
        return release.label

    def _decision(self, connection: Connection, name: str) -> LedgerEvent:
        events = {
            event.subject: event for event in self._ledger.events(connection, kinds=["decided"])
        }
        labels = {digest: digest[:SHORT] for digest in events}
        return events[resolve(name, labels=labels, what="decision")]
