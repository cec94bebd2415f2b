import random
import shutil
from dataclasses import dataclass
from math import inf, nextafter

import pytest
from sqlalchemy import Double, Integer, select, text, update

from registry import Registry, evaluation_content
from registry.ledger import LOOKS, event_digest
from tasks.digest import file_digest, text_digest
from tasks.errors import CorruptArtifact, RatchetError, RegistryError
from tasks.evaluate.log import save_log
from tasks.gate.decide import decide as gate_decides
from tasks.gate.decision import save_decision
from tasks.gate.policy import load_policy
from tasks.gate.scores import from_log
from tasks.index.manifest import (
    SEGMENTS,
    IndexVersion,
    SegmentUse,
    index_digest,
    load_version,
    save_version,
)
from tasks.index.segment import SegmentManifest, write_manifest
from tasks.index.sharing import version_directories
from tasks.store import Home
from tests.evaluations import make_log, make_release
from tests.unit.flows.evaluations import POLICY
from tests.unit.registry.conftest import POSTGRESQL
from tests.unit.registry.databases import inside, rows


def whole(release):
    """A release whose index is named by what it is made of."""
    name = index_digest(release.corpus_digest, release.chunking, release.embedding_digest)
    return release.model_copy(update={"index_digest": name})


def build(home, release):
    """Write an index that is as small as one can be, and fits its manifest."""
    directory = home.path("index", release.index_digest)
    directory.mkdir(parents=True)
    (directory / "documents.parquet").write_bytes(b"documents")
    scratch = home.path("index", SEGMENTS, "new")
    scratch.mkdir(parents=True)
    (scratch / "vectors.npy").write_bytes(release.digest.encode())
    segment = SegmentManifest.describe(
        scratch, embedding_digest=release.embedding_digest, n_chunks=1, dimensions=1, kind="flat"
    )
    write_manifest(scratch, segment)
    scratch.rename(scratch.with_name(segment.digest))
    version = IndexVersion(
        digest=release.index_digest,
        corpus_digest=release.corpus_digest,
        chunking=release.chunking,
        embedding=release.embedding,
        embedding_digest=release.embedding_digest,
        n_documents=1,
        n_chunks=1,
        dimensions=1,
        index=release.index_settings,
        segments=(SegmentUse(digest=segment.digest, n_chunks=1),),
        files={"documents.parquet": file_digest(directory / "documents.parquet")},
    )
    save_version(directory, version)


@dataclass(frozen=True)
class Place:
    """A state directory and its ledger."""

    home: Home
    url: str | None

    def path(self, *parts):
        return self.home.path(*parts)

    @property
    def root(self):
        return self.home.root

    def registry(self, **options):
        return Registry(self.url, self.home, **options)


@pytest.fixture(scope="module", params=["sqlite", POSTGRESQL])
def past(request, tmp_path_factory):
    """A registry in which everything happened once: evaluations, a look, a decision, moves."""
    root = tmp_path_factory.mktemp("past")
    database = None
    if request.param != "sqlite":
        postgres = request.getfixturevalue("postgres")
        database = postgres.make_database()
    home = Home(root / "state")
    url = postgres.url(database) if database else None
    rules = root / "gate.yaml"
    rules.write_text(POLICY)
    policy = load_policy(rules)
    live, wanted = whole(make_release(0)), whole(make_release(1))
    with Registry(url, home) as registry:
        logs = []
        for release, right in ((live, 20), (wanted, 45)):
            build(home, release)
            registry.register(release, who="test")
            log = make_log(release, cases=60, right=right, failed=0)
            directory = save_log(log, home.room("evals"))
            registry.record_evaluation(
                log.digest,
                release=release.digest,
                suite=log.manifest.suite_digest,
                who="test",
                content=evaluation_content(directory),
                made_now=True,
            )
            logs.append(log)
        for channel in ("staging", "production"):
            registry.promote(
                live.digest,
                expected_champion=None,
                who="me",
                why="first",
                override=True,
                channel=channel,
            )
        old, new = (from_log(log) for log in logs)
        spent = registry.spend_look(
            suite=new.suite_digest,
            judge=new.judge_digest,
            policy_digest=policy.digest,
            challenger=wanted.digest,
            champion=live.digest,
            challenger_log=logs[1].digest,
            champion_log=logs[0].digest,
            rule="inverse_square",
            alpha=0.05,
            who="gate",
        )
        decision = gate_decides(old, new, policy, look=spent.look)
        assert decision.verdict == "PROMOTE"
        save_decision(decision, old, new, room=home.room("decisions"))
        registry.record_decision(
            decision.digest,
            verdict="PROMOTE",
            challenger=wanted.digest,
            champion=live.digest,
            who="gate",
            why="better",
            look=spent.id,
            suite=decision.suite_digest,
            policy=decision.policy_digest,
            git_commit="c" * 40,
            git_dirty=False,
        )
        registry.promote(
            wanted.digest,
            expected_champion=live.digest,
            decision_digest=decision.digest,
            who="nightly",
            why="better",
        )
        registry.rollback(who="me", why="slower")
    if url is None:
        with inside(url, home) as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    yield home, database
    if database:
        postgres.drop_database(database)


