"""Releases to promote, and a state directory in which their indexes exist."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from registry import Registry
from tasks.answer.release import Release
from tasks.store import Home
from tests.evaluations import make_release

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

MakeRelease = Callable[..., Release]


@pytest.fixture(name="make_release", scope="session")
def make_release_fixture() -> MakeRelease:
    return make_release


@pytest.fixture
def releases() -> list[Release]:
    return [make_release(number) for number in range(4)]


@pytest.fixture
def home(tmp_path: Path, releases: list[Release]) -> Home:
    home = Home(tmp_path / "state")
    for release in releases:
        home.path("index", release.index_digest).mkdir(parents=True)
    return home


POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.integration)


@pytest.fixture(scope="session")
def database(postgres: "PostgresServer") -> str:
    """Name of a database that is emptied after each test."""
    return postgres.make_database()


@pytest.fixture(params=["sqlite", POSTGRESQL])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The ledger's database; None: SQLite in the state directory."""
    if request.param == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    database: str = request.getfixturevalue("database")
    yield server.url(database)
    server.empty_database(database)


@pytest.fixture
def registry(home: Home, releases: list[Release], url: str | None) -> Iterator[Registry]:
    """Four registered releases, none of them live."""
    with Registry(url, home) as registry:
        for release in releases:
            registry.register(release, who="test")
        yield registry
