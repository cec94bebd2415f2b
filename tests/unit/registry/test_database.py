"""What a database does when it can't do what it is asked; each time, nothing is changed."""

import sqlite3
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from registry.database_errors import explain
from registry.ledger import Ledger
from tasks.digest import text_digest
from tasks.errors import RatchetError, RegistryError, ServerUnavailable
from tests.postgres import PASSWORD, PostgresServer
from tests.servers import free_port

SUBJECT = text_digest("a release")


def add(ledger, connection):
    return ledger.append(connection, "promoted", subject=SUBJECT, who="me", why="so", detail={})


def fails_to_write(ledger: Ledger) -> RatchetError:
    """The error of a write; nothing is kept of it."""
    with ledger.reading() as connection:
        before = ledger.head(connection)
    with pytest.raises(RatchetError) as caught, ledger.writing() as connection:
        add(ledger, connection)
    with ledger.reading() as connection:
        assert ledger.head(connection) == before
    assert caught.value.next_step
    return caught.value


class TestSqlite:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "below" / "registry.db"

    @pytest.fixture
    def ledger(self, path):
        return Ledger(f"sqlite:///{path}")

    def test_it_is_in_wal_mode_so_that_readers_never_wait(self, ledger):
        with ledger.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"

    def test_one_that_is_read_only_can_be_read_but_says_why_it_is_not_written(self, ledger, path):
        with ledger.writing() as connection:
            written = add(ledger, connection)
        closed = Ledger(f"sqlite:///file:{path}?mode=ro&uri=true")
        with closed.reading() as connection:
            assert closed.events(connection) == [written]
        error = fails_to_write(closed)
        assert "can't be written" in error.message
        assert "write permission" in error.next_step

    def test_one_on_a_full_disk_says_so(self, ledger):
        def limit(connection, _record):
            connection.execute("PRAGMA max_page_count = 1")  # what it has now is the least

        event.listen(ledger._database.engine, "connect", limit)

        def fill():
            for _ in range(200):
                with ledger.writing() as connection:
                    add(ledger, connection)

        with pytest.raises(RegistryError, match="disk is full") as caught:
            fill()
        assert "Make room" in caught.value.next_step
        with ledger.reading() as connection:
            assert len(ledger.events(connection)) == ledger.head(connection).length

    def test_a_file_that_is_no_database_is_named(self, tmp_path):
        path = tmp_path / "registry.db"
        path.write_text("this is not a database, but it is long enough to look like one" * 20)
        with pytest.raises(RegistryError, match="not a database") as caught:
            Ledger(f"sqlite:///{path}")
        assert str(path) in caught.value.message

    def test_a_place_where_no_file_can_be_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(RegistryError, match="can't be opened"):
            Ledger(f"sqlite:///{tmp_path}/file/registry.db")
        (tmp_path / "directory.db").mkdir()
        with pytest.raises(RegistryError, match="can't be opened"):
            Ledger(f"sqlite:///{tmp_path}/directory.db")


@pytest.mark.parametrize(
    "url",
    ["not a url", "nothing+here://host/db", "postgresql+psycopg://host:port/db", "oracle://h/d"],
)
def test_a_url_that_means_nothing_gives_a_clear_error(url):
    with pytest.raises(RegistryError, match=r"The registry at .* (can't be used|needs a driver)"):
        Ledger(url)


def test_a_driver_that_is_not_there_is_named():
    with pytest.raises(RegistryError, match=r"needs a driver .*psycopg2") as caught:
        Ledger("postgresql+psycopg2://host/db")
    assert "psycopg[binary]" in caught.value.next_step


