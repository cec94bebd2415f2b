import json
import subprocess
import sys
import threading
import time
from inspect import signature

import pytest

from registry import Champion, watch_champion
from tasks.errors import CorruptArtifact, RegistryError
from tasks.store import write_json

WRITER = """
import json, sys
from pathlib import Path
from tasks.store import write_json

path, source, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
views = json.loads(source.read_text())
for number in range(times):
    write_json(path, views[number % len(views)] | {"since": f"{number:05d}"})
"""


def view(release, since: str = "2026-11-24T03:00:00.000+00:00") -> dict:
    return {
        "digest": release.digest,
        "label": release.label,
        "since": since,
        "index": f"/somewhere/index/{release.index_digest}",
        "release": release.model_dump(mode="json"),
        "of": "a later version",
    }


@pytest.fixture
def path(tmp_path, releases):
    write_json(tmp_path / "champion.json", view(releases[0]))
    return tmp_path / "champion.json"


def test_what_the_registry_writes_is_what_a_consumer_reads(registry, releases):
    champion = Champion(registry.view)
    for release in releases[:2]:
        registry.promote(
            release.digest,
            expected_champion=registry.champion_digest(),
            who="test",
            why="test",
            override=True,
        )
        found = champion.get()
        assert found.release == release
        assert found.digest == release.digest
        assert found.index.is_dir()


def test_an_unchanged_file_is_not_read_again(path):
    champion = Champion(path)
    assert champion.get() is champion.get()


def test_without_a_path_it_is_the_state_directory_of_the_environment(path, releases, monkeypatch):
    monkeypatch.setenv("RATCHET_HOME", str(path.parent))
    assert Champion().get().digest == releases[0].digest


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RegistryError, match=r"nowhere\.json.*doesn't exist") as caught:
        Champion(tmp_path / "nowhere.json").get()
    assert "RATCHET_HOME" in caught.value.next_step


def test_a_file_that_vanishes_is_an_error_and_not_the_old_champion(path):
    champion = Champion(path)
    champion.get()
    path.unlink()
    with pytest.raises(RegistryError, match="doesn't exist"):
        champion.get()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"digest": 1}'])
def test_a_file_that_ratchet_did_not_write_is_an_error(path, content):
    path.write_text(content)
    with pytest.raises(CorruptArtifact, match=r"champion\.json"):
        Champion(path).get()


def test_a_release_that_is_not_the_one_it_names_is_an_error(path, releases):
    content = view(releases[0]) | {"release": releases[1].model_dump(mode="json")}
    write_json(path, content)
    with pytest.raises(CorruptArtifact, match="names"):
        Champion(path).get()


def test_a_file_of_equal_size_and_time_is_seen_as_another_one(path, releases):
    champion = Champion(path)
    before = champion.get()
    write_json(path, view(releases[0], since="2026-11-24T03:00:00.001+00:00"))
    assert champion.get() != before


def test_a_replacement_is_noticed_within_seconds(path, releases):
    seen, stop = [], threading.Event()
    begun = threading.Event()

    def follow() -> None:
        for found in watch_champion(path, stop=stop):
            seen.append(found.digest)
            begun.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert begun.wait(10)
    replaced = time.monotonic()
    write_json(path, view(releases[1]))
    while len(seen) < 2 and time.monotonic() - replaced < 30:
        time.sleep(0.01)
    stop.set()
    thread.join(10)
    assert seen == [releases[0].digest, releases[1].digest]
    assert signature(watch_champion).parameters["every_s"].default <= 2


def test_watching_ends_when_the_file_goes(path):
    watched = watch_champion(path, every_s=0.01)
    next(watched)
    path.unlink()
    with pytest.raises(RegistryError):
        next(watched)


def test_hundreds_of_replacements_by_another_process_are_never_seen_half_written(
    path, releases, tmp_path
):
    source = tmp_path / "views.json"
    # Of different lengths, so that half of one couldn't pass for the other.
    long = releases[1].model_copy(
        update={
            "prompt": releases[1].prompt.model_copy(update={"name": "a" * 5000}),
        }
    )
    source.write_text(json.dumps([view(releases[0]), view(long)]))
    command = [sys.executable, "-c", WRITER, str(path), str(source), "400"]
    champion, seen, reads = Champion(path), set(), 0
    with subprocess.Popen(command) as writer:
        while writer.poll() is None:
            found = champion.get()
            assert found.release.digest == found.digest
            seen.add(found.since)
            reads += 1
    assert writer.returncode == 0
    assert champion.get().since == "00399"
    assert len(seen) > 50
    assert reads >= len(seen)
