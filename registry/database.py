"""A URL -> transactions in SQLite or PostgreSQL, and errors that say what to do."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import func

from registry.database_errors import explain, has_no_place

_CONNECT_TIMEOUT_S = 10
"""A server that is down refuses at once; one behind a firewall would never answer."""

_SECRETS = ("password", "sslpassword")


class Database:
    """Transactions of a database; nothing stays open between two of them.

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
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
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
        # No pool: a connection that outlives its use would be inherited by forked workers.
        if parsed.get_backend_name() == "postgresql":
            options = {"connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "ratchet"}
            given = {name: value for name, value in options.items() if name not in parsed.query}
            return create_engine(parsed, poolclass=NullPool, connect_args=given)
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
