import os
import shutil
import time

import pytest

from registry import PRODUCTION, Registry
from registry.retention import DAY_S, Retention, last_champions, open_decisions
from tasks.config import Chunking
from tasks.corpus.document import Document
from tasks.digest import text_digest
from tasks.errors import RegistryError
from tasks.evaluate.log import save_log
from tasks.index.build import build_index
from tasks.index.search import open_index
from tasks.store import write_json
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder
from tests.evaluations import make_log


@pytest.fixture
def retention(home, registry, url) -> Retention:
    for release in registry.releases():
        found = registry.release(release.digest)
        corpus = home.path("corpus", found.corpus_digest)
        corpus.mkdir(parents=True)
        (corpus / "documents.parquet").write_bytes(b"x" * 1000)
    return Retention(url, home)


def go_live(registry: Registry, *releases) -> None:
    for release in releases:
        registry.promote(
            release.digest,
            expected_champion=registry.champion_digest(),
            who="test",
            why="test",
            override=True,
        )


def evaluate(registry: Registry, home, release, *, right: int) -> str:
    log = make_log(release, right=right)
    save_log(log, home.room("evals"))
    registry.record_evaluation(
        log.digest, release=release.digest, suite=log.manifest.suite_digest, who="test"
    )
    return log.digest


def decide(registry: Registry, name: str, new, old, verdict: str = "PROMOTE") -> str:
    decision = text_digest(name)
    registry.record_decision(
        decision,
        verdict=verdict,
        challenger=new.digest,
        champion=old.digest if old else None,
        who="test",
    )
    return decision


def unneeded(retention: Retention, room: str, *, keep: int = 1, min_age_s: float = 0) -> set[str]:
    plan = retention.plan(keep=keep, min_age_s=min_age_s)
    return {thing.name for thing in plan.unneeded if thing.room == room}


def test_what_no_kept_release_needs_is_found_with_its_size(retention, registry, releases):
    go_live(registry, *releases)
    plan = retention.plan(keep=1, min_age_s=0)
    # The first one is the anchor, the last one live, the one before it the way back.
    assert set(plan.kept) == {releases[0].digest, releases[2].digest, releases[3].digest}
    assert {thing.name for thing in plan.unneeded} == {
        releases[1].index_digest,
        releases[1].corpus_digest,
    }
    [corpus] = [thing for thing in plan.unneeded if thing.room == "corpus"]
    assert 1000 <= corpus.size < 10_000
    assert plan.size == sum(thing.size for thing in plan.unneeded)


def test_looking_changes_nothing_and_removing_removes_just_that(
    retention, registry, releases, home
):
    go_live(registry, *releases)
    before = sorted(home.root.rglob("*"))
    plan = retention.plan(keep=1, min_age_s=0)
    assert sorted(home.root.rglob("*")) == before
    assert retention.remove(keep=1, min_age_s=0) == plan
    assert not home.path("index", releases[1].index_digest).exists()
    assert home.path("index", releases[2].index_digest).is_dir()
    assert not list(home.root.rglob(".*removed*"))
    assert retention.plan(keep=1, min_age_s=0).unneeded == ()
    moved = registry.rollback(who="test", why="back")
    assert moved.champion == releases[2].digest


def test_the_last_champions_stay_ready(retention, registry, releases):
    go_live(registry, *releases)
    assert unneeded(retention, "index", keep=3) == set()
    assert unneeded(retention, "index", keep=1) == {releases[1].index_digest}


def test_the_anchor_stays_however_long_ago_it_was_live(retention, registry, releases):
    go_live(registry, *releases)
    registry.choose_anchor(releases[1].digest, who="test", why="test")
    assert unneeded(retention, "index") == {releases[0].index_digest}


def test_what_staging_runs_stays(retention, registry, releases):
    go_live(registry, releases[0])
    registry.promote(
        releases[2].digest,
        expected_champion=None,
        who="test",
        why="test",
        override=True,
        channel="staging",
    )
    plan = retention.plan(keep=1, min_age_s=0)
    assert "on staging" in plan.kept[releases[2].digest]
    assert unneeded(retention, "index") == {
        releases[1].index_digest,
        releases[3].index_digest,
    }


