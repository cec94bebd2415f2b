"""A build that is killed anywhere: nothing half-done is seen, and nothing is embedded twice."""

import random
import signal
from pathlib import Path

import numpy as np
import pytest

from tasks.config import Chunking
from tasks.corpus.document import Document
from tasks.digest import text_digest
from tasks.index.build import build_index
from tasks.index.cache import EmbeddingCache
from tasks.index.search import open_index
from tasks.index.sharing import version_directories
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder
from tests.processes import FORK, Child
from tests.unit.registry.test_races import die_at

CHUNKING = Chunking(max_tokens=8, overlap_tokens=2)


def corpus(night: int) -> MemorySnapshot:
    """Ten documents; each night one is new, one changed and one gone."""
    texts = {
        n: f"Here is text number {n}. It has a few sentences. Those end soon."
        for n in range(night, night + 10)
    }
    texts[night + 5] += f" This was said on night {night}."
    documents = [
        Document(f"doc{n}", f"Title {n}", text, {"source": "docs"}) for n, text in texts.items()
    ]
    return MemorySnapshot(documents)


def build(room: Path, night: int, previous: Path | None, embedder: HashingEmbedder) -> Path:
    return build_index(corpus(night), CHUNKING, embedder, room=room, previous=previous).directory


def count_calls(outcome, room: Path, previous: Path) -> None:
    outcome.put(die_at(0, lambda: build(room, 2, previous, HashingEmbedder())))


@pytest.mark.integration
def test_a_hundred_builds_killed_anywhere_go_on_where_they_were(tmp_path: Path):
    room = tmp_path / "room"
    first = build(room, 0, None, HashingEmbedder())
    # After this everything is imported: importing isn't what shall be killed.
    previous = build(room, 1, first, HashingEmbedder())
    outcome = FORK.SimpleQueue()
    child = Child(target=count_calls, args=(outcome, room, previous))
    child.start()
    calls = outcome.get()
    child.join()
    chance = random.Random(0)
    kept = killed = 0
    for night in range(3, 103):
        # Half of the points are in the last part, where embedding is done and files get names.
        point = chance.randrange(1 if night % 2 else calls * 4 // 5, calls)
        child = Child(
            target=die_at,
            args=(point, lambda n=night, p=previous: build(room, n, p, HashingEmbedder())),
        )
        child.start()
        child.join()
        assert child.exitcode in (-signal.SIGKILL, 0)
        killed += child.exitcode != 0
        model = HashingEmbedder()
        for directory in version_directories(room)[-3:]:
            assert open_index(directory, model).search(["text number"], top_k=3)
        before = EmbeddingCache(room, model.digest, model.dimensions)
        again = HashingEmbedder()
        directory = build(room, night, previous, again)
        if again.texts:
            done = np.array([bytes.fromhex(text_digest(text)) for text in again.texts], "S32")
            assert not before.has(done).any()
        kept += not again.texts
        (hit,) = open_index(directory, model).search([f"said on night {night}"], top_k=1)[0]
        assert hit.doc_id == f"doc{night + 5}"
        previous = directory
    assert killed > 80
    # Both happen: killed before the model was asked, and after.
    assert 0 < kept < 100
