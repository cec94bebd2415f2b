from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from registry.ledger import GENESIS, ChainHead, Ledger, event_digest
from tasks.digest import text_digest
from tasks.errors import PromotionConflict, RegistryError

SUBJECT = text_digest("a release")


@pytest.fixture
def place(url, tmp_path):
    """The URL of an empty ledger."""
    return url or f"sqlite:///{tmp_path}/below/registry.db"


@pytest.fixture
def ledger(place):
    return Ledger(place, clock=lambda: datetime(2026, 11, 24, 3, 0, tzinfo=UTC))


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


def test_rows_that_exclude_each_other_point_to_verify(ledger):
    def write_twice():
        with ledger.writing() as connection:
            add(ledger, connection)
            connection.execute(text("INSERT INTO events SELECT * FROM events"))

    with pytest.raises(RegistryError, match="doesn't fit together") as caught:
        write_twice()
    assert "ratchet verify" in caught.value.next_step


@pytest.mark.parametrize("broken", ["a\0b", "caf\udce9"])
@pytest.mark.parametrize("field", ["who", "why"])
def test_a_text_that_not_every_database_can_store_is_refused(ledger, field, broken):
    words = {"who": "me", "why": "so"} | {field: broken}
    with pytest.raises(RegistryError, match=f"{field} is "), ledger.writing() as connection:
        ledger.append(connection, "promoted", subject=SUBJECT, detail={}, **words)
    with ledger.reading() as connection:
        assert ledger.events(connection) == []


def test_readers_never_wait_and_never_see_half_of_it(ledger):
    with ledger.writing() as writer:
        add(ledger, writer)
        with ledger.reading() as reader:
            assert ledger.events(reader) == []


def test_a_reader_sees_one_state_however_long_it_reads(ledger):
    with ledger.reading() as reader:
        assert ledger.head(reader).length == 0
        with ledger.writing() as writer:
            add(ledger, writer)
        assert ledger.events(reader) == []
        assert ledger.head(reader).length == 0


def test_many_that_open_a_new_ledger_at_once_make_its_tables_once(place):
    with ThreadPoolExecutor(8) as pool:
        for ledger in pool.map(Ledger, [place] * 8):
            with ledger.reading() as connection:
                assert ledger.head(connection) == ChainHead(0, GENESIS)


def test_many_that_append_at_once_make_one_chain(ledger, place):
    def append(number):
        mine = Ledger(place)
        for _ in range(5):
            with mine.writing() as connection:
                add(mine, connection, number=number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(8)))
    with ledger.reading() as connection:
        events = ledger.events(connection)
    assert [event.id for event in events] == list(range(1, 41))
    assert [event.previous for event in events[1:]] == [event.digest for event in events[:-1]]


def test_a_ledger_of_a_newer_version_is_refused(ledger, place):
    with ledger.writing() as connection:
        connection.execute(text("UPDATE ratchet_schema SET version = 99"))
    with pytest.raises(RegistryError, match="schema version 99"):
        Ledger(place)
