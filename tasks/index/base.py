"""The version that a new one starts from -> the segments that it shares or copies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.config import Chunking, Compaction, IndexSettings
from tasks.corpus.digests import CorpusDiff
from tasks.digest import Digest
from tasks.index.compaction import segments_to_merge
from tasks.index.embed import Vectors
from tasks.index.manifest import SegmentUse
from tasks.index.segment import Segment, blocks, release
from tasks.index.version import StoredIndex, write_tombstones


@dataclass(frozen=True, slots=True)
class KeptPart:
    """A segment of the previous version, and which of its rows the new one has."""

    segment: Segment
    live: NDArray[np.bool_]

    @property
    def n_live(self) -> int:
        """Rows that can be found."""
        return int(self.live.sum())

    def share(self, directory: Path) -> SegmentUse:
        """Use it as it is; what is deleted is written into the new version's directory."""
        deleted = len(self.live) - self.n_live
        if deleted:
            write_tombstones(directory, self.segment.digest, self.live)
        return SegmentUse(digest=self.segment.digest, n_chunks=len(self.segment), n_deleted=deleted)

    def batches(self) -> Iterator[Any]:
        """The live chunks, a `pyarrow.RecordBatch` at a time."""
        for _, batch in self.segment.batches(self.live):
            yield batch

    def vectors(self) -> Iterator[Vectors]:
        """The vectors of the same rows in the same order."""
        for part in blocks(len(self.live)):
            yield self.segment.vectors[part][self.live[part]]
            release(self.segment.vectors)


@dataclass(frozen=True, slots=True)
class Base:
    """A version whose segments a new one shares."""

    stored: StoredIndex
    fresh: frozenset[str]
    """Documents to chunk."""
    stale: tuple[str, ...]
    """Documents whose chunks are deleted."""

    @classmethod
    def of(
        cls,
        stored: StoredIndex | None,
        diff: CorpusDiff | None,
        *,
        chunking: Chunking,
        embedding: Digest,
        index: IndexSettings,
    ) -> "Base | None":
        """None where chunks or vectors would be other ones, or be searched in another way."""
        if stored is None or diff is None:
            return None
        version = stored.version
        same = (version.chunking, version.embedding_digest, version.index)
        if same != (chunking, embedding, index):
            return None
        return cls(stored, frozenset(diff.added + diff.changed), diff.changed + diff.removed)

    def parts(self) -> list[KeptPart]:
        """Segments without the chunks of stale documents; those that have no others are left out.

        Raises:
            CorruptArtifact: a file isn't the one that was written.
        """
        found = []
        for segment, live in zip(self.stored.segments, self.stored.live, strict=True):
            left = live & ~segment.rows_of(self.stale) if self.stale else live
            if left.any():
                found.append(KeptPart(segment, left))
        return found


def split(
    parts: Sequence[KeptPart], new: int, limits: Compaction
) -> tuple[list[KeptPart], list[KeptPart]]:
    """Which parts are copied into the new segment of `new` rows, and which are shared."""
    sizes = [(part.n_live, len(part.live)) for part in parts]
    merged = set(segments_to_merge(sizes, new, limits))
    return (
        [part for position, part in enumerate(parts) if position in merged],
        [part for position, part in enumerate(parts) if position not in merged],
    )
