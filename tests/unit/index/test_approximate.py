from pathlib import Path

import numpy as np
import pytest

from tasks.corpus.chunk import Chunk
from tasks.errors import CorruptArtifact
from tasks.index.approximate import segment_kind
from tasks.index.chunks import CHUNKS, ChunkWriter
from tasks.index.embed import Vectors
from tasks.index.finish import finish_segment
from tasks.index.scan import nearest
from tasks.index.segment import FAISS, VECTORS, Segment, writing_vectors
from tasks.store import scratch_directory

ROWS, DIMENSIONS = 5_000, 32


def clustered(rows: int = ROWS, seed: int = 0) -> Vectors:
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(50, DIMENSIONS))
    found = centres[chance.integers(50, size=rows)] + 0.5 * chance.normal(size=(rows, DIMENSIONS))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.astype(np.float32)


def segment(room: Path, vectors: Vectors, kind: str, *, recall: float = 0.95) -> Segment:
    with scratch_directory(room, "test") as scratch:
        with ChunkWriter(scratch / CHUNKS) as writer:
            for row in range(len(vectors)):
                writer.add(Chunk(f"d{row}:0-1", f"d{row}", 0, 1, "x", ""))
        with writing_vectors(scratch / VECTORS, DIMENSIONS) as block:
            block.add(vectors)
        return finish_segment(scratch, room, embedding="e" * 64, kind=kind, recall=recall)


@pytest.mark.parametrize(
    ("asked", "rows", "chunks", "expected"),
    [
        ("auto", 100_000, 100_000, "flat"),
        ("auto", 100_001, 100_001, "ivf"),
        ("auto", 10_000, 1_000_000, "ivf"),
        ("auto", 4_000, 1_000_000, "flat"),
        ("auto", 10_000, 10_000_001, "ivfpq"),
        ("hnsw", 5_000, 5_000, "hnsw"),
        ("hnsw", 1_000, 5_000, "flat"),
        ("flat", 20_000_000, 20_000_000, "flat"),
    ],
)
def test_the_kind_follows_from_the_size(asked, rows, chunks, expected):
    assert segment_kind(asked, rows=rows, chunks=chunks) == expected


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivfpq"])
def test_the_recorded_recall_is_found_again_on_other_queries(tmp_path: Path, kind: str):
    vectors, queries = clustered(), clustered(100, seed=1)
    made = segment(tmp_path, vectors, kind)
    assert made.manifest.kind == kind
    assert made.manifest.recall.recall >= made.manifest.recall.target == 0.95
    assert FAISS in made.manifest.files
    _, exact = nearest(queries, vectors, 10)
    _, found = made.open_codes().candidates(queries, 10)
    shares = [
        len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found.tolist(), strict=True)
    ]
    assert np.mean(shares) > 0.9


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivfpq"])
def test_deleted_rows_are_never_found(tmp_path: Path, kind: str):
    vectors = clustered()
    made = segment(tmp_path, vectors, kind)
    live = np.random.default_rng(3).random(ROWS) < 0.5
    codes = made.open_codes()
    _, found = codes.candidates(vectors[:50], 10, among=codes.selector(live))
    assert live[found[found >= 0]].all()


def test_a_recall_that_no_effort_reaches_makes_the_segment_exact(tmp_path: Path):
    chance = np.random.default_rng(0)
    noise = chance.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    made = segment(tmp_path, noise, "ivfpq", recall=0.9999)
    assert (made.manifest.kind, made.manifest.recall, made.open_codes()) == ("flat", None, None)
    assert FAISS not in made.manifest.files


def test_a_changed_byte_is_noticed_before_faiss_reads_the_file(tmp_path: Path):
    made = segment(tmp_path, clustered(), "ivf")
    data = bytearray((made.directory / FAISS).read_bytes())
    data[len(data) // 2] ^= 1
    (made.directory / FAISS).write_bytes(data)
    with pytest.raises(CorruptArtifact, match=r"index\.faiss"):
        made.open_codes()
