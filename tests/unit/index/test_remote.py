import json
import random
import shutil
import signal
import uuid
from pathlib import Path

import pytest

from tasks.errors import ConfigError, CorruptArtifact, RegistryError, ServerUnavailable
from tasks.index.build import BuildReport, build_index
from tasks.index.cache import EmbeddingCache
from tasks.index.remote import VERSIONS, Remote, Transfer, pull, push
from tasks.index.search import open_index
from tests.embedders import HashingEmbedder
from tests.processes import FORK, Child
from tests.unit.index.test_build import CHUNKING, corpus, rows
from tests.unit.registry.test_races import die_at

QUERY = ["text number 3", "few sentences"]


@pytest.fixture(params=["file", "memory"])
def remote(request, tmp_path: Path) -> Remote:
    where = tmp_path / "store" if request.param == "file" else uuid.uuid4().hex
    return Remote(f"{request.param}://{where}")


def build(room: Path, previous: Path | None = None, **changes: str | None) -> BuildReport:
    return build_index(corpus(**changes), CHUNKING, HashingEmbedder(), room=room, previous=previous)


def two(room: Path) -> tuple[BuildReport, BuildReport]:
    """A version, and one that shares its segment and deletes of it."""
    first = build(room)
    return first, build(room, first.directory, doc3="This one is new.", doc4=None)


def test_a_pulled_version_finds_what_the_pushed_one_finds(tmp_path: Path, remote: Remote):
    for report in two(tmp_path / "here"):
        push(report.directory, remote)
        name = report.version.digest
        pull(name, tmp_path / "there", remote)
        opened = open_index(tmp_path / "there" / name, HashingEmbedder())
        opened.stored.check()
        assert opened.version == report.version
        assert opened.search(QUERY, top_k=5) == open_index(
            report.directory, HashingEmbedder()
        ).search(QUERY, top_k=5)
    assert not list((tmp_path / "there").glob("**/*partial*"))
    assert len(remote.names(VERSIONS)) == 2


def test_what_is_there_is_not_moved_again(tmp_path: Path, remote: Remote):
    first, second = two(tmp_path / "here")
    assert push(first.directory, remote).known == 0
    # The first version's segment is shared.
    assert push(second.directory, remote).known == 1
    assert push(second.directory, remote) == Transfer(known=3)
    pull(first.version.digest, tmp_path / "there", remote)
    assert pull(second.version.digest, tmp_path / "there", remote).known == 1
    assert pull(second.version.digest, tmp_path / "there", remote).known == 3


def test_the_embeddings_come_along_when_they_are_asked_for(tmp_path: Path, remote: Remote):
    first, second = two(tmp_path / "here")
    push(second.directory, remote, embeddings=True)
    pull(second.version.digest, tmp_path / "there", remote, embeddings=True)
    model = HashingEmbedder()
    caches = [
        EmbeddingCache(tmp_path / room, model.digest, model.dimensions)
        for room in ("here", "there")
    ]
    assert len(caches[0]) == len(caches[1]) > 0
    again = build_index(corpus(), CHUNKING, model, room=tmp_path / "there", previous=None)
    assert not model.texts
    assert rows(again) == rows(first)


def test_a_version_that_the_store_lacks_is_named(tmp_path: Path, remote: Remote):
    with pytest.raises(RegistryError, match=r"has no 'versions/0{64}'"):
        pull("0" * 64, tmp_path, remote)
    assert remote.names(VERSIONS) == []


def test_a_kind_of_store_that_fsspec_does_not_know_is_a_wrong_setting():
    with pytest.raises(ConfigError, match="nowhere://x") as raised:
        Remote("nowhere://x")
    assert "storage.url" in raised.value.next_step


def test_a_store_that_does_not_answer_is_named(tmp_path: Path):
    name = build(tmp_path / "here").version.digest
    # Port 1 is nobody's.
    remote = Remote("http://127.0.0.1:1/store")
    for work in (
        lambda: remote.names(VERSIONS),
        lambda: pull(name, tmp_path / "there", remote),
    ):
        with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:1"):
            work()


def test_a_store_that_refuses_is_named(tmp_path: Path):
    report = build(tmp_path / "here")
    (tmp_path / "store").write_text("a file where the store's directory should be")
    with pytest.raises(ServerUnavailable, match="store"):
        push(report.directory, Remote(f"file://{tmp_path}/store"))
    with pytest.raises(ServerUnavailable, match="proc"):
        push(report.directory, Remote("file:///proc/no-such-place"))


def test_every_byte_that_is_moved_is_told(tmp_path: Path):
    report, told = build(tmp_path / "here"), []
    remote = Remote(f"memory://{uuid.uuid4().hex}", moved=told.append)
    sent = push(report.directory, remote)
    # Manifests come last and are small: nobody waits for them.
    assert 0 < sum(told) < sent.bytes
    assert len(told) == sent.files - 2
    told.clear()
    got = pull(report.version.digest, tmp_path / "there", remote)
    assert len(told) == got.files - 2


