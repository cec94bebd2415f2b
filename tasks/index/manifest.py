"""The manifest of an immutable index version, and how it is named; read without NumPy."""

import json
from pathlib import Path

from tasks.config import Chunking, IndexSettings, Settings
from tasks.corpus.chunk import CHUNKING_VERSION
from tasks.digest import Digest, digest
from tasks.errors import CorruptArtifact
from tasks.store import json_text, write_atomic

INDEX_VERSION = 2
"""Bumped when an equal corpus, chunking and embedding model give another index."""

MANIFEST = "manifest.json"
SEGMENTS = "segments"
"""Directory of all segments, inside the index room."""


class SegmentUse(Settings):
    """One segment of a version, and how much of it the version has deleted."""

    digest: Digest
    n_chunks: int
    """Rows of the segment, the deleted ones included."""
    n_deleted: int = 0


class IndexVersion(Settings):
    """The manifest of an index directory."""

    digest: Digest
    """Of the corpus snapshot, the chunking, the embedding model and the index settings."""
    corpus_digest: Digest
    chunking: Chunking
    embedding: str
    """Name of the embedding model, for people; its identity is `embedding_digest`."""
    embedding_digest: Digest
    n_documents: int
    n_chunks: int
    """Chunks that can be found."""
    dimensions: int
    index: IndexSettings
    """As it was asked for; each segment says how it is searched."""
    segments: tuple[SegmentUse, ...]
    """Oldest first; other versions may use them too."""
    files: dict[str, Digest]
    """SHA-256 of each file of the version by its path in the directory; segments name theirs."""


def index_digest(
    snapshot_digest: Digest,
    chunking: Chunking,
    embedding_digest: Digest,
    index: IndexSettings | None = None,
) -> Digest:
    """Name the index of a corpus before it is built, so that work already done is found.

    The name is of what the index holds and not of how it came about: which segments it consists
    of is no part of it.
    """
    return digest(
        "index",
        INDEX_VERSION,
        {
            "corpus": snapshot_digest,
            "chunking": chunking.model_dump(mode="json"),
            "chunking_version": CHUNKING_VERSION,
            "embedding": embedding_digest,
            "index": (index or IndexSettings()).model_dump(mode="json"),
        },
    )


def load_version(directory: Path) -> IndexVersion:
    """Read an index's manifest and check that it names itself; other files aren't touched.

    Raises:
        CorruptArtifact: the manifest is missing, malformed, belongs to another index, or has any
            other byte than what `save_version` wrote.
    """
    try:
        text = (directory / MANIFEST).read_bytes()
        fields = json.loads(text)
        fields.pop("content")
        version = IndexVersion.model_validate(fields)
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise corrupt(directory, f"{MANIFEST} can't be read: {error}") from error
    named = index_digest(
        version.corpus_digest, version.chunking, version.embedding_digest, version.index
    )
    if not named == version.digest == directory.name:
        raise corrupt(directory, f"{MANIFEST} describes {named[:12]} and says {version.digest!r}")
    if text != _manifest(version):
        raise corrupt(directory, f"{MANIFEST} was changed after the index was built")
    return version


def save_version(directory: Path, version: IndexVersion) -> None:
    """Write an index's manifest, with a digest of all that it says."""
    write_atomic(directory / MANIFEST, _manifest(version))


def _manifest(version: IndexVersion) -> bytes:
    fields = version.model_dump(mode="json")
    return json_text(fields | {"content": digest("index-manifest", 1, fields)}).encode()


def has_segments(directory: Path, version: IndexVersion) -> bool:
    """Whether every segment of a version is there; their bytes aren't read."""
    return all((directory.parent / SEGMENTS / use.digest).is_dir() for use in version.segments)


def corrupt(directory: Path, what: str) -> CorruptArtifact:
    """The error for an index whose bytes aren't those that were built."""
    return CorruptArtifact(
        f"The index {directory.name[:12]} is damaged: {what}.",
        next_step=f"Delete {directory} and run again: it is built anew.",
        directory=str(directory),
    )
