"""Releases and decisions -> the one live release: promotion on evidence, and the way back."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from registry.budget import AlphaLedger, LookId, Verdict
from registry.ledger import PRODUCTION, Channel, LedgerEvent
from registry.releases import resolve
from registry.rules import (
    PromotionRules,
    called,
    place,
    require_evidence,
    require_same_promotion,
    require_staged,
)
from tasks.answer.release import Release
from tasks.digest import SHORT, Digest
from tasks.errors import CorruptArtifact, PromotionConflict, RegistryError
from tasks.store import Home


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
    """Which release is live, who made it so, and why.

    Args:
        url: SQLAlchemy URL of the ledger; None: SQLite in the state directory.
        home: the state directory.
        busy_timeout_s: how long to wait for another process that writes.
        repair: make `champion.json` say what the ledger says.
        rules: what a promotion needs beside a decision.

    Raises:
        RegistryError: the database can't be opened.
        CorruptArtifact: the ledger was changed by hand; only with `repair`.
    """

    def __init__(
        self,
        url: str | None,
        home: Home,
        *,
        busy_timeout_s: float = 30.0,
        repair: bool = True,
        rules: PromotionRules = PromotionRules(),  # noqa: B008 (it is frozen)
    ) -> None:
        super().__init__(url, home, busy_timeout_s=busy_timeout_s, repair=repair)
        self._rules = rules

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
        self,
        log_digest: Digest,
        *,
        release: Digest,
        suite: Digest,
        who: str,
        why: str = "",
        content: Digest | None = None,
        made_now: bool = False,
    ) -> LedgerEvent:
        """Record that a release was evaluated on a suite; again is the same as once.

        Args:
            log_digest: identity of the evaluation.
            release: what was evaluated.
            suite: the cases.
            who: who or what evaluated.
            why: the reason that history shows.
            content: digest of what was stored; `evaluation_content` computes it.
            made_now: the caller has just made it, so other content is no surprise: one that was
                removed is made again with other latencies.

        Raises:
            CorruptArtifact: what is stored isn't what was recorded.
        """
        identity = {"release": self.resolve(release), "suite": suite}
        with self._ledger.writing() as connection:
            last = self._last(connection, "evaluated", log_digest, identity)
            if last is not None:
                known = last.detail["content"]
                if content is None or content == known:
                    return last
                if known is not None and not made_now:
                    raise CorruptArtifact(
                        f"The evaluation {log_digest[:SHORT]!r} was changed after it was recorded "
                        f"at {last.at}: its content has digest {content[:SHORT]!r}, expected "
                        f"{known[:SHORT]!r}.",
                        next_step=f"Remove {self._home.path('evals', log_digest)} and evaluate "
                        "again.",
                    )
            return self._ledger.append(
                connection,
                "evaluated",
                subject=log_digest,
                who=who,
                why=why,
                detail=identity | {"content": content},
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
        suite: Digest | None = None,
        policy: Digest | None = None,
        git_commit: str | None = None,
        git_dirty: bool | None = None,
    ) -> LedgerEvent:
        """Record what the gate said about a pair; again is the same as once.

        When its evaluations were removed and made again by other code, the same decision is
        recorded once more, with that commit.

        Args:
            decision_digest: identity of the decision.
            verdict: the gate's word.
            challenger: release under test.
            champion: release that it was compared with; None for the first one.
            who: who or what ran the gate.
            why: the gate's reasons in a line.
            look: the look that was spent on it; None when it needed none.
            suite: the cases of both evaluations.
            policy: the rules.
            git_commit: of the code that evaluated; None: unknown.
            git_dirty: whether that code differed from its commit; None: unknown.

        Raises:
            RegistryError: a release isn't registered, the same decision was recorded with other
                content, or the look was spent on another pair or ended with another decision.
        """
        new = self.resolve(challenger)
        old = None if champion is None else self.resolve(champion)
        identity: dict[str, Any] = {
            "verdict": verdict,
            "challenger": new,
            "champion": old,
            "suite": suite,
            "policy": policy,
            "look": None if look is None else asdict(look),
        }
        detail = identity | {"git_commit": git_commit, "git_dirty": git_dirty}
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
            last = self._last(connection, "decided", decision_digest, identity)
            if last is not None and last.detail == detail:
                return last
            return self._ledger.append(
                connection, "decided", subject=decision_digest, who=who, why=why, detail=detail
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
        channel: Channel = PRODUCTION,
        suite: Digest | None = None,
        policy: Digest | None = None,
    ) -> Move:
        """Make a release live on a channel if the channel still runs the expected one.

        Args:
            challenger: the release to promote.
            expected_champion: what the channel runs now; None: nothing yet.
            decision_digest: a recorded decision PROMOTE for exactly this release against the
                champion of now, also when staging is promoted to.
            who: who or what promotes.
            why: the reason that history shows.
            override: promote without such a decision; `why` must say why.
            channel: where to.
            suite: the cases that count now; None: those of the decision.
            policy: the rules that count now; None: those of the decision.

        Raises:
            RegistryError: no such decision, one about another pair, suite or policy, one that
                promoted before, an override without a reason, a release that has to go to staging
                first, or one whose index isn't on this machine.
            PromotionConflict: the channel runs another release by now.
        """
        digest = self.resolve(challenger)
        if override and not why.strip():
            raise RegistryError(
                "An override needs a reason, found an empty one.",
                next_step="Say why this release goes live without a decision: --why '...'",
            )
        with self._ledger.writing() as connection:
            pointer = self._ledger.pointer(connection, channel)
            decision = None
            if decision_digest is not None:
                decision = self._decision(connection, decision_digest)
            label = self._ready(connection, digest, "promoted")
            if pointer.digest == digest:
                event = self._why_live(connection, pointer, channel)
                require_same_promotion(event, decision, override=override)
                return self._unchanged(connection, event, label, channel)
            if not override:
                champion = expected_champion
                if channel != PRODUCTION:
                    champion = self._ledger.pointer(connection).digest
                require_evidence(
                    decision,
                    self._moves(connection, channel),
                    challenger=digest,
                    champion=champion,
                    suite=suite,
                    policy=policy,
                    require_clean=self._rules.require_clean,
                )
            if channel == PRODUCTION and self._rules.production_from_staging:
                require_staged(digest, self._ledger.pointer(connection, "staging").digest)
            event = self._ledger.append(
                connection,
                "promoted",
                subject=digest,
                who=who,
                why=why,
                detail={
                    "channel": channel,
                    "from": expected_champion,
                    "decision": decision and decision.subject,
                    "override": override,
                },
            )
            self._ledger.move(connection, expected=expected_champion, to=event, channel=channel)
        self.sync_view()
        message = f"{label} is {place(channel)} now."
        return Move(True, event, digest, expected_champion, message)

    def rollback(
        self,
        to: str | None = None,
        *,
        who: str,
        why: str,
        expected_champion: Digest | None = None,
        channel: Channel = PRODUCTION,
    ) -> Move:
        """Make a release live again that a channel ran before.

        Args:
            to: the release; None: the champion before this one. After a rollback that is the one
                before the release that came back, so repeating it goes further back.
            who: who or what rolls back.
            why: the reason that history shows.
            expected_champion: roll back only from this release; None: from whichever is live.
            channel: where.

        Raises:
            RegistryError: there is no former champion, the release never was one, or its index
                isn't on this machine.
            PromotionConflict: the champion is another one than expected.
        """
        wanted = None if to is None else self.resolve(to)
        with self._ledger.writing() as connection:
            pointer = self._ledger.pointer(connection, channel)
            if expected_champion is not None and pointer.digest != expected_champion:
                raise PromotionConflict(
                    f"The {called(channel)} is {pointer.digest!r}, expected {expected_champion!r}.",
                    next_step="Look at what happened: ratchet history",
                    expected=expected_champion,
                    found=pointer.digest,
                )
            digest = wanted or self._previous(connection, channel)
            if pointer.event_id is None or digest is None:
                raise RegistryError(
                    f"There is no earlier {called(channel)} to go back to.",
                    next_step="See what happened so far: ratchet history",
                )
            if digest not in {event.subject for event in self._moves(connection, channel)}:
                raise RegistryError(
                    f"Release {digest[:SHORT]!r} never was {place(channel)}; expected one that "
                    "was.",
                    next_step=f"Promote it instead: ratchet promote {digest[:SHORT]}",
                )
            label = self._ready(connection, digest, "rolled back to")
            if pointer.digest == digest:
                event = self._why_live(connection, pointer, channel)
                return self._unchanged(connection, event, label, channel)
            event = self._ledger.append(
                connection,
                "rolled_back",
                subject=digest,
                who=who,
                why=why,
                detail={"channel": channel, "from": pointer.digest},
            )
            self._ledger.move(connection, expected=pointer.digest, to=event, channel=channel)
        self.sync_view()
        return Move(True, event, digest, pointer.digest, f"{label} is {place(channel)} again.")

    def _last(
        self,
        connection: Connection,
        kind: Literal["evaluated", "decided"],
        subject: Digest,
        identity: dict[str, Any],
    ) -> LedgerEvent | None:
        """The latest record of something, which must be the same thing."""
        events = self._ledger.events(connection, kinds=[kind], subject=subject)
        if not events:
            return None
        before = {name: events[-1].detail[name] for name in identity}
        if before != identity:
            raise RegistryError(
                f"{subject!r} was {kind} before with {before}, now with {identity}.",
                next_step="A digest stands for one content: compute it from all of it.",
            )
        return events[-1]

    def _unchanged(
        self, connection: Connection, event: LedgerEvent, label: str, channel: Channel
    ) -> Move:
        message = f"{label} is {place(channel)} already, since {event.at}; nothing was changed."
        return Move(False, event, event.subject, self._previous(connection, channel), message)

    def _ready(self, connection: Connection, digest: Digest, done: str) -> str:
        """Label of a release that could serve this minute.

        Asked inside the transaction that moves the pointer: `gc` removes inside one too, so an
        index that is found here is still there when the release is live. Only whether it is there
        is asked. To read all of its bytes takes seconds, in which nobody could roll back; they were
        held against its manifest when it was built and are again when it is opened, and
        `ratchet verify` reads them at any time.
        """
        release = self._stored(connection, digest)
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
        return events[resolve(name, labels=labels, what="decision", see="ratchet history")]
