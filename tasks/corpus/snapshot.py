"""All sources -> one corpus snapshot, named by a digest of everything that its documents say."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.config import (
    BeirSource,
    CorpusSettings,
    FolderSource,
    PythonSource,
    Source,
)
from tasks.corpus.beir import read_beir
from tasks.corpus.checks import checked
from tasks.corpus.docstrings import read_docstrings
from tasks.corpus.document import Document, Problem
from tasks.corpus.duplicates import Duplicates
from tasks.corpus.folder import read_folder
from tasks.corpus.parser_process import ParserProcess
from tasks.corpus.stored import corrupt, open_snapshot, store_documents
from tasks.digest import Digest, digest, text_digest

SNAPSHOT_VERSION = 2
"""Bumped when equal sources give another snapshot."""

_REPORT_EVERY = 100


@dataclass(frozen=True, slots=True)
class CorpusSnapshot:
    """All documents at one time.

    Attributes:
        digest: identity of the documents; problems are no part of it.
        documents: ordered by `doc_id`, which is unique.
        problems: what the sources have but can't give.
    """

    digest: Digest
    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]

    @property
    def n_documents(self) -> int:
        """How many documents there are."""
        return len(self.documents)

    def read(self, ids: Collection[str] | None = None) -> Iterator[Document]:
        """Documents ordered by id: all of them, or those with these ids."""
        return (item for item in self.documents if ids is None or item.doc_id in ids)

    @property
    def document_digests(self) -> dict[str, Digest]:
        """Digest of each document by its id."""
        return {document.doc_id: document.digest for document in self.documents}


@dataclass(frozen=True, slots=True)
class CorpusDiff:
    """Ids of documents that differ between two snapshots, each ordered."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def read_corpus(
    settings: CorpusSettings, *, root: Path, progress: Callable[[int], None] | None = None
) -> CorpusSnapshot:
    """Read all sources; what is wrong with single documents never stops the others.

    The second document with an id that any source had before, or with a text that its own source
    had before, is a `Problem("duplicate")` that names the first. A source that is there and has
    nothing in it is a `Problem("empty")`.

    Args:
        settings: the sources; relative paths are relative to `root`.
        root: directory of the project.
        progress: called now and then with the number of documents and problems seen so far.

    Raises:
        CorpusError: a source is missing or can't be read at all.
    """
    documents: dict[str, Document] = {}
    problems: list[Problem] = []
    duplicates = Duplicates()
    seen = 0
    for source in settings.sources:
        before = seen
        for item in _read(source, root, settings):
            seen += 1
            if progress is not None and seen % _REPORT_EVERY == 0:
                progress(seen)
            if isinstance(item, Problem):
                problems.append(item)
            elif problem := duplicates.check(
                item.doc_id, text_digest(item.text), source=source.name
            ):
                problems.append(problem)
            else:
                documents[item.doc_id] = item
        if seen == before:
            problems.append(empty_source(source))
    if progress is not None:
        progress(seen)
    return make_snapshot(documents.values(), problems)


def make_snapshot(documents: Iterable[Document], problems: Iterable[Problem]) -> CorpusSnapshot:
    """Order documents, whose ids must be unique, and name them."""
    ordered = tuple(sorted(documents, key=lambda document: document.doc_id))
    digests = [document.digest for document in ordered]
    return CorpusSnapshot(snapshot_digest(digests), ordered, tuple(problems))


def snapshot_digest(digests: Sequence[Digest]) -> Digest:
    """Name a snapshot by the digests of its documents, which are ordered by id."""
    return digest("corpus", SNAPSHOT_VERSION, digests)


def empty_source(source: Source) -> Problem:
    """The problem with a source that is there and has nothing in it."""
    detail = f"The source ({source.kind}) has nothing that could be a document."
    return Problem(source.name, source.name, "empty", detail)


def save_snapshot(snapshot: CorpusSnapshot, room: Path) -> Path:
    """Store a snapshot as `room/<digest>/` and return that directory.

    Documents that are stored already aren't written again; `problems.json` always tells about
    the last reading.
    """
    documents = ((document, document.digest) for document in snapshot.documents)
    return store_documents(room, snapshot.digest, documents, snapshot.problems).directory


def load_snapshot(directory: Path) -> CorpusSnapshot:
    """Read a stored snapshot and check that it is what its name says.

    Raises:
        CorpusError: there is no such directory.
        CorruptArtifact: a file is missing or its bytes aren't those that were written.
    """
    stored = open_snapshot(directory)
    try:
        snapshot = make_snapshot(stored.read(), stored.problems)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise corrupt(directory, f"{type(error).__name__}: {error}") from error
    if snapshot.digest != stored.digest:
        raise corrupt(directory, f"its documents have the digest {snapshot.digest}")
    return snapshot


def compare(old: CorpusSnapshot, new: CorpusSnapshot) -> CorpusDiff:
    """Which documents were added, changed (title, text or metadata) and removed."""
    return compare_digests(old.document_digests, new.document_digests)


def compare_digests(old: Mapping[str, Digest], new: Mapping[str, Digest]) -> CorpusDiff:
    """`compare` where only the documents' digests, by id, are known."""
    return CorpusDiff(
        added=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(key for key in new.keys() & old.keys() if new[key] != old[key])),
        removed=tuple(sorted(old.keys() - new.keys())),
    )


def _read(source: Source, root: Path, settings: CorpusSettings) -> Iterator[Document | Problem]:
    limit = settings.max_document_bytes
    match source:
        case FolderSource():
            return _read_folder(source, root, settings)
        case BeirSource():
            items = read_beir(source, root=root, max_document_bytes=limit)
        case PythonSource():
            items = read_docstrings(source, max_document_bytes=limit)
    return checked(items, settings.checks)


def _read_folder(
    source: FolderSource, root: Path, settings: CorpusSettings
) -> Iterator[Document | Problem]:
    with ParserProcess(settings.parser) as parser:
        yield from read_folder(
            source,
            root=root,
            max_document_bytes=settings.max_document_bytes,
            parse_file=parser,
            checks=settings.checks,
        )
