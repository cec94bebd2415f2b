import shutil
import sqlite3

import pytest

from registry import Registry, evaluation_content
from registry.ledger import event_digest
from tasks.digest import file_digest, text_digest
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import save_log
from tasks.gate.decide import decide as gate_decides
from tasks.gate.decision import save_decision
from tasks.gate.policy import load_policy
from tasks.gate.scores import from_log
from tasks.index.version import MANIFEST, IndexVersion, index_digest
from tasks.store import Home, write_json
from tests.evaluations import make_log, make_release
from tests.unit.flows.evaluations import POLICY


def whole(release):
    """A release whose index is named by what it is made of."""
    name = index_digest(release.corpus_digest, release.chunking, release.embedding_digest)
    return release.model_copy(update={"index_digest": name})


def build(home, release):
    """Write an index that is as small as one can be, and fits its manifest."""
    directory = home.path("index", release.index_digest)
    directory.mkdir(parents=True)
    (directory / "vectors.npy").write_bytes(b"vectors")
    version = IndexVersion(
        digest=release.index_digest,
        corpus_digest=release.corpus_digest,
        chunking=release.chunking,
        embedding=release.embedding,
        embedding_digest=release.embedding_digest,
        n_documents=1,
        n_chunks=1,
        dimensions=1,
        files={"vectors.npy": file_digest(directory / "vectors.npy")},
    )
    write_json(directory / MANIFEST, version.model_dump(mode="json"))


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """A registry in which everything happened once: evaluations, a look, a decision, moves."""
    root = tmp_path_factory.mktemp("past")
    home = Home(root / "state")
    rules = root / "gate.yaml"
    rules.write_text(POLICY)
    policy = load_policy(rules)
    live, wanted = whole(make_release(0)), whole(make_release(1))
    with Registry(None, home) as registry:
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
    with sqlite3.connect(home.path("registry.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return home


@pytest.fixture
def home(past, tmp_path):
    shutil.copytree(past.root, tmp_path / "state")
    return Home(tmp_path / "state")


def verify(home):
    with Registry(None, home, repair=False) as registry:
        return registry.verify()


def change(home, *statements):
    """What somebody with the database's file can do."""
    connection = sqlite3.connect(home.path("registry.db"))
    with connection:
        for statement, *values in statements:
            connection.execute(statement, values)
    connection.close()


def events(home, *, kind):
    connection = sqlite3.connect(home.path("registry.db"))
    found = connection.execute("SELECT id, subject FROM events WHERE kind = ?", [kind]).fetchall()
    connection.close()
    return found


def only(directory):
    [path] = directory.iterdir()
    return path


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_nobody_touched_fits(home):
    found = verify(home)
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
    assert verify(Home(tmp_path / "state")).fits


@pytest.mark.parametrize("column", ["at", "who", "why", "subject", "detail", "previous", "digest"])
@pytest.mark.parametrize("number", [1, 5, 10])
def test_one_changed_character_of_an_event_is_found_where_it_is(home, column, number):
    change(
        home,
        (f"UPDATE events SET {column} = 'x' || substr({column}, 2) WHERE id = ?", number),
    )
    misfit = verify(home).misfit
    assert (misfit.thing, misfit.name) == ("event", str(number))
    assert f"Event {number} " in misfit.message
    assert "was changed" in misfit.message


def test_a_space_in_the_detail_that_means_nothing_is_found_too(home):
    change(home, ("UPDATE events SET detail = detail || ' ' WHERE id = 3",))
    assert verify(home).misfit.name == "3"


def test_the_first_of_several_changes_is_named(home):
    change(home, ("UPDATE events SET why = 'x' WHERE id IN (4, 7)",))
    assert verify(home).misfit.name == "4"


def test_an_event_that_was_changed_with_its_digest_breaks_the_next_one(home):
    connection = sqlite3.connect(home.path("registry.db"))
    connection.row_factory = sqlite3.Row
    row = dict(connection.execute("SELECT * FROM events WHERE id = 5").fetchone())
    connection.close()
    row["why"] = "a better reason"
    change(
        home,
        ("UPDATE events SET why = ?, digest = ? WHERE id = 5", row["why"], event_digest(row)),
    )
    misfit = verify(home).misfit
    assert misfit.name == "6"
    assert "doesn't follow the event before it" in misfit.message


@pytest.mark.parametrize("number", [1, 4, 8, 10])
def test_an_event_that_was_deleted_is_named(home, number):
    change(home, ("DELETE FROM events WHERE id = ?", number))
    misfit = verify(home).misfit
    assert (misfit.thing, misfit.name) == ("event", str(number))
    assert f"Event {number} is missing" in misfit.message


def test_a_deleted_event_is_still_missing_when_the_ones_after_it_close_the_gap(home):
    change(
        home,
        ("DELETE FROM events WHERE id = 4",),
        ("UPDATE pointers SET event_id = NULL",),
        ("UPDATE events SET id = id - 1 WHERE id > 4",),
    )
    assert verify(home).misfit.name == "4"


def test_events_that_changed_places_are_found(home):
    change(
        home,
        ("UPDATE events SET id = 99 WHERE id = 3",),
        ("UPDATE events SET id = 3 WHERE id = 4",),
        ("UPDATE events SET id = 4 WHERE id = 99",),
    )
    assert verify(home).misfit.name == "3"


def test_a_lost_end_stays_lost_when_more_is_written_after_it(home):
    change(home, ("DELETE FROM events WHERE id = 2",))
    with Registry(None, home) as registry:
        registry.choose_anchor("champion", who="me", why="new product")
    assert verify(home).misfit.name == "2"


def test_an_end_that_was_cut_off_together_with_its_count_leaves_a_pointer_behind(home):
    change(
        home,
        ("DELETE FROM events WHERE id = 10",),
        ("UPDATE chain_head SET length = 9, digest = (SELECT digest FROM events WHERE id = 9)",),
    )
    misfit = verify(home).misfit
    assert (misfit.thing, misfit.name) == ("pointer", "production")


@pytest.mark.parametrize("channel", ["production", "staging"])
def test_a_pointer_that_was_moved_by_hand_is_named(home, channel):
    other = events(home, kind="promoted")[-1]
    change(
        home,
        ("UPDATE pointers SET event_id = ?, digest = ? WHERE name = ?", *other, channel),
    )
    misfit = verify(home).misfit
    assert (misfit.thing, misfit.name) == ("pointer", channel)
    assert f"by event {other[0]}" in misfit.message


@pytest.mark.parametrize("event_id", [1, 99])
def test_a_pointer_to_no_move_or_to_no_event_is_named_and_nothing_is_served_by_it(home, event_id):
    change(home, ("UPDATE pointers SET event_id = ? WHERE name = 'production'", event_id))
    assert verify(home).misfit.name == "production"
    home.path("champion.json").unlink()
    with pytest.raises(CorruptArtifact, match="isn't the last move there") as caught:
        Registry(None, home)
    assert "ratchet verify" in caught.value.next_step
    assert not home.path("champion.json").exists()


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM pointers WHERE name = 'staging'", "UPDATE pointers SET name = 'x' || name"],
)
def test_a_pointer_that_is_gone_is_named(home, statement):
    change(home, (statement,))
    assert verify(home).misfit.thing == "pointer"


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
def test_a_look_that_was_changed_or_given_back_is_found(home, statement):
    change(home, (statement,))
    assert verify(home).misfit.thing == "look"


def test_a_release_file_that_was_changed_is_named(home):
    for path in sorted(home.path("releases").iterdir()):
        original = path.read_text()
        path.write_text(original.replace('"top_k": 4', '"top_k": 5'))
        misfit = verify(home).misfit
        assert (misfit.thing, misfit.name) == ("release", path.stem)
        path.write_text(original)
    assert verify(home).fits


def test_a_byte_changed_in_any_file_of_an_index_is_found(home):
    directory = next(home.path("index").iterdir())
    for path in sorted(directory.iterdir()):
        original = path.read_bytes()
        flip_a_byte(path)
        misfit = verify(home).misfit
        assert (misfit.thing, misfit.name) == ("index", directory.name)
        path.write_bytes(original)


def test_a_byte_changed_in_any_file_of_an_evaluation_is_found(home):
    directory = next(home.path("evals").iterdir())
    assert len(list(directory.iterdir())) == 8
    for path in sorted(directory.iterdir()):
        original = path.read_bytes()
        flip_a_byte(path)
        misfit = verify(home).misfit
        assert (misfit.thing, misfit.name) == ("evaluation", directory.name)
        path.write_bytes(original)


def test_a_decision_that_was_changed_is_named(home):
    directory = only(home.path("decisions"))
    path = directory / "decision.json"
    path.write_text(path.read_text().replace("PROMOTE", "REJECT"))
    misfit = verify(home).misfit
    assert (misfit.thing, misfit.name) == ("decision", directory.name)


@pytest.mark.parametrize("side", ["champion", "challenger"])
def test_scores_that_were_changed_beside_their_decision_are_found(home, side):
    directory = only(home.path("decisions"))
    path = directory / f"{side}.jsonl"
    path.write_text(path.read_text().replace('"value": 1.0', '"value": 0.0', 1))
    misfit = verify(home).misfit
    assert (misfit.thing, misfit.name) == ("decision", directory.name)
    assert side in misfit.message


def test_content_that_is_not_on_this_machine_is_not_held_against_the_ledger(home):
    for room in ("releases", "index", "evals", "decisions"):
        shutil.rmtree(home.path(room))
    found = verify(home)
    assert found.fits
    assert (found.checked["indexes"], found.checked["decisions"]) == (0, 0)


def test_verifying_changes_nothing(home):
    home.path("champion.json").write_text("{")
    before = {path: path.read_bytes() for path in home.root.rglob("*.json")}
    verify(home)
    assert {path: path.read_bytes() for path in home.root.rglob("*.json")} == before


def test_an_evaluation_that_changed_after_it_was_recorded_is_not_recorded_anew(home, past):
    _, digest = events(home, kind="evaluated")[0]
    with Registry(None, home) as registry:
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
    assert verify(home).misfit.thing == "evaluation"
