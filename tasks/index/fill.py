"""Chunks of a new segment -> the embedding cache has a vector for each of their texts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.index.cache import EmbeddingCache
from tasks.index.chunks import ChunkTable, Keys, embedded_text
from tasks.index.embed import Embedder
from tasks.index.segment import blocks
from tasks.index.validation import check_lengths

EMBED_BATCH = 1024
"""Texts that are embedded before they are kept: what a killed build loses."""


@dataclass(frozen=True, slots=True)
class EmbeddingPlan:
    """What is about to be embedded; told before it starts, and once more after the first batch.

    Attributes:
        texts: that go through the model.
        known: other texts of the new segment, embedded before.
        other_model: whether the index that is live was embedded by another model, so that
            nothing of it can be used.
        seconds: how long the rest takes at the rate of the first batch; None before that.
    """

    texts: int
    known: int
    other_model: bool
    seconds: float | None = None

    def __str__(self) -> str:
        why = ", all of them because the embedding model is another one" if self.other_model else ""
        rest = "" if self.seconds is None else f"; about {self.seconds / 60:.0f} min left"
        return f"{self.texts:,} texts to embed{why}, {self.known:,} known{rest}"


def missing_rows(keys: Keys, cache: EmbeddingCache) -> NDArray[np.int64]:
    """The first row of each text that the cache lacks, in order."""
    _, rows = np.unique(keys, return_index=True)
    rows = np.sort(rows)
    missing: NDArray[np.int64] = rows[~cache.has(keys[rows])]
    return missing


def fill_cache(
    rows: NDArray[np.int64],
    table: ChunkTable,
    keys: Keys,
    cache: EmbeddingCache,
    embedder: Embedder,
    *,
    plan: EmbeddingPlan,
    progress: Callable[[int, int], None] | None,
    announce: Callable[[EmbeddingPlan], None] | None,
) -> None:
    """Embed the texts of some rows; each batch is on disk before the next one starts.

    Raises:
        Terminal: the model gave a vector that hasn't length 1; none of its batch is kept.
    """
    if announce is not None and len(rows):
        announce(plan)
    began = time.monotonic()
    for part in blocks(len(rows), EMBED_BATCH):
        wanted = rows[part]
        texts = [
            embedded_text(row["title"], row["text"])
            for row in table.rows(wanted.tolist(), ("title", "text"))
        ]
        embed_texts(
            texts, keys[wanted], cache, embedder, progress=_from(progress, part.start, len(rows))
        )
        if announce is not None and part.start == 0 and part.stop < len(rows):
            rate = (time.monotonic() - began) / part.stop
            announce(replace(plan, seconds=rate * (len(rows) - part.stop)))


def embed_texts(
    texts: Sequence[str],
    keys: Keys,
    cache: EmbeddingCache,
    embedder: Embedder,
    *,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Embed one batch of texts, named by their digests; it is on disk when this returns.

    Raises:
        Terminal: the model gave a vector that hasn't length 1; nothing of the batch is kept.
    """
    vectors = embedder.encode(texts, progress=progress)
    check_lengths(vectors)
    cache.put(keys, vectors)


def _from(
    progress: Callable[[int, int], None] | None, start: int, total: int
) -> Callable[[int, int], None] | None:
    """Count the texts of a batch on from those before it."""
    if progress is None:
        return None
    return lambda done, _: progress(start + done, total)
