"""What somebody with the password of the ledger's database can do, past Ratchet."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, text

from tasks.store import Home


@contextmanager
def inside(url: str | None, home: Home) -> Iterator[Connection]:
    """A connection that foreign keys don't hold back; what is done on it is kept."""
    engine = create_engine(url or f"sqlite:///{home.path('registry.db')}", poolclass=NullPool)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
        yield connection


def change(url: str | None, home: Home, statement: str, **values: Any) -> None:
    """Run one statement."""
    with inside(url, home) as connection:
        connection.execute(text(statement), values)


def rows(url: str | None, home: Home, statement: str, **values: Any) -> list[Mapping[str, Any]]:
    """What a query finds."""
    with inside(url, home) as connection:
        return [dict(row) for row in connection.execute(text(statement), values).mappings()]
