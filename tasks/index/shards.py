"""Texts that lack a vector -> shards, each of which any process embeds on its own."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.digest import Digest
from tasks.errors import Terminal
from tasks.index.assemble import SegmentPart
from tasks.index.cache import EmbeddingCache
from tasks.index.chunks import ChunkTable, Keys, embedded_text
from tasks.index.embed import Embedder
from tasks.index.fill import EMBED_BATCH, embed_texts
from tasks.index.rate import RateMeter
from tasks.index.segment import blocks
from tasks.store import scratch_directory

Progress = Callable[[int, int], None]
"""Called with (done, total) texts."""

_ROWS = "rows.npy"


@dataclass(frozen=True, slots=True)
class TextShard:
    """A contiguous range of the texts that a build has to embed: where they lie, not what they are.

    Attributes:
        room: directory of all index versions, in which the embedding cache is.
        table: the chunks of the build.
        rows: file with the rows of the table whose texts lack a vector; each text once.
        start: first of these rows.
        stop: the one after the last.
        embedding: digest of the model.
        dimensions: of its vectors.
    """

    room: Path
    table: Path
    rows: Path
    start: int
    stop: int
    embedding: Digest
    dimensions: int

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self) -> tuple[ChunkTable, NDArray[np.int64]]:
        """The chunks, and which rows of them are this shard's."""
        rows = np.load(self.rows, mmap_mode="r", allow_pickle=False)
        return ChunkTable(self.table), np.asarray(rows[self.start : self.stop])

    def cache(self) -> EmbeddingCache:
        """Where the vectors go."""
        return EmbeddingCache(self.room, self.embedding, self.dimensions)


class ShardRunner(Protocol):
    """Does the shards of a build somewhere, and returns when all of them are done."""

    @property
    def shard_chunks(self) -> int:
        """How many texts a shard shall have."""
        ...

    def embed(self, shards: Sequence[TextShard], progress: Progress) -> None:
        """See that the cache has a vector for every text of the shards."""
        ...

    def build(self, parts: Sequence[SegmentPart]) -> list[Digest]:
        """Build segments; their digests in the order of the parts."""
        ...


def cut(texts: int, shard_chunks: int) -> list[slice]:
    """Ranges of about `shard_chunks` texts.

    Each is a number of whole batches: a vector's last bits depend on which texts share a batch, so
    shards of any size give the bytes that a build without shards gives.
    """
    batches = max(1, round(shard_chunks / EMBED_BATCH))
    return list(blocks(texts, batches * EMBED_BATCH))


def embed_shard(
    shard: TextShard,
    embedder: Embedder,
    *,
    progress: Progress | None = None,
) -> int:
    """Embed the texts of a shard that the cache lacks.

    Again it finds what was done: a worker that is killed loses one batch.

    Args:
        shard: which texts.
        embedder: the model of the build.
        progress: called with texts of the shard.

    Returns:
        How many texts went through the model.

    Raises:
        Terminal: the model is another one, or gave a vector that hasn't length 1.
    """
    check_model(shard.embedding, embedder)
    cache = shard.cache()
    embedded = 0
    for start, keys, texts in batches(shard):
        embedded += embed_lacking(texts, keys, cache, embedder)
        if progress is not None:
            progress(start + len(keys), len(shard))
    return embedded


def embed_lacking(texts: list[str], keys: Keys, cache: EmbeddingCache, embedder: Embedder) -> int:
    """Embed those texts of a batch that the cache lacks; how many they were."""
    lacking = np.flatnonzero(~cache.has(keys))
    if len(lacking):
        embed_texts([texts[row] for row in lacking], keys[lacking], cache, embedder, progress=None)
    return len(lacking)


def check_model(embedding: Digest, embedder: Embedder) -> None:
    """Make sure that a process has the model that a shard wants.

    Raises:
        Terminal: it has another one.
    """
    if embedder.digest != embedding:
        raise Terminal(
            f"A shard wants the embedding model {embedding[:12]}, this process has "
            f"{embedder.name!r} ({embedder.digest[:12]}).",
            next_step="Give every worker the same version of Ratchet, then run again.",
        )


def batches(shard: TextShard) -> Iterator[tuple[int, Keys, list[str]]]:
    """The texts of a shard as they go through the model: (texts before, keys, texts)."""
    table, rows = shard.read()
    for part in blocks(len(rows), EMBED_BATCH):
        read = table.rows(rows[part].tolist(), ("title", "text", "text_digest"))
        keys = np.array([row["text_digest"] for row in read], dtype="S32")
        yield part.start, keys, [embedded_text(row["title"], row["text"]) for row in read]


def embed_in_shards(
    rows: NDArray[np.int64],
    table: Path,
    keys: Keys,
    cache: EmbeddingCache,
    runner: ShardRunner,
    *,
    room: Path,
    embedder: Embedder,
    progress: Progress | None,
    clock: Callable[[], float] = time.monotonic,
    tokens: float | None = None,
) -> None:
    """`fill_cache` by a runner; without any rows, it isn't asked.

    Raises:
        Terminal: the runner left a text out.
    """
    if not len(rows):
        return
    meter = RateMeter(clock)
    with scratch_directory(room, "shards") as scratch:
        np.save(scratch / _ROWS, rows, allow_pickle=False)
        shards = [
            TextShard(
                room=room,
                table=table,
                rows=scratch / _ROWS,
                start=part.start,
                stop=part.stop,
                embedding=embedder.digest,
                dimensions=embedder.dimensions,
            )
            for part in cut(len(rows), runner.shard_chunks)
        ]
        runner.embed(shards, _measured(meter, progress))
    if tokens is not None:
        meter.remember(cache.directory, tokens)
    cache.refresh()
    missing = int((~cache.has(keys[rows])).sum())
    if missing:
        raise Terminal(
            f"{missing:,} of {len(rows):,} texts have no vector in {cache.directory} although "
            "every shard was done.",
            next_step="Let every worker have this directory on its disk, or set reindex.runner to "
            "local in configs/services.yaml; then run again.",
        )


def _measured(meter: RateMeter, progress: Progress | None) -> Progress:
    before = 0

    def report(done: int, total: int) -> None:
        nonlocal before
        if done > before:
            meter.saw(done - before)
            before = done
        if progress is not None:
            progress(done, total)

    return report
