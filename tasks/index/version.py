"""What one immutable index version is made of."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.corpus.digests import DocumentDigests
from tasks.digest import Digest, file_digest
from tasks.index.manifest import MANIFEST, IndexVersion, SegmentUse, corrupt, load_version
from tasks.index.segment import load_segment

DOCUMENTS = "documents.parquet"
"""Digest of each document by its id: what the next version is compared with."""
TOMBSTONES = "tombstones"
"""Directory with `<segment>.npy` for each segment that has deleted rows: one bit a row, the lowest
bit of a byte first, 1 where the row is deleted."""


class StoredIndex:
    """An index version on disk, without the model that embeds questions.

    Attributes:
        directory: `room/<digest>`.
        version: its manifest.
        segments: in the order of the manifest.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.version = load_version(directory)
        self.segments = tuple(
            load_segment(directory.parent, use.digest) for use in self.version.segments
        )
        for segment, use in zip(self.segments, self.version.segments, strict=True):
            manifest = segment.manifest
            if (manifest.n_chunks, manifest.embedding_digest, manifest.dimensions) != (
                use.n_chunks,
                self.version.embedding_digest,
                self.version.dimensions,
            ):
                raise corrupt(directory, f"{MANIFEST} describes segment {use.digest[:12]} wrongly")

    @cached_property
    def live(self) -> tuple[NDArray[np.bool_], ...]:
        """For each segment shape (rows,): which rows the version hasn't deleted."""
        masks = tuple(self._live(use) for use in self.version.segments)
        found = sum(int(mask.sum()) for mask in masks)
        if found != self.version.n_chunks:
            raise corrupt(
                self.directory,
                f"{found} chunks in the segments, {self.version.n_chunks} in the manifest",
            )
        return masks

    def documents(self) -> DocumentDigests:
        """Digest of each document by its id."""
        self._check(DOCUMENTS)
        return DocumentDigests.read(self.directory / DOCUMENTS)

    def batches(self, columns: list[str] | None = None) -> Any:
        """Iterate over (segment number, rows, batch) of all chunks that aren't deleted.

        `rows` is shape (n,), the row of each chunk in its segment; `batch` is a
        `pyarrow.RecordBatch` of the same length.
        """
        for number, (segment, live) in enumerate(zip(self.segments, self.live, strict=True)):
            for rows, batch in segment.batches(live, columns):
                yield number, rows, batch

    def touch(self) -> None:
        """Tell who removes what is old that a new version is about to use the segments."""
        for segment in self.segments:
            os.utime(segment.directory)

    def check(self) -> None:
        """Check every byte of the version and of its segments.

        Raises:
            CorruptArtifact: a file is missing or has other bytes.
        """
        for name in self.version.files:
            self._check(name)
        for segment in self.segments:
            segment.check()

    def _live(self, use: SegmentUse) -> NDArray[np.bool_]:
        if not use.n_deleted:
            return np.ones(use.n_chunks, dtype=np.bool_)
        name = f"{TOMBSTONES}/{use.digest}.npy"
        self._check(name)
        bits = np.load(self.directory / name, allow_pickle=False)
        dead = np.unpackbits(bits, count=use.n_chunks, bitorder="little").astype(np.bool_)
        if int(dead.sum()) != use.n_deleted:
            raise corrupt(self.directory, f"{name} doesn't have {use.n_deleted} deleted rows")
        return ~dead

    def _check(self, name: str) -> None:
        try:
            found = file_digest(self.directory / name)
        except OSError as error:
            raise corrupt(self.directory, f"{name} can't be read: {error}") from error
        expected = self.version.files.get(name, "nothing")
        if found != expected:
            raise corrupt(
                self.directory, f"{name} has digest {found[:12]}, expected {expected[:12]}"
            )


def open_version(directory: Path) -> StoredIndex:
    """Open an index version to read its chunks; each file is checked when it is first read.

    Raises:
        CorruptArtifact: a manifest is missing, malformed, or belongs to something else.
    """
    return StoredIndex(directory)


def check_files(directory: Path, version: IndexVersion) -> None:
    """Compare every file of a version and of its segments with its digest.

    Raises:
        CorruptArtifact: a file is missing or has other bytes.
    """
    stored = StoredIndex(directory)
    if stored.version != version:
        raise corrupt(directory, f"{MANIFEST} has changed")
    stored.check()


def write_tombstones(directory: Path, segment: Digest, live: NDArray[np.bool_]) -> None:
    """Write which rows of a segment a version has deleted."""
    (directory / TOMBSTONES).mkdir(exist_ok=True)
    bits = np.packbits(~live, bitorder="little")
    np.save(directory / TOMBSTONES / f"{segment}.npy", bits, allow_pickle=False)
