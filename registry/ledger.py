"""What happened to releases, and what is live: a chain of events, and one pointer a channel."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import (
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    update,
)

from registry.database import Database
from tasks.digest import Digest, digest
from tasks.errors import PromotionConflict, RegistryError

SCHEMA_VERSION = 2
"""Bumped when a table changes; another Ratchet then refuses instead of misreading it."""

Channel = Literal["production", "staging"]
"""Where releases go live. The release on production is the champion."""

CHANNELS: tuple[Channel, ...] = ("production", "staging")
PRODUCTION: Channel = "production"

_CREATION_LOCK = 7_265_746_368
"""Any number that nobody else locks in the same PostgreSQL database."""

EventKind = Literal[
    "registered", "evaluated", "alpha_spent", "decided", "promoted", "rolled_back", "anchored"
]

_METADATA = MetaData()
_SCHEMA = Table("ratchet_schema", _METADATA, Column("version", Integer, primary_key=True))
_EVENTS = Table(
    "events",
    _METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("at", String(32), nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False, unique=True),
    Column("digest", String(64), nullable=False),
)
# Without it a chain that lost its end would still be a chain.
_HEAD = Table(
    "chain_head",
    _METADATA,
    Column("length", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
)
_POINTERS = Table(
    "pointers",
    _METADATA,
    Column("name", String(32), primary_key=True),
    Column("digest", String(64)),
    Column("event_id", Integer, ForeignKey("events.id")),
)
LOOKS = Table(
    "looks",
    _METADATA,
    Column("suite", String(64), primary_key=True),
    Column("judge", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("evidence", String(64), nullable=False),
    Column("rule", String(16), nullable=False),
    Column("alpha", Double, nullable=False),
    Column("spent_before", Double, nullable=False),
    Column("alpha_left", Double),
    Column("challenger", String(64), nullable=False),
    Column("champion", String(64)),
    Column("at", String(32), nullable=False),
    Column("who", Text, nullable=False),
    Column("decision", String(64)),
    Column("verdict", String(16)),
    UniqueConstraint("suite", "judge", "evidence"),
)
"""Looks at a suite, which `registry.budget` reads and writes. Of a row only the decision and its
verdict are ever changed, once."""

GENESIS = digest(
    "ledger-schema",
    SCHEMA_VERSION,
    [[table.name, [column.name for column in table.columns]] for table in _METADATA.sorted_tables],
)
"""What the first event names as the one before it: a chain belongs to one form of its tables."""


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """One thing that happened; events are added and never changed."""

    id: int
    """1 for the first, then one more each: a gap is an event that was removed."""
    kind: EventKind
    at: str
    """UTC, ISO 8601."""
    who: str
    why: str
    subject: Digest
    """The release, evaluation log or decision that the event is about."""
    detail: Mapping[str, Any]
    previous: Digest
    """`digest` of the event before it; of the first one `GENESIS`."""
    digest: Digest
    """Of everything above, as it is stored."""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """How many events were ever written, and the digest of the last one."""

    length: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which release a channel runs, and the event that made it so; both None before the first."""

    digest: Digest | None
    event_id: int | None


