import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tasks.config import Chunking
from tasks.corpus.document import Document
from tasks.corpus.snapshot import CorpusDiff, CorpusSnapshot, make_snapshot
from tasks.digest import digest
from tasks.errors import CorpusError, CorruptArtifact, Terminal
from tasks.index.build import LEFTOVER_AGE_S, BuildReport, build_index, remove_leftovers
from tasks.index.chunks import load_chunks
from tasks.index.embed import Vectors
from tasks.index.search import open_index
from tasks.index.version import index_digest, load_version
from tests.embedders import HashingEmbedder

CHUNKING = Chunking(max_tokens=8, overlap_tokens=2)


def document(doc_id: str, text: str) -> Document:
    return Document(doc_id, f"Title of {doc_id}", text, {"source": "docs"})


def corpus(**changes: str | None) -> CorpusSnapshot:
    texts: dict[str, str | None] = {
        f"doc{n}": f"Here is text number {n}. It has a few sentences. This is the last of {n}."
        for n in range(10)
    }
    texts |= changes
    return make_snapshot([document(name, text) for name, text in texts.items() if text], [])


def build(
    room: Path,
    snapshot: CorpusSnapshot,
    previous: Path | None = None,
    *,
    embedder: HashingEmbedder | None = None,
    chunking: Chunking = CHUNKING,
) -> BuildReport:
    return build_index(
        snapshot, chunking, embedder or HashingEmbedder(), room=room, previous=previous
    )


def vectors(report: BuildReport) -> Vectors:
    return np.load(report.directory / "vectors.npy")


def test_a_build_gives_one_vector_a_chunk(tmp_path: Path):
    embedder = HashingEmbedder()
    report = build(tmp_path, corpus(), embedder=embedder)
    version, chunks = report.version, load_chunks(report.directory)
    assert report.directory == tmp_path / version.digest
    assert (version.n_documents, version.n_chunks) == (10, chunks.num_rows)
    assert (version.kind, version.dimensions, version.embedding) == ("flat", 256, "hashing")
    assert vectors(report).shape == (version.n_chunks, 256)
    assert (report.embedded, report.reused, report.diff) == (version.n_chunks, 0, None)
    expected = embedder.encode([f"{row['title']}\n{row['text']}" for row in chunks.to_list()])
    assert np.array_equal(vectors(report), expected)


def test_the_digest_is_known_before_the_build(tmp_path: Path):
    snapshot, embedder = corpus(), HashingEmbedder()
    name = index_digest(snapshot.digest, CHUNKING, embedder.digest)
    assert build(tmp_path, snapshot).version.digest == name
    others = [
        index_digest(corpus(doc1="New.").digest, CHUNKING, embedder.digest),
        index_digest(snapshot.digest, Chunking(max_tokens=9, overlap_tokens=2), embedder.digest),
        index_digest(snapshot.digest, CHUNKING, HashingEmbedder("other").digest),
    ]
    assert len({name, *others}) == 4


def test_building_again_embeds_nothing_and_changes_no_file(tmp_path: Path):
    first = build(tmp_path, corpus())
    before = {path: path.stat().st_mtime_ns for path in first.directory.rglob("*")}
    embedder = HashingEmbedder()
    again = build(tmp_path, corpus(), first.directory, embedder=embedder)
    assert again.version == first.version
    assert (again.embedded, again.reused) == (0, first.version.n_chunks)
    assert not embedder.texts
    assert again.diff == CorpusDiff((), (), ())
    assert {path: path.stat().st_mtime_ns for path in first.directory.rglob("*")} == before


def test_only_what_changed_is_embedded(tmp_path: Path):
    first = build(tmp_path, corpus())
    embedder = HashingEmbedder()
    changed = corpus(
        doc1="Here is text number 1. It has a few sentences. This end is new.",
        doc2=None,
        extra="An added document.",
    )
    second = build(tmp_path, changed, first.directory, embedder=embedder)
    assert second.diff == CorpusDiff(added=("extra",), changed=("doc1",), removed=("doc2",))
    assert embedder.texts == [
        "Title of doc1\nThis end is new.",
        "Title of extra\nAn added document.",
    ]
    assert second.embedded == 2
    assert second.reused == second.version.n_chunks - second.embedded
    whole = build(tmp_path / "whole", changed)
    assert np.array_equal(vectors(second), vectors(whole))
    assert second.version == whole.version


def test_equal_passages_are_embedded_once(tmp_path: Path):
    twins = make_snapshot(
        [Document(name, "Title", "Equal text.", {"source": name}) for name in ("a", "b")], []
    )
    report = build(tmp_path, twins)
    assert (report.embedded, report.reused, report.version.n_chunks) == (1, 1, 2)