@pytest.fixture
def place(request, past, tmp_path):
    """A copy of that past."""
    home, database = past
    shutil.copytree(home.root, tmp_path / "state")
    copied = Home(tmp_path / "state")
    if database is None:
        yield Place(copied, None)
        return
    postgres = request.getfixturevalue("postgres")
    name = postgres.make_database(template=database)
    yield Place(copied, postgres.url(name))
    postgres.drop_database(name)


def verify(place):
    with place.registry(repair=False) as registry:
        return registry.verify()


def change(place, *statements):
    """What somebody with the database can do."""
    with inside(place.url, place.home) as connection:
        for statement, *values in statements:
            for number in range(len(values)):
                statement = statement.replace("?", f":p{number}", 1)
            named = {f"p{number}": value for number, value in enumerate(values)}
            connection.execute(text(statement), named)


def events(place, *, kind):
    query = "SELECT id, subject FROM events WHERE kind = :kind ORDER BY id"
    return [(row["id"], row["subject"]) for row in rows(place.url, place.home, query, kind=kind)]


def only(directory):
    [path] = directory.iterdir()
    return path


def damaged(original):
    """The content of a file with one byte changed, at its ends and at places of all kinds."""
    chance = random.Random(0)
    places = {0, len(original) // 2, len(original) - 1}
    places |= {chance.randrange(len(original)) for _ in range(6)}
    for place in sorted(places):
        content = bytearray(original)
        content[place] ^= 1 << chance.randrange(8)
        yield bytes(content)
    # One blank for another is valid JSON as well.
    for old, new in ((b" ", b"\t"), (b"\n", b"\r")):
        if old in original:
            yield original.replace(old, new, 1)


def require_found(place, thing, directory, *, name=None):
    """Change each file of a directory in many ways, one at a time."""
    for path in sorted(directory.iterdir()):
        original = path.read_bytes()
        for content in damaged(original):
            path.write_bytes(content)
            misfit = verify(place).misfit
            assert misfit is not None, (path.name, content)
            assert (misfit.thing, misfit.name) == (thing, name or directory.name)
        path.write_bytes(original)
    assert verify(place).fits


def test_what_nobody_touched_fits(place):
    found = verify(place)
    assert found.fits, found.misfit
    assert found.checked == {
        "events": 10,
        "pointers": 2,
        "looks": 1,
        "releases": 2,
        "indexes": 2,
        "evaluations": 2,
        "decisions": 1,
    }


def test_an_empty_ledger_fits(tmp_path):
    assert verify(Place(Home(tmp_path / "state"), None)).fits


@pytest.mark.parametrize("column", ["at", "who", "why", "subject", "detail", "previous", "digest"])
@pytest.mark.parametrize("number", [1, 5, 10])
def test_one_changed_character_of_an_event_is_found_where_it_is(place, column, number):
    change(
        place,
        (f"UPDATE events SET {column} = 'x' || substr({column}, 2) WHERE id = ?", number),
    )
    misfit = verify(place).misfit
    assert (misfit.thing, misfit.name) == ("event", str(number))
    assert f"Event {number} " in misfit.message
    assert "was changed" in misfit.message


def altered(column, value):
    """Another value that the column takes, as near as can be."""
    if isinstance(column.type, Integer):
        return (value or 0) + 100
    if isinstance(column.type, Double):
        return nextafter(value or 0.0, inf)
    return "x" if not value else value[:-1] + chr(ord(value[-1]) ^ 1)


@pytest.mark.parametrize(
    "table", LOOKS.metadata.sorted_tables, ids=lambda table: f"table {table.name}"
)
def test_the_least_change_of_any_column_of_any_row_is_found(place, table):
    with inside(place.url, place.home) as connection:
        stored = [dict(row) for row in connection.execute(select(table)).mappings()]
    assert stored
    for row in stored:
        for column in table.columns:
            changed = row | {column.name: altered(column, row[column.name])}
            for before, after in ((row, changed), (changed, row)):
                where = [c.is_not_distinct_from(before[c.name]) for c in table.columns]
                with inside(place.url, place.home) as connection:
                    done = connection.execute(update(table).where(*where).values(after))
                    assert done.rowcount == 1
                if after is row:
                    break
                if table.name == "ratchet_schema":
                    with pytest.raises(RegistryError, match="schema version"):
                        verify(place)
                else:
                    assert not verify(place).fits, (table.name, column.name, row)
    assert verify(place).fits


# A server's files are its own, and it checks its pages itself.
@pytest.mark.integration
@pytest.mark.parametrize("past", ["sqlite"], indirect=True)
def test_a_byte_changed_anywhere_in_the_database_file_is_found_or_changes_nothing(place):
    for room in ("releases", "index", "evals", "decisions"):
        shutil.rmtree(place.path(room))  # the ledger alone must show it, and content takes longest
    path = place.path("registry.db")
    original, before = path.read_bytes(), content(place)
    chance = random.Random(0)
    found = 0
    for position in sorted(chance.sample(range(len(original)), 400)):
        damaged = bytearray(original)
        damaged[position] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            fits = verify(place).fits
        except RatchetError:
            fits = False
        found += not fits
        if fits:
            assert content(place) == before, position
        for rest in path.parent.glob("registry.db-*"):
            rest.unlink()
    assert found > 50


def content(place):
    """Every row of every table."""
    with inside(place.url, place.home) as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in LOOKS.metadata.sorted_tables
        }


