"""Index versions on disk -> what people want to know about them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.corpus.digests import CorpusDiff, compare_digests
from tasks.digest import Digest
from tasks.index.cache import EMBEDDINGS
from tasks.index.manifest import SEGMENTS
from tasks.index.segment import SegmentKind
from tasks.index.sharing import version_directories
from tasks.index.version import StoredIndex


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """One segment as a version uses it."""

    digest: Digest
    kind: SegmentKind
    chunks: int
    """That can be found."""
    deleted: int
    recall: float | None
    """Measured when it was built; None where search is exact."""
    bytes: int


@dataclass(frozen=True, slots=True)
class ChunkDiff:
    """Chunks that only one of two versions has, by the text that was embedded.

    A chunk that moved counts as the same.
    """

    added: int
    removed: int
    shared: int
    """These keep their vectors."""


@dataclass(frozen=True, slots=True)
class IndexDiff:
    """What differs between two versions."""

    documents: CorpusDiff
    chunks_added: int
    chunks_removed: int
    chunks_shared: int
    bytes_shared: int
    """Of segments that both use."""
    bytes_added: int
    """Of segments that only the newer one uses."""


@dataclass(frozen=True, slots=True)
class RoomStats:
    """What all versions take on the disk together."""

    versions: int
    segments: int
    segment_bytes: int
    bytes_without_sharing: int
    """What they would take if each version had files of its own."""
    cached_texts: dict[Digest, int]
    """Texts in the embedding cache of each model."""
    cache_bytes: int


def summarise(stored: StoredIndex) -> list[SegmentSummary]:
    """The segments of a version, oldest first."""
    return [
        SegmentSummary(
            digest=use.digest,
            kind=segment.manifest.kind,
            chunks=use.n_chunks - use.n_deleted,
            deleted=use.n_deleted,
            recall=segment.manifest.recall.recall if segment.manifest.recall else None,
            bytes=_size(segment.directory),
        )
        for use, segment in zip(stored.version.segments, stored.segments, strict=True)
    ]


def compare_versions(old: StoredIndex, new: StoredIndex) -> IndexDiff:
    """Compare documents by digest and chunks by text.

    Raises:
        CorruptArtifact: a file isn't the one that was written.
    """
    chunks = compare_chunks(old, new)
    old_segments = {segment.digest for segment in old.segments}
    shared, added = 0, 0
    for segment in new.segments:
        size = _size(segment.directory)
        if segment.digest in old_segments:
            shared += size
        else:
            added += size
    return IndexDiff(
        documents=compare_digests(old.documents(), new.documents()),
        chunks_added=chunks.added,
        chunks_removed=chunks.removed,
        chunks_shared=chunks.shared,
        bytes_shared=shared,
        bytes_added=added,
    )


def compare_chunks(old: StoredIndex, new: StoredIndex) -> ChunkDiff:
    """Count the chunks that differ.

    Raises:
        CorruptArtifact: a file isn't the one that was written.
    """
    before, after = Counter(_texts(old)), Counter(_texts(new))
    return ChunkDiff(
        added=(after - before).total(),
        removed=(before - after).total(),
        shared=(before & after).total(),
    )


def room_stats(room: Path) -> RoomStats:
    """Count what lies in an index room.

    Raises:
        CorruptArtifact: a manifest can't be read.
    """
    directories = version_directories(room)
    sizes = {path.name: _size(path) for path in _inside(room / SEGMENTS)}
    caches = list(_inside(room / EMBEDDINGS))
    uses = [use for path in directories for use in StoredIndex(path).version.segments]
    return RoomStats(
        versions=len(directories),
        segments=len(sizes),
        segment_bytes=sum(sizes.values()),
        bytes_without_sharing=sum(sizes[use.digest] for use in uses),
        cached_texts={path.name: _cached(path) for path in caches},
        cache_bytes=sum(_size(path) for path in caches),
    )


def _texts(stored: StoredIndex) -> Iterator[bytes]:
    for _, _, batch in stored.batches(["text_digest"]):
        yield from batch.column("text_digest").to_pylist()


def _inside(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        yield from (path for path in sorted(directory.iterdir()) if path.name[0] != ".")


def _cached(directory: Path) -> int:
    import numpy as np

    shards = directory.glob("[!.]*/keys.npy")
    return sum(len(np.load(path, mmap_mode="r", allow_pickle=False)) for path in shards)


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
