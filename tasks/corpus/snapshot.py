"""All sources -> one corpus snapshot, named by a digest of everything that its documents say."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.config import (
    BeirSource,
    CorpusSettings,
    FolderSource,
    PythonSource,
    Settings,
    Source,
)
from tasks.corpus.beir import read_beir
from tasks.corpus.docstrings import read_docstrings
from tasks.corpus.document import Document, Problem
from tasks.corpus.folder import read_folder
from tasks.corpus.structure import Block
from tasks.digest import Digest, digest, file_digest, text_digest
from tasks.errors import CorpusError, CorruptArtifact
from tasks.store import new_directory, write_json

SNAPSHOT_VERSION = 1
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
    def document_digests(self) -> dict[str, Digest]:
        """Digest of each document by its id."""
        return {document.doc_id: document.digest for document in self.documents}


class SnapshotManifest(Settings):
    """What a stored snapshot holds."""

    digest: Digest
    n_documents: int
    documents_by_source: dict[str, int]
    files: dict[str, Digest]


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
    seen = 0
    for source in settings.sources:
        before = seen
        first_with_text: dict[Digest, str] = {}
        for item in _read(source, root, settings.max_document_bytes):
            seen += 1
            if progress is not None and seen % _REPORT_EVERY == 0:
                progress(seen)
            if isinstance(item, Problem):
                problems.append(item)
            elif problem := _duplicate(item, source.name, documents, first_with_text):
                problems.append(problem)
            else:
                documents[item.doc_id] = item
        if seen == before:
            detail = f"The source ({source.kind}) has nothing that could be a document."
            problems.append(Problem(source.name, source.name, "empty", detail))
    if progress is not None:
        progress(seen)
    return make_snapshot(documents.values(), problems)


def make_snapshot(documents: Iterable[Document], problems: Iterable[Problem]) -> CorpusSnapshot:
    """Order documents, whose ids must be unique, and name them."""
    ordered = tuple(sorted(documents, key=lambda document: document.doc_id))
    digests = [document.digest for document in ordered]
    return CorpusSnapshot(digest("corpus", SNAPSHOT_VERSION, digests), ordered, tuple(problems))


def save_snapshot(snapshot: CorpusSnapshot, room: Path) -> Path:
    """Store a snapshot as `room/<digest>/` and return that directory.

    Documents that are stored already aren't written again; `problems.json` always tells about
    the last reading.
    """
    import pyarrow.parquet

    directory = room / snapshot.digest
    if not directory.is_dir():
        with new_directory(directory) as partial:
            table = partial / "documents.parquet"
            pyarrow.parquet.write_table(_table(snapshot.documents), table, compression="zstd")
            sources = Counter(document.metadata["source"] for document in snapshot.documents)
            manifest = SnapshotManifest(
                digest=snapshot.digest,
                n_documents=len(snapshot.documents),
                documents_by_source=dict(sorted(sources.items())),
                files={table.name: file_digest(table)},
            )
            write_json(partial / "manifest.json", manifest.model_dump(mode="json"))
    write_json(directory / "problems.json", [asdict(problem) for problem in snapshot.problems])
    return directory


def load_snapshot(directory: Path) -> CorpusSnapshot:
    """Read a stored snapshot and check that it is what its name says.

    Raises:
        CorpusError: there is no such directory.
        CorruptArtifact: a file is missing or its bytes aren't those that were written.
    """
    import pyarrow.parquet

    if not directory.is_dir():
        raise CorpusError(
            f"There is no corpus snapshot {str(directory)!r}.",
            next_step="Read the corpus again with: dvc repro",
        )
    try:
        stored = json.loads((directory / "manifest.json").read_bytes())
        manifest = SnapshotManifest.model_validate(stored)
        for name, expected in manifest.files.items():
            found = file_digest(directory / name)
            if found != expected:
                raise _corrupt(directory, f"{name} has digest {found}, expected {expected}")
        rows = pyarrow.parquet.read_table(directory / "documents.parquet").to_pylist()
        problems = json.loads((directory / "problems.json").read_bytes())
        snapshot = make_snapshot(
            (
                Document(
                    row["doc_id"],
                    row["title"],
                    row["text"],
                    dict(row["metadata"]),
                    tuple(Block(**block) for block in row["blocks"]),
                )
                for row in rows
            ),
            (Problem(**problem) for problem in problems),
        )
    except (OSError, ValueError, TypeError, KeyError, ValidationError) as error:
        raise _corrupt(directory, f"{type(error).__name__}: {error}") from error
    if snapshot.digest != manifest.digest or directory.name != manifest.digest:
        raise _corrupt(directory, f"its documents have the digest {snapshot.digest}")
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


def _read(source: Source, root: Path, max_bytes: int) -> Iterator[Document | Problem]:
    match source:
        case FolderSource():
            return read_folder(source, root=root, max_document_bytes=max_bytes)
        case BeirSource():
            return read_beir(source, root=root, max_document_bytes=max_bytes)
        case PythonSource():
            return read_docstrings(source, max_document_bytes=max_bytes)


def _duplicate(
    document: Document,
    source: str,
    documents: Mapping[str, Document],
    first_with_text: dict[Digest, str],
) -> Problem | None:
    if same_id := documents.get(document.doc_id):
        other = same_id.metadata["source"]
        detail = f"The source {other!r} has a document with this id already."
        return Problem(source, document.doc_id, "duplicate", detail)
    first = first_with_text.setdefault(text_digest(document.text), document.doc_id)
    if first != document.doc_id:
        detail = f"Its text is the same as that of {first!r}."
        return Problem(source, document.doc_id, "duplicate", detail)
    return None


def _table(documents: tuple[Document, ...]) -> Any:
    import pyarrow as pa

    metadata = pa.array(
        [sorted(document.metadata.items()) for document in documents],
        type=pa.map_(pa.string(), pa.string()),
    )
    columns = {
        name: pa.array([getattr(document, name) for document in documents], type=pa.large_string())
        for name in ("doc_id", "title", "text")
    }
    fields = {"kind": pa.string(), "start": pa.int64(), "end": pa.int64(), "level": pa.int8()}
    blocks = pa.array(
        [[asdict(block) for block in document.blocks] for document in documents],
        type=pa.list_(pa.struct(fields)),
    )
    return pa.table(columns | {"metadata": metadata, "blocks": blocks})


def _corrupt(directory: Path, what: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"The corpus snapshot {directory.name[:12]} is damaged: {what}.",
        next_step=f"Delete {directory} and read the corpus again.",
        directory=str(directory),
    )
