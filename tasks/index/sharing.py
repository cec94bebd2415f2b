"""Index versions that stay -> the segments, words and embedding caches that none of them uses."""

from collections.abc import Iterator
from pathlib import Path

from tasks.config import Chunking, IndexSettings
from tasks.digest import Digest
from tasks.errors import CorruptArtifact
from tasks.index.cache import EMBEDDINGS
from tasks.index.manifest import SEGMENTS, has_segments, load_version
from tasks.index.postings import LEXICAL

SHARED = (SEGMENTS, EMBEDDINGS, LEXICAL)
"""Directories of the index room that aren't versions."""


def version_directories(room: Path) -> list[Path]:
    """Finished versions in an index room, in the order of their names."""
    if not room.is_dir():
        return []
    return sorted(
        path
        for path in room.iterdir()
        if path.is_dir() and path.name[0] != "." and path.name not in SHARED
    )


def version_to_start_from(
    room: Path, *, chunking: Chunking, embedding: Digest, index: IndexSettings
) -> Path | None:
    """The version of which a new one can share most.

    The newest of those whose segments it can share; else of those by the same model; else of all,
    so that it can be said what differs. Manifests that can't be read are passed over, also those
    that another version of Ratchet wrote: that costs copying, and no embedding.
    """
    best, best_rank = None, 0
    for directory in sorted(version_directories(room), key=lambda path: path.stat().st_mtime):
        try:
            version = load_version(directory)
        except CorruptArtifact:
            continue
        if not has_segments(directory, version):
            continue
        same_model = version.embedding_digest == embedding
        same_rows = same_model and (version.chunking, version.index) == (chunking, index)
        rank = 1 + same_model + same_rows
        if rank >= best_rank:
            best, best_rank = directory, rank
    return best


def unused_parts(room: Path, *, leaving: set[str]) -> Iterator[Path]:
    """Segments, their words and embedding caches that no version needs once some have gone.

    When the manifest of a version that stays can't be read, what it needs isn't known: nothing
    is unused.

    Args:
        room: directory of all index versions.
        leaving: names of versions that go.
    """
    used: dict[str, set[Digest]] = {name: set() for name in SHARED}
    for directory in version_directories(room):
        if directory.name in leaving:
            continue
        try:
            version = load_version(directory)
        except CorruptArtifact:
            return
        segments = {use.digest for use in version.segments}
        used[SEGMENTS] |= segments
        used[LEXICAL] |= segments
        used[EMBEDDINGS].add(version.embedding_digest)
    for name, needed in used.items():
        if not (room / name).is_dir():
            continue
        for path in sorted((room / name).iterdir()):
            if path.is_dir() and path.name[0] != "." and path.name not in needed:
                yield path
