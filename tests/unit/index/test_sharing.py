import os
import time
from pathlib import Path

from tasks.config import Chunking, IndexSettings
from tasks.index.build import build_index
from tasks.index.sharing import unused_parts, version_to_start_from
from tests.embedders import HashingEmbedder
from tests.unit.index.test_build import CHUNKING, corpus


def build(room: Path, embedder: HashingEmbedder, age: float, **settings) -> Path:
    """A version that was built so many seconds ago."""
    chunking = settings.pop("chunking", CHUNKING)
    directory = build_index(
        corpus(**settings.pop("changes", {})),
        chunking,
        embedder,
        room=room,
        previous=settings.pop("previous", None),
        **settings,
    ).directory
    then = time.time() - age
    os.utime(directory, (then, then))
    return directory


def start(room: Path, embedder: HashingEmbedder) -> Path | None:
    return version_to_start_from(
        room, chunking=CHUNKING, embedding=embedder.digest, index=IndexSettings()
    )


def test_a_new_version_starts_from_the_one_of_which_it_can_share_most(tmp_path: Path):
    one, other = HashingEmbedder(), HashingEmbedder("other")
    assert start(tmp_path, one) is None
    foreign = build(tmp_path, other, 10)
    assert start(tmp_path, one) == foreign
    longer = build(tmp_path, one, 50, chunking=Chunking(max_tokens=20, overlap_tokens=0))
    assert start(tmp_path, one) == longer
    exact = build(tmp_path, one, 40, index=IndexSettings(kind="flat"))
    assert start(tmp_path, one) == exact
    old = build(tmp_path, one, 100)
    assert start(tmp_path, one) == old
    newer = build(tmp_path, one, 20, changes={"doc1": None})
    assert start(tmp_path, one) == newer


def test_a_version_that_cannot_be_read_is_passed_over(tmp_path: Path):
    model = HashingEmbedder()
    old = build(tmp_path, model, 100)
    newer = build(tmp_path, model, 50, changes={"doc1": None})
    (newer / "manifest.json").write_text("{")
    assert start(tmp_path, model) == old


def test_parts_stay_as_long_as_a_version_uses_them(tmp_path: Path):
    model, other = HashingEmbedder(), HashingEmbedder("other")
    first = build(tmp_path, model, 9)
    second = build(tmp_path, model, 8, changes={"doc1": "New."}, previous=first)
    foreign = build(tmp_path, other, 7)
    assert list(unused_parts(tmp_path, leaving=set())) == []
    # The second version has most of its chunks from the first one's segment.
    assert list(unused_parts(tmp_path, leaving={first.name})) == []
    gone = list(unused_parts(tmp_path, leaving={foreign.name}))
    assert [path.parent.name for path in gone] == ["segments", "embeddings"]
    assert gone[1].name == other.digest
    assert len(list(unused_parts(tmp_path, leaving={first.name, second.name}))) == 3


def test_nothing_is_unused_while_it_is_not_known_what_a_version_needs(tmp_path: Path):
    first = build(tmp_path, HashingEmbedder(), 9)
    build(tmp_path, HashingEmbedder("other"), 8)
    (first / "manifest.json").unlink()
    assert list(unused_parts(tmp_path, leaving=set())) == []
