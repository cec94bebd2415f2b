"""What a database or its driver raises -> what happened, and the next thing to do."""

from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from tasks.errors import RatchetError, RegistryError, ServerUnavailable


@dataclass(frozen=True, slots=True)
class _Case:
    """One thing that goes wrong, known by PostgreSQL's code or by words.

    SQLite has no codes that SQLAlchemy hands on, and a refused connection has none either.
    """

    what: str
    """Follows "The registry at X"."""
    next_step: str
    codes: tuple[str, ...] = ()
    """Starts of SQLSTATEs."""
    words: tuple[str, ...] = ()
    kind: type[RatchetError] = RegistryError


_NO_PLACE = (
    "too many clients",
    "too many connections",
    "connection slots are reserved",
    "starting up",
)

_CASES = (
    _Case(
        "is locked by another process",
        "Wait for the other promotion to end, or end the process that holds it.",
        codes=("55P03",),
        words=("locked",),
    ),
    _Case(
        "can't be written, it is read-only",
        "PostgreSQL: let registry.url name the primary server, and a user whose "
        "default_transaction_read_only is off.",
        codes=("25006",),
    ),
    _Case(
        "can't be written",
        "Give this user write permission to the file and to its directory.",
        words=("readonly", "read-only"),
    ),
    _Case(
        "can't be written, the disk is full",
        "Make room on its disk and run the command again: nothing was changed.",
        codes=("53100",),
        words=("disk is full", "disk I/O error", "No space left"),
    ),
    _Case(
        "gave up: a statement took longer than its server allows",
        "See what holds it up (pg_stat_activity), or raise statement_timeout of this user; then "
        "run the command again: nothing was changed.",
        codes=("57014",),
    ),
    _Case(
        "doesn't let this user do that",
        "GRANT it CREATE on the schema, or SELECT, INSERT and UPDATE on Ratchet's tables.",
        codes=("42501",),
    ),
    _Case(
        "has no free connection",
        "Run it again in a while, or raise max_connections of the server.",
        codes=("53300",),
        words=_NO_PLACE,
        kind=ServerUnavailable,
    ),
    _Case(
        "doesn't let this user in",
        "Check user and password in registry.url (configs/services.yaml); a password may also be "
        "in PGPASSWORD or in ~/.pgpass.",
        codes=("28",),
        words=("password authentication failed", "no password supplied", "pg_hba", 'role "'),
    ),
    _Case(
        "doesn't exist",
        "Make it: createdb NAME; Ratchet makes its tables. Or correct registry.url in "
        "configs/services.yaml.",
        codes=("3D000",),
        words=('" does not exist',),
    ),
    _Case(
        "doesn't answer",
        "Start its server, or correct registry.url in configs/services.yaml; then run the command "
        "again: what it had done already isn't done twice.",
        codes=("08", "57P"),
        words=(
            "connection failed",
            "connection timeout",
            "server closed the connection",
            "the connection is lost",
            "consuming input failed",
        ),
        kind=ServerUnavailable,
    ),
    _Case(
        "needs a driver that isn't installed",
        "Install it, and write it into the URL: pip install 'psycopg[binary]', then "
        "postgresql+psycopg://...",
        words=("No module named",),
    ),
    _Case(
        "can't be opened",
        "Check registry.url in configs/services.yaml, and that this user may write there.",
        words=("unable to open database file",),
    ),
)

_UNKNOWN = _Case(
    "can't be used", "Check registry.url in configs/services.yaml, and that its server runs."
)
_CHANGED = _Case("doesn't fit together", "See what doesn't fit: ratchet verify")


def explain(error: Exception, shown: str) -> RatchetError:
    """Say what happened to the registry at `shown`."""
    reason = _reason(error)
    case = _CHANGED if isinstance(error, IntegrityError) else _find(error, reason)
    end = ". Somebody changed it." if case is _CHANGED else "."
    return case.kind(
        f"The registry at {shown} {case.what}: {reason.rstrip('.')}{end}", next_step=case.next_step
    )


def has_no_place(error: Exception) -> bool:
    """Whether the server only has no place for one more connection just now."""
    return any(words in _reason(error) for words in _NO_PLACE)


def _find(error: Exception, reason: str) -> _Case:
    code = getattr(getattr(error, "orig", None), "sqlstate", None)
    if code is not None:
        found = [case for case in _CASES if code.startswith(case.codes)]
    else:
        found = [case for case in _CASES if any(words in reason for words in case.words)]
    return found[0] if found else _UNKNOWN


def _reason(error: Exception) -> str:
    """The first line: what follows are hints, and the statement with its values."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