@pytest.mark.parametrize(
    "url",
    [
        "nothing+here://user:secret@host/db",
        "postgresql+psycopg://user:secret@127.0.0.1:9/db",
        "postgresql+psycopg://127.0.0.1:9/db?password=secret&user=me",
    ],
)
def test_a_password_is_not_shown(url):
    with pytest.raises(RatchetError) as caught:
        Ledger(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_may_be_there_later():
    port = free_port()
    with pytest.raises(ServerUnavailable, match=r"doesn't answer.*refused") as caught:
        Ledger(f"postgresql+psycopg://me:secret@127.0.0.1:{port}/ratchet")
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "registry.url" in caught.value.next_step


@pytest.mark.parametrize(
    ("code", "words"),
    [("53100", "the disk is full"), ("08006", "doesn't answer"), ("42501", "doesn't let")],
)
def test_what_a_server_rarely_says_is_explained_by_its_code(code, words):
    raised = psycopg.errors.lookup(code)("in whichever language the server speaks")
    error = explain(OperationalError("INSERT", {}, raised), "'somewhere'")
    assert words in error.message


@pytest.mark.integration
class TestPostgresql:
    @pytest.fixture
    def database(self, postgres: PostgresServer) -> Iterator[str]:
        name = postgres.make_database()
        yield name
        postgres.drop_database(name)

    @pytest.fixture
    def ledger(self, postgres, database):
        return Ledger(postgres.url(database), busy_timeout_s=5)

    @pytest.fixture
    def guest(self, postgres) -> Iterator[str]:
        """A user who owns nothing."""
        postgres.execute(
            sql.SQL("CREATE ROLE guest LOGIN PASSWORD {}").format(sql.Literal(PASSWORD))
        )
        yield "guest"
        postgres.execute("DROP ROLE guest")

    def test_a_wrong_password_is_said_and_not_shown(self, postgres, database):
        with pytest.raises(RegistryError, match="doesn't let this user in") as caught:
            Ledger(postgres.url(database, password="wrong-one"))
        assert "wrong-one" not in str(caught.value)
        assert "PGPASSWORD" in caught.value.next_step

    def test_an_unknown_user_is_said(self, postgres, database):
        with pytest.raises(RegistryError, match="doesn't let this user in"):
            Ledger(postgres.url(database, user="nobody-here"))

    def test_a_database_that_is_not_there_is_said(self, postgres):
        with pytest.raises(RegistryError, match="doesn't exist") as caught:
            Ledger(postgres.url("nowhere"))
        assert "createdb" in caught.value.next_step

    def test_a_user_without_rights_is_said(self, postgres, database, ledger, guest):
        with pytest.raises(RegistryError, match="doesn't let this user do that") as caught:
            Ledger(postgres.url(database, user=guest))
        assert "GRANT" in caught.value.next_step

    def test_one_that_is_read_only_can_be_read(self, postgres, database, ledger):
        with ledger.writing() as connection:
            add(ledger, connection)
        postgres.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
                sql.Identifier(database)
            )
        )
        error = fails_to_write(Ledger(postgres.url(database)))
        assert "read-only" in error.message
        assert "primary" in error.next_step

    def test_a_statement_that_takes_too_long_is_said(self, postgres, database, ledger):
        postgres.execute(
            sql.SQL("ALTER DATABASE {} SET statement_timeout = '1s'").format(
                sql.Identifier(database)
            )
        )
        hasty = Ledger(postgres.url(database), busy_timeout_s=20)
        with ledger.writing():
            error = fails_to_write(hasty)
        assert "statement timeout" in error.message
        assert "pg_stat_activity" in error.next_step

    def test_a_writer_gives_up_when_the_lock_is_not_freed_in_time(self, postgres, database, ledger):
        impatient = Ledger(postgres.url(database), busy_timeout_s=0.1)
        with ledger.writing():
            assert "is locked by another process" in fails_to_write(impatient).message
        with impatient.writing() as connection:
            add(impatient, connection)

    @pytest.mark.parametrize("level", ["repeatable read", "serializable"])
    def test_a_stricter_default_of_the_server_makes_no_writer_fail(
        self, postgres, database, ledger, level
    ):
        postgres.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}").format(
                sql.Identifier(database), sql.Literal(level)
            )
        )
        strict = Ledger(postgres.url(database))
        for _ in range(3):
            with strict.writing() as connection:
                shown = connection.execute(text("SHOW transaction_isolation")).scalar_one()
                add(strict, connection)
            assert shown == "read committed"

    def test_a_connection_that_is_cut_in_the_middle_leaves_nothing(self, postgres, ledger):
        def cut():
            with ledger.writing() as connection:
                add(ledger, connection)
                backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
                postgres.execute(f"SELECT pg_terminate_backend({backend})")
                add(ledger, connection)

        with pytest.raises(ServerUnavailable, match="doesn't answer") as caught:
            cut()
        assert "isn't done twice" in caught.value.next_step
        with ledger.reading() as connection:
            assert ledger.events(connection) == []

    def test_places_that_are_taken_are_waited_for(self, postgres, database, ledger, guest):
        postgres.execute(f"ALTER ROLE {guest} CONNECTION LIMIT 1")
        for table in ("ratchet_schema", "events", "chain_head", "pointers", "looks"):
            postgres.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO {guest}", database)
        url = postgres.url(database, user=guest)
        patient = Ledger(url, busy_timeout_s=30)
        patient.close()
        with (
            psycopg.connect(postgres.conninfo(database), user=guest),
            pytest.raises(ServerUnavailable, match="no free connection"),
        ):
            Ledger(url, busy_timeout_s=0.1)
        with patient.writing() as connection:
            add(patient, connection)
        postgres.execute(f"DROP OWNED BY {guest}", database)

    def test_a_server_that_comes_back_goes_on_where_it_was(self):
        server = PostgresServer()
        try:
            server.start()
            ledger = Ledger(server.url("postgres"))
            with ledger.writing() as connection:
                written = add(ledger, connection)
            server.stop()
            with pytest.raises(ServerUnavailable), ledger.writing() as connection:
                add(ledger, connection)
            server.start()
            with ledger.reading() as connection:
                assert ledger.events(connection) == [written]
        finally:
            server.remove()


def test_a_locked_file_says_so(tmp_path):
    path = tmp_path / "registry.db"
    Ledger(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    impatient = Ledger(f"sqlite:///{path}", busy_timeout_s=0.05)
    assert "is locked by another process" in fails_to_write(impatient).message
    other.close()
