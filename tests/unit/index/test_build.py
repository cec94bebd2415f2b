import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.config import Chunking, IndexSettings
from tasks.corpus.digests import CorpusDiff
from tasks.corpus.document import Document
from tasks.corpus.documents import document_tables
from tasks.corpus.snapshot import Snapshot
from tasks.corpus.stored import store_documents
from tasks.digest import digest
from tasks.errors import CorpusError, CorruptArtifact, Terminal
from tasks.index.build import (
    LEFTOVER_AGE_S,
    BuildReport,
    EmbeddingPlan,
    build_index,
    remove_leftovers,
)
from tasks.index.chunks import FIELDS
from tasks.index.manifest import index_digest, load_version
from tasks.index.rate import RATE, TRIAL
from tasks.index.search import open_index
from tasks.index.sharing import version_directories
from tasks.index.version import open_version
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder
from tests.processes import printed_by

CHUNKING = Chunking(max_tokens=8, overlap_tokens=2)


def document(doc_id: str, text: str) -> Document:
    return Document(doc_id, f"Title of {doc_id}", text, {"source": "docs"})


def corpus(**changes: str | None) -> MemorySnapshot:
    texts: dict[str, str | None] = {
        f"doc{n}": f"Here is text number {n}. It has a few sentences. This is the last of {n}."
        for n in range(10)
    }
    texts |= changes
    return MemorySnapshot([document(name, text) for name, text in texts.items() if text])


def build(
    room: Path,
    snapshot: Snapshot,
    previous: Path | None = None,
    *,
    embedder: HashingEmbedder | None = None,
    chunking: Chunking = CHUNKING,
) -> BuildReport:
    return build_index(
        snapshot, chunking, embedder or HashingEmbedder(), room=room, previous=previous
    )


def rows(report: BuildReport) -> list[dict[str, Any]]:
    """All chunks of a version with their vectors, ordered by chunk id."""
    stored = open_version(report.directory)
    found = [
        chunk | {"vector": stored.segments[number].vectors[row].tolist()}
        for number, at, batch in stored.batches(list(FIELDS))
        for row, chunk in zip(at, batch.to_pylist(), strict=True)
    ]
    return sorted(found, key=lambda chunk: chunk["chunk_id"])


def segments(room: Path) -> list[Path]:
    return sorted((room / "segments").iterdir())


def test_a_build_gives_one_vector_a_chunk(tmp_path: Path):
    embedder = HashingEmbedder()
    report = build(tmp_path, corpus(), embedder=embedder)
    version, chunks = report.version, rows(report)
    assert report.directory == tmp_path / version.digest
    assert (version.n_documents, version.n_chunks) == (10, len(chunks))
    assert (version.dimensions, version.embedding) == (256, "hashing")
    assert [use.n_chunks for use in version.segments] == [version.n_chunks]
    assert (report.embedded, report.reused, report.diff) == (version.n_chunks, 0, None)
    expected = embedder.encode([f"{row['title']}\n{row['text']}" for row in chunks])
    assert [row["vector"] for row in chunks] == expected.tolist()


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
    assert rows(second) == rows(whole)
    assert second.version.digest == whole.version.digest
    # The chunks of doc1 and extra; those of doc1 and doc2 are deleted where they were.
    assert second.written == second.version.segments[1].n_chunks == 4
    assert second.version.segments[0].digest == first.version.segments[0].digest
    assert second.version.segments[0].n_deleted == 6


def test_only_documents_that_are_new_or_changed_are_read(tmp_path: Path):
    first = build(tmp_path, corpus())
    changed = corpus(doc1="A new text.", doc2=None, extra="An added document.")
    build(tmp_path, changed, first.directory)
    assert changed.was_read == ["doc1", "extra"]
    same = corpus()
    assert build(tmp_path, same, first.directory).version == first.version
    assert same.was_read == []


