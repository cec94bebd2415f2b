"""Everything that can't be done says so, says what to do next, and changes nothing."""

import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import event, text

from registry import PromotionRules, Registry
from tasks.digest import text_digest
from tasks.errors import PromotionConflict, RatchetError, RegistryError
from tests.processes import FORK, Child
from tests.unit.registry.databases import inside


@dataclass
class Past:
    """Releases 0 and 1 were live, 1 is; 2 was held and 3 has an open decision."""

    registry: Registry
    home: object
    url: str | None
    digests: list[str]

    def promote(self, number=3, *, registry=None, decision=None, expected=1, **options):
        return (registry or self.registry).promote(
            self.digests[number],
            expected_champion=None if expected is None else self.digests[expected],
            decision_digest=decision or text_digest(f"decision {number}"),
            who="me",
            why="x",
            **options,
        )

    def lose_index(self, number):
        release = self.registry.release(self.digests[number])
        shutil.rmtree(self.home.path("index", release.index_digest))

    def state(self):
        """All that a refused command must leave as it was."""
        registry = self.registry
        files = {
            path: path.read_bytes()
            for room in (self.home.root, self.home.path("releases"))
            for path in room.glob("*.json")
        }
        return registry.history(), registry.releases(), registry.resolve("champion"), files


@pytest.fixture
def past(registry, releases, home, url):
    for release in releases[:2]:
        registry.promote(
            release.digest,
            expected_champion=registry.champion_digest(),
            who="me",
            why="first",
            override=True,
        )
    for number, verdict in ((2, "HOLD"), (3, "PROMOTE")):
        registry.record_decision(
            text_digest(f"decision {number}"),
            verdict=verdict,
            challenger=releases[number].digest,
            champion=releases[1].digest,
            who="gate",
        )
    registry.register(like(releases[0]), who="test")
    return Past(registry, home, url, [release.digest for release in releases])


def like(release):
    """A release whose digest begins as that of another one."""
    others = (
        release.model_copy(update={"retrieval": release.retrieval.model_copy(update={"top_k": k})})
        for k in range(5, 100)
    )
    return next(other for other in others if other.digest[0] == release.digest[0])


@dataclass(frozen=True)
class Wrong:
    """A command that can't be done, and what it says."""

    name: str
    does: Callable[[Past], object]
    says: str
    next_step: str
    kind: type[RatchetError] = RegistryError


def promote_named(name: str) -> Callable[[Past], object]:
    return lambda past: past.registry.promote(
        name, expected_champion=past.digests[1], who="me", why="x", override=True
    )


def lost(number: int, does: Callable[[Past], object]) -> Callable[[Past], object]:
    def run(past: Past) -> object:
        past.lose_index(number)
        return does(past)

    return run


WRONG = (
    Wrong("unknown digest", promote_named("f" * 64), "There is no release 'f", "ratchet releases"),
    Wrong("no name", promote_named("  "), "There is no release '  '", "ratchet releases"),
    Wrong(
        "ambiguous prefix",
        lambda past: past.registry.rollback(past.digests[0][:1], who="me", why="x"),
        " releases: ",
        "more characters",
    ),
    Wrong("empty channel", promote_named("staging"), "no release on staging", "ratchet releases"),
    Wrong(
        "unknown decision",
        lambda past: past.promote(decision="f" * 64),
        "There is no decision 'f",
        "ratchet",
    ),
    Wrong(
        "no decision",
        lambda past: past.registry.promote(
            past.digests[3], expected_champion=past.digests[1], who="me", why="x"
        ),
        "found none",
        "ratchet nightly",
    ),
    Wrong(
        "held decision",
        lambda past: past.promote(2),
        "says HOLD, expected PROMOTE",
        "override with a reason",
    ),
    Wrong(
        "another release's decision",
        lambda past: past.promote(0, decision=text_digest("decision 3")),
        "is about",
        "decide anew",
    ),
    Wrong(
        "another suite",
        lambda past: past.promote(suite=text_digest("other")),
        "was made with suite",
        "ratchet nightly",
    ),
    Wrong(
        "code that wasn't committed",
        lambda past: past.promote(
            registry=Registry(past.url, past.home, rules=PromotionRules(require_clean=True))
        ),
        "expects a clean commit",
        "Commit",
    ),
    Wrong(
        "past staging",
        lambda past: past.promote(
            registry=Registry(
                past.url, past.home, rules=PromotionRules(production_from_staging=True)
            )
        ),
        "only from staging",
        "--channel staging",
    ),
    Wrong(
        "override without a reason",
        lambda past: past.registry.promote(
            past.digests[3], expected_champion=past.digests[1], who="me", why=" ", override=True
        ),
        "needs a reason",
        "--why",
    ),
    Wrong(
        "another champion by now",
        lambda past: past.registry.promote(
            past.digests[3], expected_champion=past.digests[0], who="me", why="x", override=True
        ),
        "this change was prepared against",
        "ratchet nightly",
        PromotionConflict,
    ),
    Wrong(
        "promotion of a deleted index",
        lost(3, lambda past: past.promote()),
        "can't be promoted: its index",
        "ratchet reindex",
    ),
    Wrong(
        "rollback to a deleted index",
        lost(0, lambda past: past.registry.rollback(who="me", why="x")),
        "can't be rolled back to: its index",
        "ratchet reindex",
    ),
    Wrong(
        "rollback to what never was live",
        lambda past: past.registry.rollback(past.digests[3], who="me", why="x"),
        "never was the champion",
        "ratchet promote",
    ),
    Wrong(
        "rollback to an unknown release",
        lambda past: past.registry.rollback("f" * 64, who="me", why="x"),
        "There is no release",
        "ratchet releases",
    ),
    Wrong(
        "rollback where nothing was",
        lambda past: past.registry.rollback(who="me", why="x", channel="staging"),
        "no earlier release on staging",
        "ratchet history",
    ),
    Wrong(
        "characters that are none",
        lambda past: past.registry.rollback(who="me", why="caf\udce9"),
        "why is ",
        "UTF-8",
    ),
)