def test_a_space_in_the_detail_that_means_nothing_is_found_too(place):
    change(place, ("UPDATE events SET detail = detail || ' ' WHERE id = 3",))
    assert verify(place).misfit.name == "3"


def test_the_first_of_several_changes_is_named(place):
    change(place, ("UPDATE events SET why = 'x' WHERE id IN (4, 7)",))
    assert verify(place).misfit.name == "4"


def test_an_event_that_was_changed_with_its_digest_breaks_the_next_one(place):
    [row] = rows(place.url, place.home, "SELECT * FROM events WHERE id = 5")
    row["why"] = "a better reason"
    change(
        place,
        ("UPDATE events SET why = ?, digest = ? WHERE id = 5", row["why"], event_digest(row)),
    )
    misfit = verify(place).misfit
    assert misfit.name == "6"
    assert "doesn't follow the event before it" in misfit.message


@pytest.mark.parametrize("number", [1, 4, 8, 10])
def test_an_event_that_was_deleted_is_named(place, number):
    change(place, ("DELETE FROM events WHERE id = ?", number))
    misfit = verify(place).misfit
    assert (misfit.thing, misfit.name) == ("event", str(number))
    assert f"Event {number} is missing" in misfit.message


def test_a_deleted_event_is_still_missing_when_the_ones_after_it_close_the_gap(place):
    change(
        place,
        ("DELETE FROM events WHERE id = 4",),
        ("UPDATE pointers SET event_id = NULL",),
        ("UPDATE events SET id = id - 1 WHERE id > 4",),
    )
    assert verify(place).misfit.name == "4"


def test_events_that_changed_places_are_found(place):
    change(
        place,
        ("UPDATE events SET id = 99 WHERE id = 3",),
        ("UPDATE events SET id = 3 WHERE id = 4",),
        ("UPDATE events SET id = 4 WHERE id = 99",),
    )
    assert verify(place).misfit.name == "3"


def test_a_lost_end_stays_lost_when_more_is_written_after_it(place):
    change(place, ("DELETE FROM events WHERE id = 2",))
    with place.registry() as registry:
        registry.choose_anchor("champion", who="me", why="new product")
    assert verify(place).misfit.name == "2"


def test_an_end_that_was_cut_off_together_with_its_count_leaves_a_pointer_behind(place):
    change(
        place,
        ("DELETE FROM events WHERE id = 10",),
        ("UPDATE chain_head SET length = 9, digest = (SELECT digest FROM events WHERE id = 9)",),
    )
    misfit = verify(place).misfit
    assert (misfit.thing, misfit.name) == ("pointer", "production")


@pytest.mark.parametrize("channel", ["production", "staging"])
def test_a_pointer_that_was_moved_by_hand_is_named(place, channel):
    other = events(place, kind="promoted")[-1]
    change(
        place,
        ("UPDATE pointers SET event_id = ?, digest = ? WHERE name = ?", *other, channel),
    )
    misfit = verify(place).misfit
    assert (misfit.thing, misfit.name) == ("pointer", channel)
    assert f"by event {other[0]}" in misfit.message


