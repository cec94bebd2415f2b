"""Settings of the test run as a whole."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

# A console keeps the width that it found when it was made; tests that look at one set it first.
os.environ.pop("COLUMNS", None)

# Tests share two cores with whatever else runs; a slow example is no wrong one.
settings.register_profile("ratchet", deadline=None)
settings.register_profile("thorough", parent=settings.get_profile("ratchet"), max_examples=3000)
settings.load_profile("ratchet")


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresServer]":
    """A PostgreSQL for everybody; tests that end it start one of their own."""
    from tests.postgres import PostgresServer

    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.remove()
