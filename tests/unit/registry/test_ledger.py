import sqlite3
from datetime import UTC, datetime

import pytest

from registry.ledger import GENESIS, ChainHead, Ledger, event_digest
from tasks.digest import text_digest
from tasks.errors import PromotionConflict, RegistryError

SUBJECT = text_digest("a release")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/below/registry.db"


@pytest.fixture
def ledger(url):
    return Ledger(url, clock=lambda: datetime(2026, 11, 24, 3, 0, tzinfo=UTC))


def add(ledger, connection, kind="promoted", **detail):
    return ledger.append(connection, kind, subject=SUBJECT, who="me", why="so", detail=detail)


def test_events_come_back_as_they_were_written(ledger):
    with ledger.writing() as connection:
        written = add(ledger, connection, nested={"a": [1, "é", None]})
    with ledger.reading() as connection:
        assert ledger.events(connection) == [written]
    assert written.at == "2026-11-24T03:00:00.000+00:00"


def test_every_event_names_the_one_before_it(ledger):
    with ledger.writing() as connection:
        first, second = (add(ledger, connection) for _ in range(2))
    assert (first.previous, second.previous) == (GENESIS, first.digest)
    assert (first.id, second.id) == (1, 2)
    assert first.digest != second.digest
    with ledger.reading() as connection:
        assert ledger.head(connection) == ChainHead(2, second.digest)
        assert [event_digest(row) for row in ledger.stored(connection)] == [
            first.digest,
            second.digest,
        ]


def test_events_are_found_by_kind_and_subject(ledger):
    with ledger.writing() as connection:
        add(ledger, connection, "registered")
        wanted = add(ledger, connection, "decided")
    with ledger.reading() as connection:
        assert ledger.events(connection, kinds=["decided"], subject=SUBJECT) == [wanted]
        assert ledger.events(connection, subject=text_digest("another")) == []


def test_nothing_is_kept_of_a_transaction_that_failed(ledger):
    def fail_half_way():
        with ledger.writing() as connection:
            ledger.move(connection, expected=None, to=add(ledger, connection))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail_half_way()
    with ledger.reading() as connection:
        assert ledger.events(connection) == []
        assert ledger.pointer(connection).digest is None


def test_the_pointer_moves_only_from_where_it_is_expected(ledger):
    with ledger.writing() as connection:
        event = add(ledger, connection)
        ledger.move(connection, expected=None, to=event)
    with ledger.reading() as connection:
        assert ledger.pointer(connection).event_id == event.id
    with pytest.raises(PromotionConflict), ledger.writing() as connection:
        ledger.move(connection, expected=None, to=add(ledger, connection))


def test_a_detail_that_is_not_finite_is_refused(ledger):
    with pytest.raises(ValueError, match="JSON"), ledger.writing() as connection:
        add(ledger, connection, value=float("nan"))


def test_the_database_is_in_wal_mode_so_that_readers_never_wait(ledger, url):
    with ledger.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    with ledger.writing() as writer:
        add(ledger, writer)
        with ledger.reading() as reader:
            assert ledger.events(reader) == []


def test_a_database_that_is_read_only_can_be_read_but_says_why_it_is_not_written(ledger, url):
    with ledger.writing() as connection:
        written = add(ledger, connection)
    path = url.removeprefix("sqlite:///")
    closed = Ledger(f"sqlite:///file:{path}?mode=ro&uri=true")
    with closed.reading() as connection:
        assert closed.events(connection) == [written]
    with pytest.raises(RegistryError, match="can't be written"), closed.writing() as connection:
        add(closed, connection)


def test_a_file_that_is_no_database_gives_a_clear_error(tmp_path):
    path = tmp_path / "registry.db"
    path.write_text("this is not a database, but it is long enough to look like one" * 20)
    with pytest.raises(RegistryError, match="not a database"):
        Ledger(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["not a url", "nothing+here://host/db"])
def test_a_url_that_means_nothing_gives_a_clear_error(url):
    with pytest.raises(RegistryError, match="can't be used"):
        Ledger(url)


def test_a_password_is_not_shown_in_an_error():
    with pytest.raises(RegistryError) as caught:
        Ledger("nothing+here://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_ledger_of_a_newer_version_is_refused(ledger, url):
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE ratchet_schema SET version = 99")
    with pytest.raises(RegistryError, match="schema version 99"):
        Ledger(url)
