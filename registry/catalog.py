"""Ledger and release files -> answers: what is registered, what is live, what happened."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from registry.diff import ReleaseDiff, compare_releases
from registry.ledger import CHANNELS, PRODUCTION, ChainHead, Channel, Ledger, LedgerEvent, Pointer
from registry.releases import ReleaseFiles, parse_release, resolve
from registry.rules import channel_of, place, previous_champion
from registry.verify import Verification, verify_contents, verify_ledger
from registry.view import sync_view
from tasks.answer.release import Release
from tasks.closing import Closing
from tasks.digest import SHORT, Digest
from tasks.errors import CorruptArtifact, RegistryError
from tasks.store import Home


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One registered release, for lists."""

    digest: Digest
    label: str
    registered_at: str
    champion: bool
    previous: bool
    """Whether a plain rollback would bring it back."""
    staging: bool
    """Whether staging runs it."""


class Catalog(Closing):
    """What the registry knows; nothing here changes what is live.

    Args:
        url: SQLAlchemy URL of the ledger; None: SQLite in the state directory.
        home: the state directory with `index/`, `releases/` and `champion.json`.
        busy_timeout_s: how long to wait for another process that writes.
        repair: make `champion.json` say what the ledger says; an auditor changes nothing.

    Raises:
        RegistryError: the database can't be opened.
        CorruptArtifact: the ledger was changed by hand; only with `repair`.
    """

    def __init__(
        self, url: str | None, home: Home, *, busy_timeout_s: float = 30.0, repair: bool = True
    ) -> None:
        self._home = home
        self._files = ReleaseFiles(home.path("releases"))
        self._ledger = Ledger(
            url or f"sqlite:///{home.path('registry.db')}", busy_timeout_s=busy_timeout_s
        )
        if repair:
            self.sync_view()

    def close(self) -> None:
        """Let go of the database."""
        self._ledger.close()

    @property
    def view(self) -> Path:
        """The file that shows the champion to other programs."""
        return self._home.path("champion.json")

    def champion_digest(self) -> Digest | None:
        """Digest of the release on production; None before the first promotion."""
        return self.channel_digest(PRODUCTION)

    def channel_digest(self, channel: Channel) -> Digest | None:
        """Digest of the release that a channel runs; None before the first promotion to it."""
        with self._ledger.reading() as connection:
            return self._ledger.pointer(connection, channel).digest

    def champion(self) -> Release | None:
        """Give the live release; None before the first promotion.

        Raises:
            CorruptArtifact: its stored content was changed.
        """
        with self._ledger.reading() as connection:
            digest = self._ledger.pointer(connection).digest
            return None if digest is None else self._stored(connection, digest)

    def anchor(self) -> Release | None:
        """Give the fixed release that guardrails are held against; None before any promotion.

        It is the one that somebody chose last, else the first champion.

        Raises:
            CorruptArtifact: its stored content was changed.
        """
        with self._ledger.reading() as connection:
            return self._anchor(connection)

    def previous_digest(self) -> Digest | None:
        """Digest of the release that a plain rollback brings back; None when there is none."""
        with self._ledger.reading() as connection:
            return self._previous(connection)

    def resolve(self, name: str) -> Digest:
        """Find the digest of a digest's start, a label, `previous`, or a channel.

        `champion` is the release on production.

        Raises:
            RegistryError: it names no release, or more than one.
        """
        channels = {channel: channel for channel in CHANNELS} | {"champion": PRODUCTION}
        if name == "previous" or name in channels:
            digest = (
                self.previous_digest()
                if name == "previous"
                else self.channel_digest(channels[name])
            )
            if digest is None:
                if name in CHANNELS:
                    raise RegistryError(
                        f"There is no release on {name} yet.",
                        next_step="See what there is: ratchet releases",
                    )
                raise RegistryError(
                    f"There is no {name} yet.", next_step="See what there is: ratchet releases"
                )
            return digest
        return resolve(name, labels={row.digest: row.label for row in self.releases()})

    def release(self, name: str) -> Release:
        """Read a registered release.

        Raises:
            RegistryError: unknown or ambiguous name.
            CorruptArtifact: its stored content was changed.
        """
        digest = self.resolve(name)
        with self._ledger.reading() as connection:
            return self._stored(connection, digest)

    def releases(self) -> list[ReleaseRow]:
        """List registered releases, oldest first."""
        with self._ledger.reading() as connection:
            champion = self._ledger.pointer(connection).digest
            staging = self._ledger.pointer(connection, "staging").digest
            previous = self._previous(connection)
            events = self._ledger.events(connection, kinds=["registered"])
        return [
            ReleaseRow(
                digest=event.subject,
                label=event.detail["label"],
                registered_at=event.at,
                champion=event.subject == champion,
                previous=event.subject == previous,
                staging=event.subject == staging,
            )
            for event in events
        ]

    def aliases(self) -> dict[str, Digest | None]:
        """What `champion`, `previous`, `staging` and `challenger` mean, all at one moment.

        The challenger is the release that was registered or decided on last, if it never was live.
        """
        with self._ledger.reading() as connection:
            moves = self._moves(connection)
            considered = self._ledger.events(connection, kinds=["registered", "decided"])
            challenger: Digest | None = None
            if considered:
                challenger = considered[-1].detail.get("challenger", considered[-1].subject)
            return {
                "champion": self._ledger.pointer(connection).digest,
                "previous": previous_champion(moves),
                "staging": self._ledger.pointer(connection, "staging").digest,
                "challenger": None
                if challenger in {event.subject for event in moves}
                else challenger,
            }

    def head(self) -> ChainHead:
        """How many events there are, and the digest of the last: equal heads, equal ledgers."""
        with self._ledger.reading() as connection:
            return self._ledger.head(connection)

    def history(self) -> list[LedgerEvent]:
        """Everything that happened, oldest first."""
        with self._ledger.reading() as connection:
            return self._ledger.events(connection)

    def verify(self) -> Verification:
        """Check the chain of events, the pointers, and all content that is on this machine."""
        with self._ledger.reading() as connection:
            found, events = verify_ledger(self._ledger, connection)
        if not found.fits:
            return found
        return verify_contents(self._home, self._files, events, checked=found.checked)

    def last_rollback_from(self, name: str) -> LedgerEvent | None:
        """The latest rollback that took this release out of production, if there was one."""
        digest = self.resolve(name)
        with self._ledger.reading() as connection:
            events = self._ledger.events(connection, kinds=["rolled_back"])
        left = [
            event
            for event in events
            if event.detail["from"] == digest and channel_of(event) == PRODUCTION
        ]
        return left[-1] if left else None

    def diff(self, old: str, new: str) -> ReleaseDiff:
        """Compare two registered releases.

        Raises:
            RegistryError: unknown or ambiguous name.
        """
        return compare_releases(
            self.release(old), self.release(new), indexes=self._home.path("index")
        )

    def sync_view(self) -> bool:
        """Make `champion.json` say what the ledger says; True when it had to be repaired."""
        return sync_view(self.view, self._champion_view)

    def _champion_view(self) -> dict[str, Any] | None:
        with self._ledger.reading() as connection:
            pointer = self._ledger.pointer(connection)
            if pointer.digest is None:
                return None
            event = self._why_live(connection, pointer)
            release = self._stored(connection, pointer.digest)
        return {
            "digest": pointer.digest,
            "label": release.label,
            "since": event.at,
            "event_id": event.id,
            "who": event.who,
            "why": event.why,
            "index": str(self._home.path("index", release.index_digest)),
            "release": release.model_dump(mode="json"),
        }

    def _stored(self, connection: Connection, digest: Digest) -> Release:
        """Read a registered release by its whole digest, inside the caller's transaction."""
        try:
            found = self._files.load(digest)
        except CorruptArtifact:
            found = None
        if found is not None:
            return found
        # Another machine registered it, or its file was lost: the ledger has the content too.
        event = self._ledger.events(connection, kinds=["registered"], subject=digest)[0]
        release = parse_release(
            json.dumps(event.detail["release"]).encode(),
            digest=digest,
            where=f"ledger event {event.id}",
        )
        self._files.path(digest).unlink(missing_ok=True)
        self._files.save(release)
        return release

    def _anchor(self, connection: Connection) -> Release | None:
        chosen = self._ledger.events(connection, kinds=["anchored"])
        event = chosen[-1] if chosen else next(iter(self._moves(connection)), None)
        return None if event is None else self._stored(connection, event.subject)

    def _moves(self, connection: Connection, channel: Channel = PRODUCTION) -> list[LedgerEvent]:
        moves = self._ledger.events(connection, kinds=["promoted", "rolled_back"])
        return [event for event in moves if channel_of(event) == channel]

    def _previous(self, connection: Connection, channel: Channel = PRODUCTION) -> Digest | None:
        return previous_champion(self._moves(connection, channel))

    def _why_live(
        self, connection: Connection, pointer: Pointer, channel: Channel = PRODUCTION
    ) -> LedgerEvent:
        last = next(iter(self._moves(connection, channel)[::-1]), None)
        if last is None or (last.id, last.subject) != (pointer.event_id, pointer.digest):
            raise CorruptArtifact(
                f"The ledger says that {str(pointer.digest)[:SHORT]!r} is {place(channel)} by "
                f"event {pointer.event_id}, which isn't the last move there: somebody changed it.",
                next_step="See what doesn't fit: ratchet verify",
            )
        return last