@pytest.mark.parametrize("event_id", [1, 99])
def test_a_pointer_to_no_move_or_to_no_event_is_named_and_nothing_is_served_by_it(place, event_id):
    change(place, ("UPDATE pointers SET event_id = ? WHERE name = 'production'", event_id))
    assert verify(place).misfit.name == "production"
    place.path("champion.json").unlink()
    with pytest.raises(CorruptArtifact, match="isn't the last move there") as caught:
        place.registry()
    assert "ratchet verify" in caught.value.next_step
    assert not place.path("champion.json").exists()


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM pointers WHERE name = 'staging'", "UPDATE pointers SET name = 'x' || name"],
)
def test_a_pointer_that_is_gone_is_named(place, statement):
    change(place, (statement,))
    assert verify(place).misfit.thing == "pointer"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE looks SET alpha = alpha * 2",
        "UPDATE looks SET spent_before = 0.01",
        "UPDATE looks SET verdict = 'HOLD'",
        "UPDATE looks SET decision = NULL",
        "UPDATE looks SET number = 2",
        "DELETE FROM looks",
    ],
)
def test_a_look_that_was_changed_or_given_back_is_found(place, statement):
    change(place, (statement,))
    assert verify(place).misfit.thing == "look"


def test_a_release_file_that_was_changed_is_named(place):
    for path in sorted(place.path("releases").iterdir()):
        original = path.read_text()
        path.write_text(original.replace('"top_k": 4', '"top_k": 5'))
        misfit = verify(place).misfit
        assert (misfit.thing, misfit.name) == ("release", path.stem)
        path.write_text(original)
    assert verify(place).fits


def test_a_byte_changed_in_any_file_of_an_index_is_found(place):
    directory = version_directories(place.path("index"))[0]
    (use,) = load_version(directory).segments
    segment = place.path("index", SEGMENTS, use.digest)
    assert {path.name for path in directory.iterdir()} == {"manifest.json", "documents.parquet"}
    assert {path.name for path in segment.iterdir()} == {"manifest.json", "vectors.npy"}
    require_found(place, "index", directory)
    require_found(place, "index", segment, name=directory.name)


def test_a_byte_changed_in_any_file_of_an_evaluation_is_found(place):
    directory = next(place.path("evals").iterdir())
    assert len(list(directory.iterdir())) == 8
    require_found(place, "evaluation", directory)


def test_a_byte_changed_in_any_file_of_a_decision_is_found(place):
    directory = only(place.path("decisions"))
    assert len(list(directory.iterdir())) == 3
    require_found(place, "decision", directory)


def test_a_byte_changed_in_any_release_file_is_found(place):
    for path in sorted(place.path("releases").iterdir()):
        original = path.read_bytes()
        for content in damaged(original):
            path.write_bytes(content)
            misfit = verify(place).misfit
            assert misfit is not None, content
            assert (misfit.thing, misfit.name) == ("release", path.stem)
        path.write_bytes(original)
    assert verify(place).fits


def test_a_decision_that_was_changed_is_named(place):
    directory = only(place.path("decisions"))
    path = directory / "decision.json"
    path.write_text(path.read_text().replace("PROMOTE", "REJECT"))
    misfit = verify(place).misfit
    assert (misfit.thing, misfit.name) == ("decision", directory.name)


@pytest.mark.parametrize("side", ["champion", "challenger"])
def test_scores_that_were_changed_beside_their_decision_are_found(place, side):
    directory = only(place.path("decisions"))
    path = directory / f"{side}.jsonl"
    path.write_text(path.read_text().replace('"value": 1.0', '"value": 0.0', 1))
    misfit = verify(place).misfit
    assert (misfit.thing, misfit.name) == ("decision", directory.name)
    assert side in misfit.message


def test_content_that_is_not_on_this_machine_is_not_held_against_the_ledger(place):
    for room in ("releases", "index", "evals", "decisions"):
        shutil.rmtree(place.path(room))
    found = verify(place)
    assert found.fits
    assert (found.checked["indexes"], found.checked["decisions"]) == (0, 0)


def test_verifying_changes_nothing(place):
    place.path("champion.json").write_text("{")
    before = {path: path.read_bytes() for path in place.root.rglob("*.json")}
    verify(place)
    assert {path: path.read_bytes() for path in place.root.rglob("*.json")} == before


def test_an_evaluation_that_changed_after_it_was_recorded_is_not_recorded_anew(place):
    _, digest = events(place, kind="evaluated")[0]
    with place.registry() as registry:
        before = next(e for e in registry.history() if e.subject == digest)
        options = {
            "release": before.detail["release"],
            "suite": before.detail["suite"],
            "who": "test",
            "content": text_digest("other"),
        }
        with pytest.raises(CorruptArtifact, match="was changed after it was recorded"):
            registry.record_evaluation(digest, **options)
        again = registry.record_evaluation(digest, **options, made_now=True)
    assert again.id == 11
    assert verify(place).misfit.thing == "evaluation"