def test_another_model_takes_no_vector_over(tmp_path: Path):
    first = build(tmp_path, corpus())
    second = build(tmp_path, corpus(), first.directory, embedder=HashingEmbedder("other"))
    assert (second.embedded, second.reused) == (second.version.n_chunks, 0)


def test_other_chunking_takes_over_what_is_equal(tmp_path: Path):
    first = build(tmp_path, corpus())
    second = build(
        tmp_path, corpus(), first.directory, chunking=Chunking(max_tokens=8, overlap_tokens=1)
    )
    assert second.version.digest != first.version.digest
    assert second.reused > 0


def test_a_damaged_previous_version_is_not_taken_over(tmp_path: Path):
    first = build(tmp_path, corpus())
    flip(first.directory / "vectors.npy")
    with pytest.raises(CorruptArtifact, match=r"vectors\.npy") as raised:
        build(tmp_path, corpus(doc1="New."), first.directory)
    assert str(first.directory) in raised.value.next_step


def test_a_corpus_without_documents_is_an_error(tmp_path: Path):
    with pytest.raises(CorpusError, match="no documents"):
        build(tmp_path, make_snapshot([], []))


class BrokenEmbedder(HashingEmbedder):
    """A model whose numbers overflowed, as half precision can."""

    def encode(self, texts, *, progress=None):
        found = super().encode(texts, progress=progress)
        found[-1] = np.nan
        return found


def test_vectors_that_are_no_numbers_never_become_a_version(tmp_path: Path):
    with pytest.raises(Terminal, match="1 of 10 vectors"):
        build(tmp_path, corpus(), embedder=BrokenEmbedder(), chunking=Chunking())
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    report = build_index(
        corpus(),
        CHUNKING,
        HashingEmbedder(),
        room=tmp_path,
        previous=None,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (report.embedded, report.embedded)


DIES = """
import os, signal, sys
from pathlib import Path
from tests.embedders import HashingEmbedder
from tests.unit.index.test_build import CHUNKING, build, corpus

class Dies(HashingEmbedder):
    # The name is asked for when the files are written and the manifest isn't.
    @property
    def name(self):
        os.kill(os.getpid(), signal.SIGKILL)

    @name.setter
    def name(self, value):
        pass

build(Path(sys.argv[1]), corpus(), embedder=Dies())
"""


def test_a_build_that_is_killed_leaves_no_version_and_the_next_one_succeeds(tmp_path: Path):
    killed = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path)], check=False, cwd=Path.cwd()
    )
    assert killed.returncode == -9
    (left,) = tmp_path.iterdir()
    assert ".partial-" in left.name
    assert (left / "vectors.npy").is_file()
    report = build(tmp_path, corpus())
    assert open_index(report.directory, HashingEmbedder()).version == report.version
    # Another build may own it, as far as anybody can tell, until it is old.
    assert left.is_dir()
    age(left, LEFTOVER_AGE_S + 60)
    build(tmp_path, corpus(doc1="New."), report.directory)
    assert not left.exists()


def test_only_old_leftovers_are_removed(tmp_path: Path):
    for name in (".0123.partial-old", ".0123.partial-young", "a" * 64):
        (tmp_path / name / "chunks").mkdir(parents=True)
        age(tmp_path / name, 7_200)
    young = tmp_path / ".0123.partial-young" / "chunks" / "data"
    young.write_text("still growing")
    assert remove_leftovers(tmp_path, older_than_s=3_600) == [tmp_path / ".0123.partial-old"]
    assert young.is_file()
    assert (tmp_path / ("a" * 64)).is_dir()


def test_two_builds_at_once_give_one_version(tmp_path: Path):
    reports: list[BuildReport] = []
    builds = [
        threading.Thread(target=lambda: reports.append(build(tmp_path, corpus()))) for _ in range(4)
    ]
    for thread in builds:
        thread.start()
    for thread in builds:
        thread.join()
    assert len(reports) == 4
    assert [path.name for path in tmp_path.iterdir()] == [reports[0].version.digest]
    assert load_version(reports[0].directory) == reports[0].version


def test_the_index_of_a_known_corpus_changes_only_with_the_version(tmp_path: Path):
    # If this fails, an index's name or rows changed: bump INDEX_VERSION, then these values.
    report = build(tmp_path, corpus())
    assert (
        report.version.digest == "5ddd3578d2979aa2f1059ae8873450c618f10dbae2101761eee640568864304b"
    )
    assert (
        digest("rows", 1, load_chunks(report.directory).to_list())
        == "18b72d1666697f913614c3b5c55978d517f580eb8926e08fd92275f6052e7f77"
    )


def test_equal_builds_give_equal_bytes(tmp_path: Path):
    one, two = build(tmp_path / "one", corpus()), build(tmp_path / "two", corpus())
    assert one.version.files == two.version.files


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    for entry in (*path.rglob("*"), path):
        os.utime(entry, (then, then))