def test_an_open_decision_keeps_its_pair_and_its_directory(retention, registry, releases, home):
    go_live(registry, releases[0])
    decision = decide(registry, "d", releases[1], releases[0])
    held = decide(registry, "h", releases[2], releases[0], "HOLD")
    for name in (decision, held):
        home.path("decisions", name).mkdir(parents=True)
    assert releases[1].index_digest not in unneeded(retention, "index")
    assert unneeded(retention, "decisions") == {held}
    registry.promote(
        releases[1].digest,
        expected_champion=releases[0].digest,
        decision_digest=decision,
        who="test",
        why="test",
    )
    # It is why the champion is live.
    assert unneeded(retention, "decisions") == {held}
    assert open_decisions(registry.history()) == []


def test_a_later_hold_closes_an_older_decision_on_the_same_challenger(registry, releases):
    go_live(registry, releases[0])
    decide(registry, "d", releases[1], releases[0])
    assert len(open_decisions(registry.history())) == 1
    decide(registry, "later", releases[1], releases[0], "HOLD")
    assert open_decisions(registry.history()) == []


def test_only_the_newest_evaluation_of_a_kept_release_stays(retention, registry, releases, home):
    go_live(registry, releases[0])
    old = evaluate(registry, home, releases[0], right=6)
    new = evaluate(registry, home, releases[0], right=7)
    other = evaluate(registry, home, releases[3], right=7)
    assert unneeded(retention, "evals") == {old, other}
    shutil.rmtree(home.path("evals", new))
    assert unneeded(retention, "evals") == {other}


def test_a_report_lives_as_long_as_its_index(retention, registry, releases, home):
    go_live(registry, *releases[:1])
    for release in releases[:2]:
        report = home.room("reports") / release.index_digest
        report.mkdir()
        (report / "report.html").write_text("page")
    assert unneeded(retention, "reports") == {releases[1].index_digest}


def test_repeats_live_as_long_as_their_release(retention, registry, releases, home):
    go_live(registry, releases[0])
    logs = [make_log(release) for release in releases[:2]]
    for log in logs:
        save_log(log, home.room("repeats"))
    assert unneeded(retention, "repeats") == {logs[1].digest}


def test_what_was_written_a_moment_ago_may_belong_to_a_run_of_now(retention, registry, releases):
    go_live(registry, releases[0])
    assert unneeded(retention, "index", min_age_s=3600) == set()
    assert unneeded(retention, "index", min_age_s=0) == {
        release.index_digest for release in releases[1:]
    }


def test_a_measurement_of_serving_stays_as_long_as_an_evaluation_that_it_names(
    retention, registry, releases, home
):
    go_live(registry, releases[0])
    kept = evaluate(registry, home, releases[0], right=8)
    lost = evaluate(registry, home, releases[1], right=4)
    profiles = {"both": (lost, kept), "lost": (lost,), "empty": ()}
    for name, evaluations in profiles.items():
        found = {"profiles": [{"evaluation": evaluation} for evaluation in evaluations]}
        write_json(home.path("serving", f"{name}.json"), found)
    home.path("serving", "damaged.json").write_text("{")
    gone = {"lost.json", "empty.json", "damaged.json"}
    assert unneeded(retention, "serving") == gone
    assert unneeded(retention, "serving", min_age_s=3600) == set()
    assert gone <= {thing.name for thing in retention.remove(keep=1, min_age_s=0).unneeded}
    assert [path.name for path in home.path("serving").iterdir()] == ["both.json"]


def test_preferences_go_by_their_age(retention, home):
    path = home.path("preferences", "a.json")
    write_json(path, {"rows": []})
    assert unneeded(retention, "preferences", min_age_s=3600) == set()
    [thing] = retention.plan(min_age_s=0).unneeded[-1:]
    assert (thing.room, thing.name, thing.size) == ("preferences", "a.json", path.stat().st_size)
    retention.remove(min_age_s=0)
    assert list(home.path("preferences").iterdir()) == []


def test_partial_directories_go_a_day_after_their_process_died(retention, home):
    young, old, alive = (
        home.path("index", f".{name}.partial-1") for name in ("young", "old", "alive")
    )
    for path in (young, old, alive):
        path.mkdir()
    (alive / "vectors.npy").write_bytes(b"growing")
    long_ago = time.time() - DAY_S - 60
    os.utime(old, (long_ago, long_ago))
    os.utime(alive, (long_ago, long_ago))
    assert {name for name in unneeded(retention, "index") if name.startswith(".")} == {old.name}
    retention.remove(min_age_s=0)
    assert not old.exists()
    assert young.is_dir()
    assert alive.is_dir()


