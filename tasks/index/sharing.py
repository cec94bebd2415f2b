"""Index versions that stay -> the segments, words and embedding caches that none of them uses."""

from collections.abc import Iterator
from pathlib import Path

from tasks.digest import Digest
from tasks.errors import CorruptArtifact
from tasks.index.cache import EMBEDDINGS
from tasks.index.postings import LEXICAL
from tasks.index.segment import SEGMENTS
from tasks.index.version import has_segments, load_version

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


def newest_version(room: Path, embedding: Digest) -> Path | None:
    """The version that was built last with an embedding model, where its manifest is whole."""
    for directory in sorted(
        version_directories(room), key=lambda path: path.stat().st_mtime, reverse=True
    ):
        try:
            version = load_version(directory)
        except CorruptArtifact:
            # Also what another version of Ratchet built: it costs a rebuild and no embedding.
            continue
        if version.embedding_digest == embedding and has_segments(directory, version):
            return directory
    return None


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
