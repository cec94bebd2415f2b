"""All sources -> one corpus snapshot, named by a digest of everything that its documents say."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

from tasks.config import Source
from tasks.corpus.digests import DocumentDigests
from tasks.corpus.document import Document, Problem
from tasks.digest import Digest, digest_of_list

SNAPSHOT_VERSION = 2
"""Bumped when equal sources give another snapshot."""


class Snapshot(Protocol):
    """All documents at one time, none of which has to be in memory."""

    @property
    def digest(self) -> Digest:
        """Identity of the documents; problems are no part of it."""
        ...

    @property
    def n_documents(self) -> int:
        """How many documents there are."""
        ...

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the sources have but can't give."""
        ...

    @property
    def digests(self) -> DocumentDigests:
        """Digest of each document, ordered by id."""
        ...

    def read(self, ids: Collection[str] | None = None) -> Iterator[Document]:
        """Documents ordered by id: all of them, or those with these ids."""
        ...

    def metadata(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Id and metadata of each document, ordered by id."""
        ...


def snapshot_digest(batches: Iterable[list[Digest]]) -> Digest:
    """Name a snapshot by the digests of its documents, which are ordered by id."""
    return digest_of_list("corpus", SNAPSHOT_VERSION, batches)


def empty_source(source: Source) -> Problem:
    """The problem with a source that is there and has nothing in it."""
    detail = f"The source ({source.kind}) has nothing that could be a document."
    return Problem(source.name, source.name, "empty", detail)
