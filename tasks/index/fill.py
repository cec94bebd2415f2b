"""Chunks of a new segment -> the embedding cache has a vector for each of their texts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.index.cache import EmbeddingCache
from tasks.index.chunks import ChunkTable, Keys, embedded_text
from tasks.index.embed import Embedder
from tasks.index.rate import TRIAL, RateMeter, read_rate
from tasks.index.segment import blocks
from tasks.index.validation import check_lengths

EMBED_BATCH = 1024
"""Texts that are embedded before they are kept: what a killed build loses."""

_COUNTED = 512
"""Texts whose tokens are counted; those of the others are taken to be as many on average."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EmbeddingPlan:
    """What is about to be embedded; told before it starts.

    Attributes:
        texts: that go through the model.
        known: other texts of the new segment, embedded before.
        other_model: whether the index that is live was embedded by another model, so that
            nothing of it can be used.
        tokens: of the texts, counted on a sample of them.
        seconds: how long it takes at the rate that was measured the last time, or on a first
            small batch; None where that batch would be all.
    """

    texts: int
    known: int
    other_model: bool
    tokens: int = 0
    seconds: float | None = None

    def __str__(self) -> str:
        why = ", all of them because the embedding model is another one" if self.other_model else ""
        takes = "" if self.seconds is None else f", about {_duration(self.seconds)}"
        return (
            f"{self.texts:,} texts to embed{why}, about {self.tokens:,} tokens{takes}; "
            f"{self.known:,} known"
        )


def missing_rows(keys: Keys, cache: EmbeddingCache) -> Rows:
    """The first row of each text that the cache lacks, in order."""
    _, rows = np.unique(keys, return_index=True)
    rows = np.sort(rows)
    missing: Rows = rows[~cache.has(keys[rows])]
    return missing


def time_and_announce(
    rows: Rows,
    table: ChunkTable,
    keys: Keys,
    cache: EmbeddingCache,
    embedder: Embedder,
    *,
    plan: EmbeddingPlan,
    announce: Callable[[EmbeddingPlan], None],
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Rows, float]:
    """Say what is to be embedded and how long that takes, before it starts.

    For a model that was never timed here a small batch is embedded first, and kept like any other.

    Returns:
        The rows that are left, and tokens a text.

    Raises:
        Terminal: the model gave a vector that hasn't length 1; none of its batch is kept.
    """
    tokens = _tokens_a_text(rows, table, embedder)
    if len(rows) > TRIAL and read_rate(cache.directory) is None:
        meter = RateMeter(clock)
        trial = _spread(rows, TRIAL)
        # The first text loads the model.
        for part in (trial[:1], trial[1:]):
            embed_texts(_texts(table, part), keys[part], cache, embedder, progress=None)
            meter.saw(len(part))
        meter.remember(cache.directory, tokens)
        rows = rows[~np.isin(rows, trial)]
    rate = read_rate(cache.directory)
    seconds = None if rate is None else len(rows) * tokens / rate
    announce(replace(plan, tokens=round(plan.texts * tokens), seconds=seconds))
    return rows, tokens


def fill_cache(
    rows: Rows,
    table: ChunkTable,
    keys: Keys,
    cache: EmbeddingCache,
    embedder: Embedder,
    *,
    progress: Callable[[int, int], None] | None,
    clock: Callable[[], float] = time.monotonic,
    tokens: float | None = None,
) -> None:
    """Embed the texts of some rows; each batch is on disk before the next one starts.

    Args:
        rows: of the table; their texts differ.
        table: the chunks.
        keys: digest of the text of each row of the table.
        cache: where the vectors go.
        embedder: the model.
        progress: called with (done, total) of these texts.
        clock: seconds.
        tokens: of a text, on average; with it the model's rate is remembered.

    Raises:
        Terminal: the model gave a vector that hasn't length 1; none of its batch is kept.
    """
    meter = RateMeter(clock)
    for part in blocks(len(rows), EMBED_BATCH):
        wanted = rows[part]
        embed_texts(
            _texts(table, wanted),
            keys[wanted],
            cache,
            embedder,
            progress=counted_from(progress, part.start, len(rows)),
        )
        meter.saw(len(wanted))
    if tokens is not None:
        meter.remember(cache.directory, tokens)


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


def _tokens_a_text(rows: Rows, table: ChunkTable, embedder: Embedder) -> float:
    counted = _texts(table, _spread(rows, _COUNTED))
    return sum(embedder.count_tokens(text) for text in counted) / len(counted)


def _texts(table: ChunkTable, rows: Rows) -> list[str]:
    return [
        embedded_text(row["title"], row["text"])
        for row in table.rows(rows.tolist(), ("title", "text"))
    ]


def _spread(rows: Rows, wanted: int) -> Rows:
    """So many rows, at even distances."""
    at = np.linspace(0, len(rows) - 1, min(wanted, len(rows)), dtype=np.int64)
    found: Rows = rows[at]
    return found


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:,.0f} min" if seconds < 6_000 else f"{seconds / 3600:,.1f} h"


def counted_from(
    progress: Callable[[int, int], None] | None, start: int, total: int
) -> Callable[[int, int], None] | None:
    """Count the texts of a batch on from those before it."""
    if progress is None:
        return None
    return lambda done, _: progress(start + done, total)