class Ledger:
    """Events and pointer in one database, written in transactions that exclude each other.

    Args:
        url: SQLAlchemy URL of the database.
        busy_timeout_s: how long a writer waits for another one.

    Raises:
        RegistryError: the database can't be opened, read or written.
        ServerUnavailable: its server doesn't answer.
    """

    def __init__(
        self,
        url: str,
        *,
        busy_timeout_s: float = 30.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._database = Database(url, busy_timeout_s=busy_timeout_s)
        with self.reading() as connection:
            missing = not inspect(connection).has_table(LOOKS.name)
        if missing:
            with self.writing():
                pass
        with self.reading() as connection:
            self._require_version(connection)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def reading(self) -> AbstractContextManager[Connection]:
        """Give a connection on which several reads see one state of the database."""
        return self._database.reading()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes are kept together when the block ends, or not at all."""
        with self._database.writing() as connection:
            self._make_tables(connection)
            # On servers this row lock is what makes writers wait for each other.
            connection.execute(select(_HEAD).with_for_update()).all()
            yield connection

    def _make_tables(self, connection: Connection) -> None:
        if inspect(connection).has_table(LOOKS.name):
            return
        if self._database.is_postgresql:
            # There is no row to lock yet, and two sessions can't create the same table at once.
            connection.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))
            if inspect(connection).has_table(LOOKS.name):
                return
        if inspect(connection).has_table(_SCHEMA.name):
            # Of an older version, and without that table.
            self._require_version(connection)
        _METADATA.create_all(connection)
        connection.execute(insert(_SCHEMA).values(version=SCHEMA_VERSION))
        connection.execute(insert(_HEAD).values(length=0, digest=GENESIS))
        rows = [{"name": name, "digest": None, "event_id": None} for name in CHANNELS]
        connection.execute(insert(_POINTERS), rows)

    def _require_version(self, connection: Connection) -> None:
        version = connection.execute(select(_SCHEMA.c.version)).scalar_one()
        if version != SCHEMA_VERSION:
            raise RegistryError(
                f"The registry at {self._database.shown} has schema version {version}; this "
                f"Ratchet reads version {SCHEMA_VERSION}.",
                next_step="Use the Ratchet version that wrote it.",
            )

    def append(
        self,
        connection: Connection,
        kind: EventKind,
        *,
        subject: Digest,
        who: str,
        why: str,
        detail: Mapping[str, Any],
    ) -> LedgerEvent:
        """Add one event inside the caller's transaction.

        Raises:
            RegistryError: a text holds characters that not every database can store.
        """
        _require_text(who=who, why=why)
        head = self.head(connection)
        row: dict[str, Any] = {
            "id": head.length + 1,
            "kind": kind,
            "at": self._clock().astimezone(UTC).isoformat(timespec="milliseconds"),
            "who": who,
            "why": why,
            "subject": subject,
            "detail": json.dumps(dict(detail), sort_keys=True, ensure_ascii=False, allow_nan=False),
            "previous": head.digest,
        }
        row["digest"] = event_digest(row)
        connection.execute(insert(_EVENTS).values(row))
        connection.execute(update(_HEAD).values(length=row["id"], digest=row["digest"]))
        return _event(row)

    def head(self, connection: Connection) -> ChainHead:
        """Read where the chain ends."""
        row = connection.execute(select(_HEAD.c.length, _HEAD.c.digest)).one()
        return ChainHead(row.length, row.digest)

    def pointer(self, connection: Connection, channel: Channel = PRODUCTION) -> Pointer:
        """Read which release a channel runs."""
        row = connection.execute(
            select(_POINTERS.c.digest, _POINTERS.c.event_id).where(_POINTERS.c.name == channel)
        ).one()
        return Pointer(digest=row.digest, event_id=row.event_id)

    def pointers(self, connection: Connection) -> dict[str, Pointer]:
        """Read every pointer by its channel."""
        rows = connection.execute(select(_POINTERS).order_by(_POINTERS.c.name))
        return {row.name: Pointer(row.digest, row.event_id) for row in rows}

    def move(
        self,
        connection: Connection,
        *,
        expected: Digest | None,
        to: LedgerEvent,
        channel: Channel = PRODUCTION,
    ) -> None:
        """Point to the event's release if the pointer still is where the caller believes it.

        Raises:
            PromotionConflict: another promotion or rollback came first.
        """
        moved = connection.execute(
            update(_POINTERS)
            .where(_POINTERS.c.name == channel, _POINTERS.c.digest.is_not_distinct_from(expected))
            .values(digest=to.subject, event_id=to.id)
        )
        if moved.rowcount != 1:
            found = self.pointer(connection, channel).digest
            raise PromotionConflict(
                f"The {'champion' if channel == PRODUCTION else f'release on {channel}'} is "
                f"{found!r} now; this change was prepared against {expected!r}.",
                next_step="Compare with the champion of now: ratchet nightly",
                expected=expected,
                found=found,
            )

    def events(
        self,
        connection: Connection,
        *,
        kinds: Sequence[EventKind] = (),
        subject: Digest | None = None,
    ) -> list[LedgerEvent]:
        """Read events in the order in which they happened."""
        query: Select[Any] = select(_EVENTS).order_by(_EVENTS.c.id)
        if kinds:
            query = query.where(_EVENTS.c.kind.in_(kinds))
        if subject is not None:
            query = query.where(_EVENTS.c.subject == subject)
        return [_event(dict(row)) for row in connection.execute(query).mappings()]

    def damage(self, connection: Connection) -> str | None:
        """What the database finds wrong in its own file; a server looks after that itself."""
        if self._database.is_postgresql:
            return None
        found = str(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one())
        return None if found == "ok" else found

    def stored(self, connection: Connection) -> list[dict[str, Any]]:
        """Read all events as they are stored, `detail` as text, without trusting any of it."""
        rows = connection.execute(select(_EVENTS).order_by(_EVENTS.c.id))
        return [dict(row) for row in rows.mappings()]


def event_digest(row: Mapping[str, Any]) -> Digest:
    """Name an event by its stored columns, all but `digest`; so by every event before it too."""
    names = (column.name for column in _EVENTS.columns)
    return digest("ledger-event", 1, {name: row[name] for name in names if name != "digest"})


def _require_text(**texts: str) -> None:
    for name, text in texts.items():
        # Bytes of an argument that aren't UTF-8 come as surrogates, which have no encoding.
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
            raise RegistryError(
                f"{name} is {text!r}, expected text without NUL and without broken characters.",
                next_step="Type it again in UTF-8.",
            )


def _event(row: Mapping[str, Any]) -> LedgerEvent:
    return LedgerEvent(**{**row, "detail": json.loads(row["detail"])})
