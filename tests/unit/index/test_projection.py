from pathlib import Path

import numpy as np
import pytest

from tasks.config import Chunking
from tasks.corpus.document import Document
from tasks.index.build import build_index
from tasks.index.projection import project
from tasks.index.version import StoredIndex, open_version
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder


def version(
    room: Path, words: list[str], previous: StoredIndex | None = None, name: str = "hashing"
) -> StoredIndex:
    documents = [Document(word, word, f"Keep {word} cool.", {"source": "s"}) for word in words]
    report = build_index(
        MemorySnapshot(documents),
        Chunking(),
        HashingEmbedder(name),
        room=room,
        previous=previous.directory if previous else None,
    )
    return open_version(report.directory)


WORDS = [f"fruit{number}" for number in range(30)]


def test_chunks_are_told_apart_by_their_text_and_a_document_is_named_at_each(tmp_path: Path):
    old = version(tmp_path, WORDS)
    new = version(tmp_path, [*WORDS[2:], "dates"], old)
    found = project(old, new)
    assert (found.kept, found.new, found.removed) == (28, 1, 2)
    states = {point.doc_id: point.state for point in found.points}
    assert {name for name, state in states.items() if state == "removed"} == set(WORDS[:2])
    assert states["dates"] == "new"
    assert len(states) == len(found.points) == 31
    assert 0 < found.explained < 1


def test_what_is_new_does_not_turn_the_plane(tmp_path: Path):
    old = version(tmp_path, WORDS)
    new = version(tmp_path, [*WORDS, *(f"new{number}" for number in range(20))], old)
    before = {point.doc_id: point for point in project(old, old).points}
    after = {point.doc_id: point for point in project(old, new).points}
    for name, point in before.items():
        assert (after[name].x, after[name].y) == pytest.approx((point.x, point.y), abs=1e-6)


def test_the_plane_is_that_of_the_two_largest_singular_values(tmp_path: Path):
    stored = version(tmp_path, WORDS)
    (segment,) = stored.segments
    vectors = np.asarray(segment.vectors, dtype=np.float64)
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
    found = project(None, stored)
    assert found.explained == pytest.approx(values[:2].sum() / values.sum(), abs=1e-6)
    spread = np.array([[point.x, point.y] for point in found.points])
    assert (spread**2).sum(axis=0) == pytest.approx(values[:2], rel=1e-4)


def test_a_sample_keeps_the_changes_in_sight_and_is_the_same_for_one_seed(tmp_path: Path):
    old = version(tmp_path, WORDS)
    new = version(tmp_path, [*WORDS[1:], "dates"], old)
    found = project(old, new, limit=10)
    assert len(found.points) == 10
    assert {point.doc_id for point in found.points if point.state != "kept"} == {"fruit0", "dates"}
    assert found == project(old, new, limit=10)
    assert found != project(old, new, limit=10, seed=1)


def test_an_index_of_another_model_has_no_plane_in_common(tmp_path: Path):
    old = version(tmp_path, WORDS, name="other")
    found = project(old, version(tmp_path, WORDS))
    assert (found.kept, found.new, found.removed) == (30, 0, 0)
