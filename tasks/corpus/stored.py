"""A snapshot on disk: known by its manifest, its documents read when they are asked for."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.config import Settings
from tasks.corpus.digests import DocumentDigests
from tasks.corpus.document import Document, Problem
from tasks.corpus.documents import (
    merged_tables,
    read_documents,
    read_metadata,
    write_documents,
)
from tasks.corpus.snapshot import snapshot_digest
from tasks.digest import Digest, file_digest
from tasks.errors import CorpusError, CorruptArtifact
from tasks.store import new_directory, write_json

DOCUMENTS = "documents.parquet"
MANIFEST = "manifest.json"
PROBLEMS = "problems.json"


class SnapshotManifest(Settings):
    """What a stored snapshot holds."""

    digest: Digest
    n_documents: int
    documents_by_source: dict[str, int]
    files: dict[str, Digest]


class StoredSnapshot:
    """All documents at one time, on disk.

    Opening it reads its manifest alone, so neither Arrow nor any text is loaded for a corpus that
    didn't change. Nothing that was changed since is ever given: digests are checked against the
    snapshot's name, and each document that is read against its digest.

    Attributes:
        directory: where it lies; its name is the digest.
        manifest: what it holds.
    """

    def __init__(self, directory: Path, manifest: SnapshotManifest) -> None:
        self.directory = directory
        self.manifest = manifest

    @property
    def digest(self) -> Digest:
        """Identity of the documents; problems are no part of it."""
        return self.manifest.digest

    @property
    def n_documents(self) -> int:
        """How many documents there are."""
        return self.manifest.n_documents

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What the sources have but can't give, at the last reading that gave this snapshot.

        Raises:
            CorruptArtifact: the file of problems is missing or damaged.
        """
        try:
            rows = json.loads((self.directory / PROBLEMS).read_bytes())
            return tuple(Problem(**row) for row in rows)
        except (OSError, ValueError, TypeError) as error:
            raise corrupt(self.directory, f"{type(error).__name__}: {error}") from error

    @cached_property
    def digests(self) -> DocumentDigests:
        """Digest of each document, ordered by id; no text is read.

        Raises:
            CorruptArtifact: the file of documents is missing or damaged.
        """
        with self._explained():
            found = DocumentDigests.read(self.directory / DOCUMENTS)
        named = snapshot_digest(found.batches())
        if named != self.digest:
            raise corrupt(self.directory, f"its documents have the digest {named}")
        return found

    def read(self, ids: Collection[str] | None = None) -> Iterator[Document]:
        """Read documents ordered by id, a batch at a time; each is held against its digest.

        Args:
            ids: of those that are wanted, unknown ones are passed over; None: all.

        Raises:
            CorruptArtifact: the file of documents is missing or damaged.
        """
        with self._explained():
            for document, expected in read_documents(self.directory / DOCUMENTS, ids):
                found = document.digest
                if found != expected:
                    raise corrupt(
                        self.directory,
                        f"the document {document.doc_id!r} has digest {found}, expected {expected}",
                    )
                yield document

    def metadata(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Id and metadata of each document, ordered by id; no text is read.

        Raises:
            CorruptArtifact: the file of documents is missing or damaged.
        """
        # A document's own digest can't be checked without its text.
        self.check()
        with self._explained():
            yield from read_metadata(self.directory / DOCUMENTS)

    def merged(self, keep: Collection[Digest], new: Iterable[Any]) -> Iterator[Any]:
        """Tables for `store_documents`: some of these documents, and new ones.

        Args:
            keep: digests of those to keep.
            new: tables of documents ordered by id.

        Raises:
            CorruptArtifact: the file of documents is missing or damaged.
        """
        # What was damaged here would get a new and valid digest there.
        self.check()
        with self._explained():
            yield from merged_tables(self.directory / DOCUMENTS, keep, new)

    def check(self) -> None:
        """Check every byte of the documents.

        Raises:
            CorruptArtifact: their file is missing or has other bytes.
        """
        with self._explained():
            found = file_digest(self.directory / DOCUMENTS)
        expected = self.manifest.files.get(DOCUMENTS)
        if found != expected:
            raise corrupt(self.directory, f"{DOCUMENTS} has digest {found}, expected {expected}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a damaged file makes Arrow say into an error that says what to do."""
        import pyarrow as pa

        try:
            yield
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise corrupt(
                self.directory, f"{DOCUMENTS}: {type(error).__name__}: {error}"
            ) from error


def open_snapshot(directory: Path) -> StoredSnapshot:
    """Open a stored snapshot; its documents are read and checked when they are asked for.

    Raises:
        CorpusError: there is no such directory.
        CorruptArtifact: its manifest is missing or isn't that of this directory.
    """
    if not directory.is_dir():
        raise CorpusError(
            f"There is no corpus snapshot {str(directory)!r}.",
            next_step="Read the corpus again with: dvc repro",
        )
    try:
        stored = json.loads((directory / MANIFEST).read_bytes())
        manifest = SnapshotManifest.model_validate(stored)
    except (OSError, ValueError, ValidationError) as error:
        raise corrupt(directory, f"{type(error).__name__}: {error}") from error
    if manifest.digest != directory.name:
        raise corrupt(directory, f"its manifest is that of {manifest.digest}")
    return StoredSnapshot(directory, manifest)


def store_documents(
    room: Path,
    name: Digest,
    tables: Iterable[Any],
    problems: Sequence[Problem],
) -> StoredSnapshot:
    """Store a snapshot as `room/<name>/`; documents that are there already aren't written again.

    Args:
        room: directory of all snapshots.
        name: digest of the snapshot.
        tables: of documents ordered by id, from `document_tables` or `merged_tables`; not touched
            when the directory is there.
        problems: of this reading; they replace those of the one before.
    """
    directory = room / name
    if not directory.is_dir():
        with new_directory(directory) as partial:
            sources = write_documents(partial / DOCUMENTS, tables)
            manifest = SnapshotManifest(
                digest=name,
                n_documents=sources.total(),
                documents_by_source=dict(sorted(sources.items())),
                files={DOCUMENTS: file_digest(partial / DOCUMENTS)},
            )
            write_json(partial / MANIFEST, manifest.model_dump(mode="json"))
    write_json(directory / PROBLEMS, [asdict(problem) for problem in problems])
    return open_snapshot(directory)


def corrupt(directory: Path, what: str) -> CorruptArtifact:
    """The error for a snapshot whose bytes aren't those that were written."""
    return CorruptArtifact(
        f"The corpus snapshot {directory.name[:12]} is damaged: {what}.",
        next_step=f"Delete {directory} and read the corpus again.",
        directory=str(directory),
    )