def require_refused(past: Past, wrong: Wrong) -> None:
    before = past.state()
    with pytest.raises(wrong.kind) as caught:
        wrong.does(past)
    assert wrong.says in caught.value.message
    assert wrong.next_step in caught.value.next_step
    assert past.state() == before


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_what_cannot_be_done_is_refused(past, wrong):
    require_refused(past, wrong)


MOVES = {
    "promotion": lambda past, registry: past.promote(registry=registry),
    "rollback": lambda past, registry: registry.rollback(who="me", why="x"),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_locked_database_is_said_after_a_while(past, move):
    with (
        Registry(past.url, past.home, busy_timeout_s=0.05) as impatient,
        past.registry._ledger.writing(),
    ):
        require_refused(
            past,
            Wrong(
                move,
                lambda past: MOVES[move](past, impatient),
                "is locked by another process",
                "Wait for the other promotion",
            ),
        )


@pytest.mark.parametrize("move", MOVES)
def test_a_read_only_database_is_said(past, move):
    url = f"sqlite:///file:{past.home.path('registry.db')}?mode=ro&uri=true"
    if past.url is not None:
        with inside(past.url, past.home) as connection:
            name = connection.execute(text("SELECT current_database()")).scalar_one()
            setting = "default_transaction_read_only = on"
            connection.execute(text(f"ALTER DATABASE {name} SET {setting}"))
        url = past.url
    with Registry(url, past.home) as closed:
        wrong = Wrong(move, lambda past: MOVES[move](past, closed), "can't be written", "")
        require_refused(past, wrong)


# A full disk of a server is known by its code: test_database.
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("move", MOVES)
def test_a_database_that_may_not_grow_is_said(past, move):

    # What is free inside of the file is used first; a long reason is more than that.
    def limit(connection, _record):
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(past.registry._ledger._database.engine, "connect", limit)
    long = "x" * 100_000
    does = {
        "promotion": lambda past: past.registry.promote(
            past.digests[3], expected_champion=past.digests[1], who="me", why=long, override=True
        ),
        "rollback": lambda past: past.registry.rollback(who="me", why=long),
    }
    require_refused(past, Wrong(move, does[move], "the disk is full", "Make room"))


def move_with_little_room(past, move, outcome):
    """Write no file beyond so many bytes: what a full disk looks like to this process."""
    largest = max(path.stat().st_size for path in past.home.root.glob("registry.db*"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    with Registry(past.url, past.home) as registry:
        try:
            if move == "promotion":
                registry.promote(
                    past.digests[3],
                    expected_champion=past.digests[1],
                    who="me",
                    why="x" * 1_000_000,
                    override=True,
                )
            else:
                registry.rollback(who="me", why="x" * 1_000_000)
        except RatchetError as error:
            outcome.put((error.message, error.next_step))
    # At once: what this process would flush at its end may be output of the tests, for whose file
    # the limit holds too.
    os._exit(0)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("move", MOVES)
def test_a_disk_without_room_is_said(past, move):
    before = past.state()
    outcome = FORK.SimpleQueue()
    child = Child(target=move_with_little_room, args=(past, move, outcome))
    child.start()
    child.join()
    assert not outcome.empty()
    message, next_step = outcome.get()
    assert "the disk is full" in message
    assert "Make room" in next_step
    assert past.state() == before
    # Nothing is left in the way of the next one.
    assert past.registry.rollback(who="me", why="x").changed
