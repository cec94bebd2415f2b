"""Shards between machines: what one embedded, the other one has; what was lost is one batch."""

import uuid
from pathlib import Path

import pytest

from tasks.errors import CorruptArtifact, Terminal
from tasks.index.fill import EMBED_BATCH
from tasks.index.remote import Remote
from tasks.index.remote_shards import collect_shard, embed_stored_shard, send_shard
from tests.embedders import HashingEmbedder
from tests.unit.index.test_shards import Elsewhere, build, corpus, found


class ThroughStore(Elsewhere):
    """A machine of its own for each shard, with a store between them and the one that asks."""

    def __init__(self, rooms: Path, remote: Remote) -> None:
        super().__init__()
        self.rooms = rooms
        self.remote = remote

    def embed(self, shards, progress):
        for number, shard in enumerate(shards):
            stored = send_shard(shard, self.remote)
            self.models.append(HashingEmbedder())
            room = self.rooms / f"machine {number}"
            self.embedded.append(embed_stored_shard(stored, room, self.remote, self.models[-1]))
            collect_shard(shard, self.remote)
            self.remote.delete(stored.key)


@pytest.fixture(params=["file", "memory"])
def remote(request, tmp_path: Path) -> Remote:
    where = tmp_path / "store" if request.param == "file" else uuid.uuid4().hex
    return Remote(f"{request.param}://{where}")


def test_machines_without_a_shared_disk_build_the_same_bytes(tmp_path: Path, remote: Remote):
    snapshot = corpus(range(2_500))
    runner = ThroughStore(tmp_path, remote)
    report = build(snapshot, tmp_path / "here", runner)
    alone = build(snapshot, tmp_path / "alone", None)
    assert report.version == alone.version
    assert found(report) == found(alone)
    texts = [text for model in runner.models for text in model.texts]
    assert len(texts) == len(set(texts)) == 2_500
    # Vectors stay for the next run, texts don't.
    assert remote.names("texts") == []
    assert len(remote.names(f"embeddings/{HashingEmbedder().digest}")) == 3


def test_what_a_machine_finished_before_it_died_is_not_embedded_on_another_one(
    tmp_path: Path, remote: Remote
):
    class Dying(HashingEmbedder):
        def encode(self, texts, *, progress=None):
            if self.texts:
                raise KeyboardInterrupt
            return super().encode(texts, progress=progress)

    class Dies(ThroughStore):
        shard_chunks = 0

        def embed(self, shards, progress):
            (shard,) = shards
            stored = send_shard(shard, self.remote)
            with pytest.raises(KeyboardInterrupt):
                embed_stored_shard(stored, self.rooms / "dead", self.remote, Dying())
            super().embed(shards, progress)

    runner = Dies(tmp_path, remote)
    runner.shard_chunks = 100_000
    report = build(corpus(range(2_500)), tmp_path / "here", runner)
    assert runner.embedded == [report.embedded - EMBED_BATCH]


def test_another_model_and_texts_that_were_changed_are_refused(tmp_path: Path):
    remote = Remote(f"file://{tmp_path}/store")

    class Wrong(ThroughStore):
        def embed(self, shards, progress):
            stored = send_shard(shards[0], self.remote)
            with pytest.raises(Terminal, match="this process has 'other'"):
                embed_stored_shard(stored, tmp_path / "w", self.remote, HashingEmbedder("other"))
            (path,) = (tmp_path / "store" / "texts").glob("*/chunks.arrow")
            path.write_bytes(path.read_bytes()[:-1])
            with pytest.raises(CorruptArtifact, match=r"chunks\.arrow has digest"):
                embed_stored_shard(stored, tmp_path / "w", self.remote, HashingEmbedder())
            raise InterruptedError

    with pytest.raises(InterruptedError):
        build(corpus(range(10)), tmp_path / "here", Wrong(tmp_path, remote))
    assert [path.name for path in (tmp_path / "here").iterdir() if path.name[0] != "."] in (
        [],
        ["embeddings"],
    )
