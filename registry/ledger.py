"""What happened to releases, and which one is live: append-only events and one pointer row."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    RowMapping,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from tasks.digest import Digest
from tasks.errors import PromotionConflict, RegistryError

SCHEMA_VERSION = 1
"""Bumped when a table changes; an older Ratchet then refuses instead of misreading it. A new table
is made where it is missing."""

POINTER = "champion"

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
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("at", String(32), nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("detail", Text, nullable=False),
    # SQLite gives the id of a deleted last row to the next one, unless told not to.
    sqlite_autoincrement=True,
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


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """One thing that happened; events are added and never changed."""

    id: int
    """Grows with time; gaps are possible on PostgreSQL."""
    kind: EventKind
    at: str
    """UTC, ISO 8601."""
    who: str
    why: str
    subject: Digest
    """The release, evaluation log or decision that the event is about."""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which release is live, and the event that made it so; both None before the first one."""

    digest: Digest | None
    event_id: int | None


class Ledger:
    """Events and pointer in one database, written in transactions that exclude each other.

    Args:
        url: SQLAlchemy URL of the database.
        busy_timeout_s: how long a writer waits for another one.

    Raises:
        RegistryError: the database can't be opened, read or written.
    """

    def __init__(
        self,
        url: str,
        *,
        busy_timeout_s: float = 30.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url = url
        self._clock = clock
        with self._readable():
            self._engine = _open(url, busy_timeout_s=busy_timeout_s)
            missing = not inspect(self._engine).has_table(LOOKS.name)
        if missing:
            with self.writing():
                pass
        with self.reading() as connection:
            self._require_version(connection)

    @property
    def _shown(self) -> str:
        return repr(self._engine.url.render_as_string(hide_password=True))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection on which several reads see one state of the database."""
        with self._readable(), self._engine.connect() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes are kept together when the block ends, or not at all."""
        with self._readable(), self._engine.connect() as connection:
            if self._engine.dialect.name == "sqlite":
                # A transaction that only later turns into a writer fails when another one
                # wrote in between; IMMEDIATE waits at the start instead.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            self._make_tables(connection)
            # On servers this row lock is what makes writers wait for each other.
            connection.execute(select(_POINTERS).with_for_update()).all()
            yield connection
            connection.commit()

    def _make_tables(self, connection: Connection) -> None:
        if inspect(connection).has_table(LOOKS.name):
            return
        if connection.dialect.name == "postgresql":
            # There is no row to lock yet, and two sessions can't create the same table at once.
            connection.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))
            if inspect(connection).has_table(LOOKS.name):
                return
        begun = inspect(connection).has_table(_POINTERS.name)
        if begun:
            # Written before there were looks: it only lacks their table.
            self._require_version(connection)
        _METADATA.create_all(connection)
        if not begun:
            connection.execute(insert(_SCHEMA).values(version=SCHEMA_VERSION))
            connection.execute(insert(_POINTERS).values(name=POINTER, digest=None, event_id=None))

    def _require_version(self, connection: Connection) -> None:
        version = connection.execute(select(_SCHEMA.c.version)).scalar_one()
        if version != SCHEMA_VERSION:
            raise RegistryError(
                f"The registry at {self._shown} has schema version {version}; this Ratchet "
                f"reads version {SCHEMA_VERSION}.",
                next_step="Use the Ratchet version that wrote it.",
            )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, ArgumentError, NoSuchModuleError, ImportError) as error:
            shown = self._shown if hasattr(self, "_engine") else repr(self._url.split("@")[-1])
            raise _explain(error, shown) from error

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
        """Add one event inside the caller's transaction."""
        at = self._clock().astimezone(UTC).isoformat(timespec="milliseconds")
        text = json.dumps(dict(detail), sort_keys=True, ensure_ascii=False, allow_nan=False)
        result = connection.execute(
            insert(_EVENTS).values(kind=kind, at=at, who=who, why=why, subject=subject, detail=text)
        )
        key = cast("tuple[int, ...]", result.inserted_primary_key)[0]
        return LedgerEvent(key, kind, at, who, why, subject, json.loads(text))

    def pointer(self, connection: Connection) -> Pointer:
        """Read which release is live."""
        row = connection.execute(
            select(_POINTERS.c.digest, _POINTERS.c.event_id).where(_POINTERS.c.name == POINTER)
        ).one()
        return Pointer(digest=row.digest, event_id=row.event_id)

    def move(self, connection: Connection, *, expected: Digest | None, to: LedgerEvent) -> None:
        """Point to the event's release if the pointer still is where the caller believes it.

        Raises:
            PromotionConflict: another promotion or rollback came first.
        """
        moved = connection.execute(
            update(_POINTERS)
            .where(_POINTERS.c.name == POINTER, _POINTERS.c.digest.is_not_distinct_from(expected))
            .values(digest=to.subject, event_id=to.id)
        )
        if moved.rowcount != 1:
            raise PromotionConflict(
                f"The champion is {self.pointer(connection).digest!r} now; this change was "
                f"prepared against {expected!r}.",
                next_step="Compare with the champion of now: ratchet nightly",
                expected=expected,
                found=self.pointer(connection).digest,
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
        return [_event(row) for row in connection.execute(query).mappings()]


def _event(row: RowMapping) -> LedgerEvent:
    return LedgerEvent(**{**row, "detail": json.loads(row["detail"])})


def _open(url: str, *, busy_timeout_s: float) -> Engine:
    # No pool: a connection that outlives its use would be inherited by forked workers.
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name != "sqlite":
        return engine
    if engine.url.database and not engine.url.query.get("uri"):
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # Python's sqlite3 begins transactions by itself, and too late; here they are explicit.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout_s * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


def _explain(error: Exception, shown: str) -> RegistryError:
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    if "locked" in reason:
        return RegistryError(
            f"The registry at {shown} is locked by another process: {reason}.",
            next_step="Wait for the other promotion to end, or end the process that holds it.",
        )
    if "readonly" in reason or "read-only" in reason:
        return RegistryError(
            f"The registry at {shown} can't be written: {reason}.",
            next_step="Give this user write permission to the file and to its directory.",
        )
    return RegistryError(
        f"The registry at {shown} can't be used: {reason}.",
        next_step="Check registry.url in configs/services.yaml, and that its server runs.",
    )
