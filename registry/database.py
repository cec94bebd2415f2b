"""A URL -> transactions in SQLite or PostgreSQL, and errors that say what to do."""

import os
import random
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool, Pool
from sqlalchemy.sql import func

from registry.database_errors import explain, has_no_place

_CONNECT_TIMEOUT_S = 10
"""A server that is down refuses at once; one behind a firewall would never answer."""

_SECRETS = ("password", "sslpassword")


class Database:
    """Transactions of a database, for threads and forked processes too.

    Args:
        url: SQLAlchemy URL, of SQLite or PostgreSQL.
        busy_timeout_s: how long a writer waits for another one.

    Raises:
        RegistryError: the URL means nothing, or its driver isn't installed.
    """

    def __init__(self, url: str, *, busy_timeout_s: float) -> None:
        self._busy_timeout_s = busy_timeout_s
        self.shown = repr(url.rsplit("@", maxsplit=1)[-1])
        """The URL without its passwords, for messages."""
        with self.explained():
            self.engine = self._open(url)
        weakref.finalize(self, self.engine.dispose)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    @property
    def is_postgresql(self) -> bool:
        """Whether a server keeps it."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection on which several reads see one state of the database."""
        with self.explained(), self._connect() as connection:
            if self.is_postgresql:
                # Its default shows to each statement what was committed in between.
                connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes are kept together when the block ends, or not at all.

        On SQLite it is the only writer from here on; on PostgreSQL it has to lock a row for that.
        """
        with self.explained(), self._connect() as connection:
            if self.is_postgresql:
                # Whoever waited for a lock must then see what was written meanwhile: stricter
                # levels, which a server may have as its default, would end in an error instead.
                connection.execution_options(isolation_level="READ COMMITTED")
                timeout = f"{max(1, round(self._busy_timeout_s * 1000))}ms"
                connection.execute(select(func.set_config("lock_timeout", timeout, True)))
            else:
                # A transaction that only later turns into a writer fails when another one
                # wrote in between; IMMEDIATE waits at the start instead.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the database and its driver raise into errors of this project.

        Raises:
            RegistryError: it can't be opened, read or written.
            ServerUnavailable: its server doesn't answer.
        """
        try:
            yield
        except (DBAPIError, ArgumentError, NoSuchModuleError, ImportError) as error:
            raise explain(error, self.shown) from error

    def _connect(self) -> Connection:
        deadline = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                return self.engine.connect()
            except OperationalError as error:
                # Many processes at once: the places of those before are free in a moment.
                if not has_no_place(error) or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.02, 0.2))  # noqa: S311 (so that they don't collide)

    def _open(self, url: str) -> Engine:
        try:
            parsed = make_url(url)
        except ValueError as error:
            raise ArgumentError(f"not a database URL: {error}") from error
        hidden = {name: value for name, value in parsed.query.items() if name not in _SECRETS}
        self.shown = repr(parsed.set(query=hidden).render_as_string(hide_password=True))
        if parsed.get_backend_name() == "postgresql":
            return _open_postgresql(parsed)
        # No pool: opening a file costs little, and forked workers must not share a connection.
        engine = create_engine(parsed, poolclass=NullPool)
        if engine.dialect.name != "sqlite":
            raise ArgumentError(f"{engine.dialect.name} is neither SQLite nor PostgreSQL")
        if engine.url.database and not engine.url.query.get("uri"):
            try:
                Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ArgumentError(f"unable to open database file: {error}") from error
        event.listen(engine, "connect", self._prepare_sqlite)
        return engine

    def _prepare_sqlite(self, connection: Any, _record: object) -> None:
        # Python's sqlite3 begins transactions by itself, and too late; here they are explicit.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(self._busy_timeout_s * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")


def _open_postgresql(url: URL) -> Engine:
    options = {"connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "ratchet"}
    given = {name: value for name, value in options.items() if name not in url.query}
    # One connection waits for its next use: to make one takes longer than all that is then asked.
    # It is tried first, as its server may have been started anew.
    engine = create_engine(
        url, pool_size=1, max_overflow=-1, pool_pre_ping=True, connect_args=given
    )
    _watch_forks()
    _ENGINES.add(engine)
    return engine


_ENGINES: "weakref.WeakSet[Engine]" = weakref.WeakSet()
_INHERITED: list[Pool] = []


@cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_leave_to_parent)


def _leave_to_parent() -> None:
    """Use no connection of the process that this one was forked from, and close none either."""
    for engine in list(_ENGINES):
        _INHERITED.append(engine.pool)
        engine.dispose(close=False)