def test_a_document_that_was_changed_on_the_disk_never_becomes_a_version(tmp_path: Path):
    wanted = corpus()
    forged = [replace(wanted.documents[0], text="Forged."), *wanted.documents[1:]]
    digests = [item.digest for item in wanted.documents]
    stored = store_documents(
        tmp_path / "corpus", wanted.digest, document_tables(zip(forged, digests, strict=True)), ()
    )
    room = tmp_path / "room"
    with pytest.raises(CorruptArtifact, match="'doc0'") as raised:
        build(room, stored)
    assert str(stored.directory) in raised.value.next_step
    assert version_directories(room) == []


def test_equal_passages_are_embedded_once(tmp_path: Path):
    twins = MemorySnapshot(
        [Document(name, "Title", "Equal text.", {"source": name}) for name in ("a", "b")]
    )
    report = build(tmp_path, twins)
    assert (report.embedded, report.reused, report.version.n_chunks) == (1, 1, 2)


def test_another_model_takes_no_vector_over(tmp_path: Path):
    first = build(tmp_path, corpus())
    other = HashingEmbedder("other")
    second = build(tmp_path, corpus(), first.directory, embedder=other)
    assert second.embedded == len(other.texts) == second.version.n_chunks
    assert second.reused == 0


def test_other_chunking_embeds_only_what_no_build_embedded(tmp_path: Path):
    first = build(tmp_path, corpus())
    other = Chunking(max_tokens=8, overlap_tokens=1)
    second = build(tmp_path, corpus(), first.directory, chunking=other)
    assert second.version.digest != first.version.digest
    assert second.reused > 0
    assert rows(second) == rows(build(tmp_path / "whole", corpus(), chunking=other))


def test_another_kind_of_index_embeds_nothing(tmp_path: Path):
    first = build(tmp_path, corpus())
    second = build_index(
        corpus(),
        CHUNKING,
        HashingEmbedder(),
        room=tmp_path,
        previous=None,
        index=IndexSettings(kind="flat"),
    )
    assert second.version.digest != first.version.digest
    assert (second.embedded, second.version.segments) == (0, first.version.segments)


def test_what_comes_back_or_moves_embeds_nothing(tmp_path: Path):
    first = build(tmp_path, corpus())
    without = build(tmp_path, corpus(doc3=None), first.directory)
    again = build(tmp_path, corpus(), without.directory, embedder=(model := HashingEmbedder()))
    assert again.version == first.version
    moved = MemorySnapshot(
        [replace(one, doc_id=f"moved/{one.doc_id}") for one in corpus().documents]
    )
    after = build(tmp_path, moved, first.directory, embedder=model)
    assert (after.embedded, model.texts) == (0, [])
    assert after.diff is not None
    assert (len(after.diff.added), len(after.diff.removed)) == (10, 10)
    # Everything of the old segment is deleted, so the version doesn't use it any more.
    assert len(after.version.segments) == 1


def test_removing_documents_writes_no_segment(tmp_path: Path):
    first = build(tmp_path, corpus())
    second = build(tmp_path, corpus(doc3=None), first.directory)
    assert (second.written, second.embedded) == (0, 0)
    assert len(segments(tmp_path)) == 1
    assert {row["doc_id"] for row in rows(second)} == {f"doc{n}" for n in range(10)} - {"doc3"}
    assert len(rows(first)) == first.version.n_chunks


def test_a_damaged_file_of_the_previous_version_is_noticed_when_it_is_read(tmp_path: Path):
    first = build(tmp_path, corpus())
    flip(segments(tmp_path)[0] / "chunks.arrow")
    with pytest.raises(CorruptArtifact, match=r"chunks\.arrow") as raised:
        build(tmp_path, corpus(doc1="New."), first.directory)
    assert str(segments(tmp_path)[0]) in raised.value.next_step


def test_deleting_rows_reads_no_texts_of_a_segment_that_is_as_it_was(tmp_path: Path):
    first = build(tmp_path, corpus())
    path = segments(tmp_path)[0] / "chunks.arrow"
    path.chmod(0o644)
    segment = open_version(first.directory).segments[0]
    # Changing the mode changes the file's times: it is checked once more, and then not.
    assert segment.rows_of(["doc3"]).sum() == 3
    again = open_version(first.directory).segments[0]
    again.rows_of(["doc3"])
    assert not again._checked
    flip(path)
    # Within one tick of the file system's clock its times could be those of before.
    os.utime(path, (1, 1))
    with pytest.raises(CorruptArtifact, match=r"chunks\.arrow"):
        open_version(first.directory).segments[0].rows_of(["doc3"])
    path.unlink()
    with pytest.raises(CorruptArtifact, match=r"chunks\.arrow"):
        open_version(first.directory).segments[0].rows_of(["doc3"])


