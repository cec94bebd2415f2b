"""Chunks of a build whose texts all have vectors -> its new segments."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np

from tasks.config import IndexSettings
from tasks.digest import Digest
from tasks.index.approximate import segment_kind
from tasks.index.base import KeptPart
from tasks.index.cache import EmbeddingCache
from tasks.index.chunks import CHUNKS, ChunkTable, ChunkWriter
from tasks.index.embed import Vectors
from tasks.index.finish import finish_segment
from tasks.index.manifest import SegmentUse
from tasks.index.segment import VECTORS, SegmentKind, blocks, release, writing_vectors
from tasks.store import scratch_directory


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """A range of a build's chunks that becomes a segment of its own.

    Attributes:
        room: directory of all index versions.
        table: the chunks of the build.
        start: first row.
        stop: the one after the last.
        n_new: rows of the table, from the first one, whose vectors are in the embedding cache.
        merged: vectors of the rows after those; None: there are none.
        embedding: digest of the model.
        dimensions: of its vectors.
        kind: how the segment shall be searched.
        recall: what an approximate search must find.
    """

    room: Path
    table: Path
    start: int
    stop: int
    n_new: int
    merged: Path | None
    embedding: Digest
    dimensions: int
    kind: SegmentKind
    recall: float


def build_segment(part: SegmentPart) -> Digest:
    """Build one of several segments; needs nothing but the disk.

    Raises:
        Terminal: a vector isn't one, or passages aren't found.
        CorruptArtifact: a vector of the cache isn't the one that was written.
    """
    table = ChunkTable(part.table)
    with scratch_directory(part.room, "segment") as scratch:
        with ChunkWriter(scratch / CHUNKS) as chunks:
            for batch in table.select(np.arange(part.start, part.stop)):
                chunks.add_batch(batch)
        with writing_vectors(scratch / VECTORS, part.dimensions) as vectors:
            for block in _vectors(part, scratch / CHUNKS):
                vectors.add(block)
        return finish_segment(
            scratch, part.room, embedding=part.embedding, kind=part.kind, recall=part.recall
        ).digest


def new_segments(
    scratch: Path,
    room: Path,
    *,
    n_new: int,
    merged: Sequence[KeptPart],
    cache: EmbeddingCache,
    embedding: Digest,
    dimensions: int,
    index: IndexSettings,
    shared_chunks: int,
    at_most: int,
    build: Callable[[Sequence[SegmentPart]], list[Digest]],
) -> list[SegmentUse]:
    """Make segments of a build's chunks: one, or several of about equal size that are independent.

    Args:
        scratch: directory with the chunks; it becomes the segment where there is one.
        room: directory of all index versions.
        n_new: rows, from the first one, whose vectors are in the cache.
        merged: old segments whose live rows follow, in their order.
        cache: has a vector for each new text.
        embedding: digest of the model.
        dimensions: of its vectors.
        index: how vectors are searched.
        shared_chunks: live rows of the segments that the version takes over.
        at_most: rows of a segment.
        build: builds several segments, somewhere.
    """
    table = ChunkTable(scratch / CHUNKS)
    rows = len(table)
    if not rows:
        return []
    pieces = ceil(rows / at_most)
    kind = segment_kind(index.kind, rows=ceil(rows / pieces), chunks=rows + shared_chunks)
    if pieces == 1:
        with writing_vectors(scratch / VECTORS, dimensions) as writer:
            keys = table.keys()[:n_new]
            for part in blocks(n_new):
                writer.add(cache.take(keys[part]))
            _copy(merged, writer.add)
        only = finish_segment(scratch, room, embedding=embedding, kind=kind, recall=index.recall)
        return [SegmentUse(digest=only.digest, n_chunks=len(only))]
    with scratch_directory(room, "merged") as aside:
        if merged:
            with writing_vectors(aside / VECTORS, dimensions) as writer:
                _copy(merged, writer.add)
        ends = [rows * number // pieces for number in range(pieces + 1)]
        parts = [
            SegmentPart(
                room=room,
                table=scratch / CHUNKS,
                start=start,
                stop=stop,
                n_new=n_new,
                merged=aside / VECTORS if merged else None,
                embedding=embedding,
                dimensions=dimensions,
                kind=kind,
                recall=index.recall,
            )
            for start, stop in pairwise(ends)
        ]
        digests = build(parts)
    return [
        SegmentUse(digest=name, n_chunks=part.stop - part.start)
        for name, part in zip(digests, parts, strict=True)
    ]


def build_here(parts: Sequence[SegmentPart]) -> list[Digest]:
    """Build segments in this process, one after the other."""
    return [build_segment(part) for part in parts]


def _copy(merged: Sequence[KeptPart], add: Callable[[Vectors], None]) -> None:
    for old in merged:
        for block in old.vectors():
            add(block)


def _vectors(part: SegmentPart, chunks: Path) -> Iterator[Vectors]:
    """Of the new rows from the cache, of the others from the segments that they were in."""
    n_cached = max(0, min(part.stop, part.n_new) - part.start)
    keys = ChunkTable(chunks).keys()[:n_cached]
    cache = EmbeddingCache(part.room, part.embedding, part.dimensions)
    for rows in blocks(n_cached):
        yield cache.take(keys[rows])
    if part.merged is not None:
        merged = np.load(part.merged, mmap_mode="r", allow_pickle=False)
        start = max(part.start, part.n_new) - part.n_new
        found = merged[start : part.stop - part.n_new] if part.stop > part.n_new else merged[:0]
        for rows in blocks(len(found)):
            yield found[rows]
            release(merged)