def test_a_removal_that_was_interrupted_is_finished_by_the_next(
    retention, registry, releases, home, monkeypatch
):
    go_live(registry, releases[0])

    def die(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("registry.retention.shutil.rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            retention.remove(min_age_s=0)
    # Nobody takes what is left for an index.
    assert {path.name for path in home.path("index").glob("[!.]*")} == {releases[0].index_digest}
    assert list(home.path("index").glob(".*"))
    retention.remove(min_age_s=0)
    assert not list(home.path("index").glob(".*"))


def test_while_another_process_promotes_nothing_is_removed(
    retention, registry, releases, home, url
):
    go_live(registry, releases[0])
    with (
        registry._ledger.writing(),
        Retention(url, home, busy_timeout_s=0.1) as impatient,
        pytest.raises(RegistryError, match="locked"),
    ):
        impatient.remove(min_age_s=0)
    assert all(home.path("index", release.index_digest).is_dir() for release in releases)


def test_a_reader_of_the_state_directory_survives_links_and_stray_files(
    retention, registry, releases, home, tmp_path
):
    go_live(registry, releases[0])
    precious = tmp_path / "precious"
    precious.mkdir()
    home.path("index", "link").symlink_to(precious)
    home.path("index", "note.txt").write_text("mine")
    retention.remove(min_age_s=0)
    assert precious.is_dir()
    assert home.path("index", "link").is_symlink()
    assert home.path("index", "note.txt").is_file()


def test_before_the_first_promotion_nothing_is_kept_but_what_is_new(retention, releases):
    assert retention.plan().unneeded == ()
    assert unneeded(retention, "index") == {release.index_digest for release in releases}


def test_champions_are_counted_once_by_when_they_were_live_last(registry, releases):
    go_live(registry, *releases[:3])
    registry.rollback(to=releases[0].digest, who="test", why="test")
    assert last_champions(registry.history(), PRODUCTION) == [
        releases[0].digest,
        releases[2].digest,
        releases[1].digest,
    ]


def test_a_damaged_decision_keeps_itself_and_stops_nothing(retention, registry, releases, home):
    go_live(registry, releases[0])
    decision = decide(registry, "d", releases[1], releases[0])
    home.path("decisions", decision).mkdir(parents=True)
    home.path("decisions", decision, "decision.json").write_text("{")
    assert unneeded(retention, "decisions") == set()


def test_segments_and_embeddings_stay_as_long_as_a_kept_version_uses_them(
    retention, registry, releases, home
):
    """Each release has an index of its own here: the second shares the segment of the first."""
    go_live(registry, *releases)
    room = home.path("index")
    model = HashingEmbedder()
    reports = []
    for name in ("one", "two", "three"):
        texts = {f"shared {n}": f"The same in both, {n}." for n in range(9)}
        texts[name] = f"Only in {name}."
        documents = [Document(doc, doc, text, {"source": "s"}) for doc, text in texts.items()]
        previous = reports[-1].directory if name == "two" else None
        reports.append(
            build_index(MemorySnapshot(documents), Chunking(), model, room=room, previous=previous)
        )
    # The second one is kept; the others belong to no release.
    keep = reports[1].version.digest
    for path in room.iterdir():
        if path.name in {release.index_digest for release in releases}:
            path.rmdir()
    kept = registry.champion().model_copy(update={"index_digest": keep})
    registry.register(kept, who="test")
    go_live(registry, kept)
    assert unneeded(retention, "segments") == set()
    two_days_ago = time.time() - 2 * DAY_S
    for path in (*room.glob("segments/*"), *room.glob("embeddings/*")):
        os.utime(path, (two_days_ago, two_days_ago))
    alone = {use.digest for use in reports[2].version.segments}
    assert unneeded(retention, "segments") == alone
    assert unneeded(retention, "embeddings") == set()
    plan = retention.remove(keep=1, min_age_s=0)
    assert {reports[0].version.digest, reports[2].version.digest} <= {
        thing.name for thing in plan.unneeded
    }
    assert open_index(reports[1].directory, model).search(["same in both"], top_k=2)
    assert unneeded(retention, "segments") == set()
