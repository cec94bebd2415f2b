"""What one immutable index version is made of, and how it is named."""

import json
from pathlib import Path
from typing import Literal

from tasks.config import Chunking, Settings
from tasks.corpus.chunk import CHUNKING_VERSION
from tasks.digest import Digest, digest, file_digest
from tasks.errors import CorruptArtifact
from tasks.store import json_text, write_atomic

INDEX_VERSION = 2
"""Bumped when an equal corpus, chunking and embedding model give another index."""

MANIFEST = "manifest.json"
VECTORS = "vectors.npy"
FAISS = "index.faiss"
DOCUMENTS = "documents.parquet"
"""Digest of each document by its id: what the next version is compared with."""


class IndexVersion(Settings):
    """The manifest of an index directory."""

    digest: Digest
    """Of the corpus snapshot, the chunking and the embedding model."""
    corpus_digest: Digest
    chunking: Chunking
    embedding: str
    """Name of the embedding model, for people; its identity is `embedding_digest`."""
    embedding_digest: Digest
    n_documents: int
    n_chunks: int
    dimensions: int
    kind: Literal["flat"] = "flat"
    """How vectors are searched; `flat` compares with every one of them, which is exact."""
    files: dict[str, Digest]
    """SHA-256 of each file by its path in the directory."""


def index_digest(
    snapshot_digest: Digest, chunking: Chunking, embedding_digest: Digest, kind: str = "flat"
) -> Digest:
    """Name the index of a corpus before it is built, so that work already done is found."""
    return digest(
        "index",
        INDEX_VERSION,
        {
            "corpus": snapshot_digest,
            "chunking": chunking.model_dump(mode="json"),
            "chunking_version": CHUNKING_VERSION,
            "embedding": embedding_digest,
            "kind": kind,
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
        version.corpus_digest, version.chunking, version.embedding_digest, version.kind
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


def check_files(directory: Path, version: IndexVersion) -> None:
    """Compare every file with the digest in the manifest.

    Raises:
        CorruptArtifact: a file is missing or has other bytes.
    """
    for name, expected in version.files.items():
        try:
            found = file_digest(directory / name)
        except OSError as error:
            raise corrupt(directory, f"{name} can't be read: {error}") from error
        if found != expected:
            raise corrupt(directory, f"{name} has digest {found[:12]}, expected {expected[:12]}")


def corrupt(directory: Path, what: str) -> CorruptArtifact:
    """The error for an index whose bytes aren't those that were built."""
    return CorruptArtifact(
        f"The index {directory.name[:12]} is damaged: {what}.",
        next_step=f"Delete {directory} and run again: it is built anew.",
        directory=str(directory),
    )