@pytest.mark.parametrize("name", ["vectors.npy", "chunks.arrow", "manifest.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_a_segment_that_was_damaged_in_the_store_is_never_opened(
    tmp_path: Path, name: str, harm: str
):
    report = build(tmp_path / "here")
    remote = Remote(f"file://{tmp_path}/store")
    push(report.directory, remote)
    (path,) = (tmp_path / "store" / "segments").glob(f"*/{name}")
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if harm == "cut" else data.replace(data[-9:-8], b"?"))
    with pytest.raises((CorruptArtifact, RegistryError), match=r"segments/[0-9a-f]{64}"):
        pull(report.version.digest, tmp_path / "there", remote)
    assert list((tmp_path / "there").iterdir()) == []


def test_a_manifest_that_names_a_file_elsewhere_writes_nothing_there(tmp_path: Path):
    report = build(tmp_path / "here")
    remote = Remote(f"file://{tmp_path}/store")
    with pytest.raises(CorruptArtifact, match="isn't a file of it"):
        remote.get("versions/x", tmp_path / "there", {"../outside": "0" * 64})
    with pytest.raises(CorruptArtifact, match="isn't a file of it"):
        remote.get("versions/x", tmp_path / "there", {"/etc/outside": "0" * 64})
    push(report.directory, remote, embeddings=True)
    (manifest,) = (tmp_path / "store" / "embeddings").glob("*/*/manifest.json")
    manifest.write_text(json.dumps({"files": {"../../outside": "0" * 64}}))
    with pytest.raises(CorruptArtifact, match="isn't a file of it"):
        pull(report.version.digest, tmp_path / "there", remote, embeddings=True)
    assert not list(tmp_path.rglob("outside"))


def count_calls(outcome, work, *arguments) -> None:
    outcome.put(die_at(0, lambda: work(*arguments)))


def killed(work, *arguments, times: int, after) -> int:
    """Kill some work at random calls; `after` looks at what each left. How often it died."""
    outcome = FORK.SimpleQueue()
    child = Child(target=count_calls, args=(outcome, work, *arguments))
    child.start()
    calls = outcome.get()
    child.join()
    after()
    chance, deaths = random.Random(0), 0
    for _ in range(times):
        point = chance.randrange(1, calls)
        child = Child(target=die_at, args=(point, lambda: work(*arguments)))
        child.start()
        child.join()
        assert child.exitcode in (-signal.SIGKILL, 0)
        deaths += child.exitcode != 0
        after()
    return deaths


@pytest.mark.integration
def test_a_push_that_is_killed_shows_no_half_version(tmp_path: Path):
    report = build(tmp_path / "here")
    store, name = tmp_path / "store", report.version.digest
    remote = Remote(f"file://{store}")
    # Once in this process: importing isn't what shall be killed.
    push(report.directory, Remote(f"file://{tmp_path}/first"), embeddings=True)
    pull(name, tmp_path / "first there", Remote(f"file://{tmp_path}/first"), embeddings=True)
    seen = []

    def whole_or_absent() -> None:
        seen.append(remote.names(VERSIONS))
        if seen[-1]:
            pull(name, tmp_path / "there", remote, embeddings=True)
            assert rows(report) == rows(build(tmp_path / "there"))
            shutil.rmtree(tmp_path / "there")
            shutil.rmtree(store)

    assert killed(push_all, report.directory, store, times=20, after=whole_or_absent) > 5
    push_all(report.directory, store)
    whole_or_absent()
    assert seen[-1] == [name]


def push_all(directory: Path, store: Path) -> None:
    push(directory, Remote(f"file://{store}"), embeddings=True)


def pull_all(name: str, room: Path, store: Path) -> None:
    pull(name, room, Remote(f"file://{store}"), embeddings=True)


@pytest.mark.integration
def test_a_pull_that_is_killed_leaves_no_half_version(tmp_path: Path):
    _, report = two(tmp_path / "here")
    store, room, name = tmp_path / "store", tmp_path / "there", report.version.digest
    push_all(report.directory, store)
    pull_all(name, tmp_path / "first there", store)

    def whole_or_absent() -> None:
        if (room / name).exists():
            open_index(room / name, HashingEmbedder()).stored.check()
            shutil.rmtree(room)

    assert killed(pull_all, name, room, store, times=20, after=whole_or_absent) > 5
    pull_all(name, room, store)
    found = open_index(room / name, HashingEmbedder()).search(QUERY, top_k=5)
    assert found == open_index(report.directory, HashingEmbedder()).search(QUERY, top_k=5)