def test_a_damaged_segment_that_was_deleted_is_built_anew_without_embedding(tmp_path: Path):
    first = build(tmp_path, corpus())
    flip(segments(tmp_path)[0] / "vectors.npy")
    with pytest.raises(CorruptArtifact, match=r"vectors\.npy"):
        open_index(first.directory, HashingEmbedder())
    shutil.rmtree(segments(tmp_path)[0])
    again = build(tmp_path, corpus(), embedder=(model := HashingEmbedder()))
    assert (again.version, model.texts) == (first.version, [])
    assert open_index(first.directory, model).search(["text number 3"], top_k=1)


def test_a_corpus_without_documents_is_an_error(tmp_path: Path):
    with pytest.raises(CorpusError, match="no documents"):
        build(tmp_path, MemorySnapshot([]))


class BrokenEmbedder(HashingEmbedder):
    """A model whose numbers overflowed, as half precision can."""

    def encode(self, texts, *, progress=None):
        found = super().encode(texts, progress=progress)
        found[-1] = np.nan
        return found


def test_vectors_that_are_no_numbers_never_become_a_version(tmp_path: Path):
    with pytest.raises(Terminal, match="1 of 10 vectors"):
        build(tmp_path, corpus(), embedder=BrokenEmbedder(), chunking=Chunking())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    # None of them was kept: a mended model starts anew.
    assert build(tmp_path, corpus(), chunking=Chunking()).embedded == 10


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
    left = [path for path in tmp_path.rglob("*") if ".partial-" in path.name]
    assert left
    assert version_directories(tmp_path) == []
    report = build(tmp_path, corpus(), embedder=(model := HashingEmbedder()))
    assert (report.embedded, model.texts) == (0, [])
    assert open_index(report.directory, model).version == report.version
    # Another build may own it, as far as anybody can tell, until it is old.
    assert all(path.is_dir() for path in left)
    for path in left:
        age(path, LEFTOVER_AGE_S + 60)
    build(tmp_path, corpus(doc1="New."), report.directory)
    assert not any(path.exists() for path in left)


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
    assert version_directories(tmp_path) == [reports[0].directory]
    assert len(segments(tmp_path)) == 1
    assert load_version(reports[0].directory) == reports[0].version


NOTHING_TO_DO = """
import sys
from pathlib import Path
from tests.embedders import HashingEmbedder
from tests.unit.index.test_build import build, corpus

before = set(sys.modules)
report = build(Path(sys.argv[1]), corpus(), Path(sys.argv[2]))
assert report.embedded == 0 and not report.diff
heavy = {"torch", "faiss", "datasets", "sentence_transformers", "transformers", "sklearn", "scipy"}
print(sorted(heavy & set(sys.modules)))
"""


def test_a_build_with_nothing_to_do_loads_no_heavy_library(tmp_path: Path):
    first = build(tmp_path, corpus())
    assert printed_by(NOTHING_TO_DO, tmp_path, first.directory) == "[]\n"


FEW_CHANGES = """
import sys
from pathlib import Path
from tests.unit.index.test_build import build, corpus

report = build(Path(sys.argv[1]), corpus(doc1="It was rewritten."), Path(sys.argv[2]))
assert report.embedded and report.diff.changed == ("doc1",)
print(sorted({"torch", "faiss", "pandas", "pyarrow.dataset", "scipy"} & set(sys.modules)))
"""


def test_a_build_of_a_few_changes_loads_no_heavy_library(tmp_path: Path):
    first = build(tmp_path, corpus())
    assert printed_by(FEW_CHANGES, tmp_path, first.directory) == "[]\n"


