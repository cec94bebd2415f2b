"""An immutable segment: some chunks, their vectors, and how they are searched."""

import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from tasks.config import Settings
from tasks.corpus.units import file_stamp
from tasks.digest import Digest, digest, file_digest
from tasks.errors import CorruptArtifact
from tasks.index.chunks import BATCH, CHUNKS, ChunkTable, positions
from tasks.index.embed import Vectors
from tasks.index.manifest import SEGMENTS
from tasks.store import json_text, read_json, write_atomic, write_json

if TYPE_CHECKING:
    from tasks.index.approximate import ApproximateSearch

SEGMENT_VERSION = 1
"""Bumped when the files of a segment mean something else."""

MANIFEST = "manifest.json"
VECTORS = "vectors.npy"
FAISS = "index.faiss"
_STAMP = ".stamp.json"

SegmentKind = Literal["flat", "hnsw", "ivf", "ivfpq"]


class MeasuredRecall(Settings):
    """How well a segment's approximate search finds what exact search finds."""

    target: float
    """What the parameters were tuned to."""
    recall: float
    """Mean share of the exact nearest `k` that are found."""
    k: int
    queries: int
    """Vectors of the segment, each of which was left out of its own results."""


class SegmentManifest(Settings):
    """What a segment is made of; its digest names all of it."""

    digest: Digest
    embedding_digest: Digest
    n_chunks: int
    dimensions: int
    kind: SegmentKind
    """`flat` compares with every vector, which is exact."""
    parameters: dict[str, int] = Field(default_factory=dict)
    """Of the approximate search: `nprobe` or `efSearch`, and how it was built."""
    recall: MeasuredRecall | None = None
    """None where search is exact."""
    files: dict[str, Digest]
    """SHA-256 of each file."""

    @classmethod
    def describe(cls, directory: Path, **content: Any) -> Self:
        """Name what lies in a directory."""
        files = {path.name: file_digest(path) for path in sorted(directory.iterdir())}
        unnamed = cls(digest="", files=files, **content)
        return unnamed.model_copy(update={"digest": unnamed.content_digest()})

    def content_digest(self) -> Digest:
        """Digest of everything but the digest."""
        return digest("segment", SEGMENT_VERSION, self.model_dump(mode="json", exclude={"digest"}))


class Segment:
    """A segment on disk. A file's digest is checked before it is opened, and once."""

    def __init__(self, directory: Path, manifest: SegmentManifest) -> None:
        self.directory = directory
        self.manifest = manifest
        self._checked: set[str] = set()

    def __len__(self) -> int:
        return self.manifest.n_chunks

    @property
    def digest(self) -> Digest:
        """The segment's name."""
        return self.manifest.digest

    @cached_property
    def chunks(self) -> ChunkTable:
        """The chunks, one row a vector."""
        table = ChunkTable(self.checked(CHUNKS))
        self._expect(CHUNKS, len(table))
        return table

    @cached_property
    def vectors(self) -> Vectors:
        """Memory-mapped, shape (chunks, dimensions)."""
        found: Vectors = np.load(self.checked(VECTORS), mmap_mode="r", allow_pickle=False)
        if found.dtype != np.float32 or found.shape[1:] != (self.manifest.dimensions,):
            raise damaged(self.directory, f"{VECTORS} is {found.dtype} {found.shape}")
        self._expect(VECTORS, len(found))
        return found

    def open_codes(self) -> "ApproximateSearch | None":
        """How a large segment is searched; None where all vectors are compared.

        It is read anew each time: who gets it may add the rows of other segments to it.
        """
        from tasks.index.approximate import ApproximateSearch, effort_name

        kind = self.manifest.kind
        if kind == "flat":
            return None
        effort = self.manifest.parameters[effort_name(kind)]
        return ApproximateSearch.read(self.checked(FAISS), kind, effort)

    def batches(
        self, live: NDArray[np.bool_], columns: list[str] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Any]]:
        """Iterate over (rows, batch) of the chunks that `live`, shape (rows,), marks.

        `rows` is shape (n,), the row of each chunk; `batch` is a `pyarrow.RecordBatch` of the same
        length.
        """
        start = 0
        for batch in self.chunks.batches(columns):
            rows = np.flatnonzero(live[start : start + batch.num_rows])
            if len(rows) == batch.num_rows:
                yield rows + start, batch
            elif len(rows):
                yield rows + start, batch.take(positions(rows))
            start += batch.num_rows

    def rows_of(self, doc_ids: Sequence[str]) -> NDArray[np.bool_]:
        """Shape (rows,): which rows are of one of these documents.

        Who deletes a few rows needn't read all texts: a file that has the size, the times and the
        inode that it had when it was last checked isn't checked again. Who searches or copies the
        segment checks every byte.

        Raises:
            CorruptArtifact: the chunks are missing or have other bytes.
        """
        if CHUNKS not in self._checked and self._stamp() != read_json(self.directory / _STAMP):
            self.remember()
        return ChunkTable(self.directory / CHUNKS).rows_of(doc_ids)

    def remember(self) -> None:
        """Check the chunks, and keep when that was, for `rows_of`."""
        stamp = self._stamp()
        self.checked(CHUNKS)
        write_json(self.directory / _STAMP, stamp)

    def _stamp(self) -> str:
        try:
            status = (self.directory / CHUNKS).stat()
        except OSError as error:
            raise damaged(self.directory, f"{CHUNKS} can't be read: {error}") from error
        return file_stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def checked(self, name: str) -> Path:
        """Path of a file whose bytes are those that were written.

        Raises:
            CorruptArtifact: it is missing or has other bytes.
        """
        path = self.directory / name
        if name not in self._checked:
            expected = self.manifest.files.get(name)
            try:
                found = file_digest(path)
            except OSError as error:
                raise damaged(self.directory, f"{name} can't be read: {error}") from error
            if found != expected:
                raise damaged(
                    self.directory,
                    f"{name} has digest {found[:12]}, expected {expected or '-':.12}",
                )
            self._checked.add(name)
        return path

    def check(self) -> None:
        """Check every file.

        Raises:
            CorruptArtifact: one is missing or has other bytes.
        """
        for name in self.manifest.files:
            self.checked(name)

    def _expect(self, name: str, rows: int) -> None:
        if rows != len(self):
            raise damaged(self.directory, f"{name} has {rows} rows, the manifest says {len(self)}")