class TimedEmbedder(HashingEmbedder):
    """A model that needs a minute to load and then a second for four tokens, by its own clock."""

    def __init__(self, name: str = "hashing") -> None:
        super().__init__(name)
        self.now = 0.0

    def encode(self, texts, *, progress=None):
        self.now += 60 if not self.texts else 0
        self.now += sum(map(self.count_tokens, texts)) / 4
        return super().encode(texts, progress=progress)


def announced(
    room: Path, snapshot: Snapshot, model: TimedEmbedder, previous: Path | None = None
) -> tuple[EmbeddingPlan, int]:
    """What is said of a build, and how many texts were embedded before."""
    told: list[tuple[EmbeddingPlan, int]] = []
    build_index(
        snapshot,
        CHUNKING,
        model,
        room=room,
        previous=previous,
        announce=lambda plan: told.append((plan, len(model.texts))),
        clock=lambda: model.now,
    )
    (found,) = told
    return found


def many(count: int, name: str = "many") -> MemorySnapshot:
    """Texts of seven tokens each, their title included."""
    return MemorySnapshot(
        Document(f"d{n:04}", "Title", f"Number {n} of the {name} texts.", {"source": "docs"})
        for n in range(count)
    )


def test_how_long_embedding_takes_is_said_after_one_small_batch_of_a_new_model(tmp_path: Path):
    model = TimedEmbedder()
    plan, before = announced(tmp_path, many(3_000), model)
    assert before == TRIAL
    assert (plan.texts, plan.known, plan.tokens) == (3_000, 0, 21_000)
    assert plan.seconds == pytest.approx((3_000 - TRIAL) * 7 / 4)
    assert str(plan) == "3,000 texts to embed, about 21,000 tokens, about 86 min; 0 known"
    # The small batch was kept.
    assert len(model.texts) == len(set(model.texts)) == 3_000


def test_how_long_embedding_takes_is_said_before_it_starts_where_the_model_was_used(
    tmp_path: Path,
):
    first = TimedEmbedder()
    announced(tmp_path, many(200), first)
    again = TimedEmbedder()
    plan, before = announced(tmp_path, many(300, "other"), again)
    assert before == 0
    assert plan.seconds == pytest.approx(300 * 7 / 4)
    (rate,) = tmp_path.glob(f"embeddings/{again.digest}/{RATE}")
    rate.write_text('{"tokens_per_second": "fast"}')
    assert announced(tmp_path, many(400, "new"), TimedEmbedder())[1] == TRIAL


def test_another_model_is_announced_with_its_own_time(tmp_path: Path):
    first = build(tmp_path, many(200))
    model = TimedEmbedder("other")
    plan, before = announced(tmp_path, many(200), model, first.directory)
    assert before == TRIAL
    assert "all of them because the embedding model is another one" in str(plan)
    assert plan.seconds == pytest.approx((200 - TRIAL) * 7 / 4)


def test_a_few_texts_are_announced_without_a_time(tmp_path: Path):
    build(tmp_path, many(10))
    plan, before = announced(tmp_path, many(12), TimedEmbedder())
    assert (plan.texts, plan.known, plan.seconds, before) == (2, 10, None, 0)
    assert str(plan) == "2 texts to embed, about 14 tokens; 10 known"


def test_the_index_of_a_known_corpus_changes_only_with_the_version(tmp_path: Path):
    # If this fails, an index's name or rows changed: bump INDEX_VERSION, then these values.
    report = build(tmp_path, corpus())
    assert (
        report.version.digest == "d7d9e1e4d10422c1bf5412bad0fec290071a33f149cc54b83c914955bb5b145b"
    )
    assert (
        digest("rows", 1, [row | {"vector": None} for row in rows(report)])
        == "06fa6aceb7dc741fdab7e7eee2154099ac541f82772896bbafa626da4804748a"
    )


def test_equal_builds_give_equal_bytes(tmp_path: Path):
    one, two = build(tmp_path / "one", corpus()), build(tmp_path / "two", corpus())
    assert one.version == two.version


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    for entry in (*path.rglob("*"), path):
        os.utime(entry, (then, then))