def load_segment(room: Path, name: Digest) -> Segment:
    """Read a segment's manifest; other files aren't touched.

    Args:
        room: directory of all index versions.
        name: digest of the segment.

    Raises:
        CorruptArtifact: the manifest is missing, malformed, belongs to another segment, or has any
            other byte than what `write_manifest` wrote.
    """
    directory = room / SEGMENTS / name
    try:
        text = (directory / MANIFEST).read_bytes()
        manifest = SegmentManifest.model_validate_json(text)
    except (OSError, ValidationError) as error:
        raise damaged(directory, f"{MANIFEST} can't be read: {error}") from error
    if not manifest.content_digest() == manifest.digest == name:
        raise damaged(directory, f"{MANIFEST} isn't the one that the segment is named by")
    if text != _text(manifest):
        raise damaged(directory, f"{MANIFEST} was changed after the segment was written")
    return Segment(directory, manifest)


def write_manifest(directory: Path, manifest: SegmentManifest) -> None:
    """Write the last file of a segment."""
    write_atomic(directory / MANIFEST, _text(manifest))


def _text(manifest: SegmentManifest) -> bytes:
    return json_text(manifest.model_dump(mode="json")).encode()


class VectorWriter:
    """Appends blocks of vectors to a `.npy` file whose length isn't known before."""

    def __init__(self, path: Path, dimensions: int) -> None:
        self._file = path.open("wb")
        self._dimensions = dimensions
        self.rows = 0
        self._header()

    def add(self, block: Vectors) -> None:
        """Append rows."""
        self._file.write(np.ascontiguousarray(block, dtype=np.float32).data)
        self.rows += len(block)

    def close(self) -> None:
        """Write how many rows there are."""
        self._file.seek(0)
        self._header()
        self._file.close()

    def _header(self) -> None:
        # NumPy leaves room for a first axis of any length, so that this can be written again.
        np.lib.format.write_array_header_1_0(
            self._file,
            {"descr": "<f4", "fortran_order": False, "shape": (self.rows, self._dimensions)},
        )


@contextmanager
def writing_vectors(path: Path, dimensions: int) -> Iterator[VectorWriter]:
    """Open a `VectorWriter` and close it."""
    writer = VectorWriter(path, dimensions)
    try:
        yield writer
    finally:
        writer.close()


def release(vectors: NDArray[Any]) -> None:
    """Let go of the pages of a memory-mapped array; they are read again when they are needed.

    They count as this process's memory although the system could take them back at any time, and
    a build passes over every vector of a segment several times.
    """
    base: object = vectors
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def blocks(rows: int, size: int = BATCH) -> Iterator[slice]:
    """Cut `rows` into slices that fit into memory."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def damaged(directory: Path, what: str) -> CorruptArtifact:
    """The error for a segment whose bytes aren't those that were built."""
    return CorruptArtifact(
        f"The index segment {directory.name[:12]} is damaged: {what}.",
        next_step=f"Delete {directory} and run again: what it held is built anew.",
        directory=str(directory),
    )
