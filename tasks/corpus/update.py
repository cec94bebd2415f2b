"""All sources and the last reading -> a stored snapshot; only what was changed is opened."""

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.config import BeirSource, CorpusSettings, FolderSource, PythonSource, Source
from tasks.corpus.beir import list_beir, read_beir
from tasks.corpus.checks import CHECKS_VERSION, checked
from tasks.corpus.docstrings import list_packages, read_docstrings
from tasks.corpus.document import Document, Problem
from tasks.corpus.duplicates import Duplicates
from tasks.corpus.folder import list_files, read_file
from tasks.corpus.parse import PARSER_VERSION
from tasks.corpus.parser_process import ParserProcess
from tasks.corpus.reading import (
    Found,
    Header,
    Key,
    UnitReading,
    is_current,
    listing_digest,
    load_header,
    load_units,
    save_reading,
)
from tasks.corpus.snapshot import SNAPSHOT_VERSION, empty_source, snapshot_digest
from tasks.corpus.spool import DocumentSpool
from tasks.corpus.stored import StoredSnapshot, open_snapshot, store_documents
from tasks.corpus.units import Unit
from tasks.digest import Digest, digest
from tasks.store import scratch_directory

_PARSERS = ("markdown-it-py", "pypdf", "selectolax")
_REPORT_EVERY = 100


@dataclass(frozen=True, slots=True)
class CorpusUpdate:
    """What a reading gave and what it cost.

    Attributes:
        snapshot: the corpus now.
        opened: units that were read: files of folders, whole BEIR files, Python sources.
        listed: units that there are.
    """

    snapshot: StoredSnapshot
    opened: int
    listed: int


def update_corpus(
    settings: CorpusSettings,
    *,
    root: Path,
    room: Path,
    readings: Path,
    progress: Callable[[int], None] | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> CorpusUpdate:
    """Read what was changed since the last reading and store the snapshot.

    The second document with an id that any source had before, or with a text that its own source
    had before, is a `Problem("duplicate")` that names the first. A source that is there and has
    nothing in it is a `Problem("empty")`. What is wrong with single documents never stops the
    others.

    It gives the snapshot that a first reading would give. A file is opened only when its size,
    modification time, change time or inode differs from the last reading's, when it was written
    so shortly before that reading that a later change could have the same times, or when it
    couldn't be opened then. With other settings, parsers or another place of the project,
    everything is read. Where nothing was changed, neither documents nor Arrow are loaded. What is
    read waits on disk until all ids are known: no more than a batch of texts is in memory.

    Args:
        settings: the sources; relative paths are relative to `root`.
        root: directory of the project.
        room: directory of all snapshots.
        readings: directory where readings are remembered; may be deleted at any time.
        progress: called now and then with the number of units seen so far.
        clock: nanoseconds since 1970.

    Raises:
        CorpusError: a source is missing or can't be read at all.
    """
    directory = readings / _settings_key(settings, root)
    now = clock()
    listed = [(source, unit) for source in settings.sources for unit in _list(source, root, now)]
    listing = listing_digest((source.name, unit) for source, unit in listed)
    header = load_header(directory)
    before = _open(room, header)
    if header is not None and before is not None and is_current(header, listing, before):
        return CorpusUpdate(before, 0, len(listed))
    with (
        ParserProcess(settings.parser) as parser,
        scratch_directory(room, "reading") as scratch,
    ):
        reader = _Reader(
            settings, root, progress, parser, DocumentSpool(scratch / "documents.arrow")
        )
        old = load_units(directory, header) if header is not None else {}
        units = {
            (source.name, unit.name): reader.take(source, unit, old.get((source.name, unit.name)))
            for source, unit in listed
        }
        kept, problems = _resolve(settings, units)
        stored = before.digests.to_dict() if before is not None else {}
        missing = {
            key
            for key, found in kept.values()
            if found.digest not in reader.documents and stored.get(found.doc_id) != found.digest
        }
        for source, unit in listed:
            # Its text was left out before, as a duplicate, or the last snapshot is gone.
            if (source.name, unit.name) in missing:
                units[source.name, unit.name] = reader.read(source, unit)
        if missing:
            kept, problems = _resolve(settings, units)
        ordered = [kept[doc_id][1].digest for doc_id in sorted(kept)]
        name = snapshot_digest([ordered])
        snapshot = store_documents(room, name, _tables(ordered, reader.documents, before), problems)
    save_reading(directory, listing=listing, snapshot=snapshot, units=units)
    return CorpusUpdate(snapshot, reader.opened, len(listed))


@dataclass(slots=True)
class _Reader:
    """Reads units and puts the documents aside."""

    settings: CorpusSettings
    root: Path
    progress: Callable[[int], None] | None
    parser: ParserProcess
    documents: DocumentSpool
    opened: int = 0
    seen: int = 0

    def take(self, source: Source, unit: Unit, known: UnitReading | None) -> UnitReading:
        """What the last reading found where the unit is as it was, else what it holds now."""
        self.seen += 1
        if self.progress is not None and self.seen % _REPORT_EVERY == 0:
            self.progress(self.seen)
        if known is not None and known.is_settled and known.stamp == unit.stamp:
            return known
        return self.read(source, unit)

    def read(self, source: Source, unit: Unit) -> UnitReading:
        if unit.problem is not None:
            return UnitReading(unit.stamp, unit.is_settled, [unit.problem])
        self.opened += 1
        reading = UnitReading(unit.stamp, unit.is_settled)
        for item in self._items(source, unit):
            if isinstance(item, Problem):
                reading.items.append(item)
                # Tomorrow it may be readable, although nothing shows that from outside.
                reading.is_settled &= item.reason != "unreadable"
            else:
                found = Found.of(item)
                self.documents.add(item, found.digest)
                reading.items.append(found)
        return reading

    def _items(self, source: Source, unit: Unit) -> Iterable[Document | Problem]:
        limit, checks = self.settings.max_document_bytes, self.settings.checks
        match source:
            case FolderSource():
                return read_file(
                    source,
                    unit.name,
                    root=self.root,
                    max_document_bytes=limit,
                    parse_file=self.parser,
                    checks=checks,
                )
            case BeirSource():
                items = read_beir(source, root=self.root, max_document_bytes=limit)
            case PythonSource():
                items = read_docstrings(source, max_document_bytes=limit)
        return checked(items, checks)


def _settings_key(settings: CorpusSettings, root: Path) -> Digest:
    """What decides, besides the files themselves, which documents they give."""
    return digest(
        "reading",
        PARSER_VERSION,
        {
            "settings": settings.model_dump(mode="json"),
            "root": str(root.resolve()),
            "snapshot_version": SNAPSHOT_VERSION,
            "checks_version": CHECKS_VERSION,
            "python": platform.python_version(),
            "parsers": {name: version(name) for name in _PARSERS},
        },
    )


def _list(source: Source, root: Path, now_ns: int) -> list[Unit]:
    match source:
        case FolderSource():
            return list_files(source, root=root, now_ns=now_ns)
        case BeirSource():
            return list_beir(source, root=root, now_ns=now_ns)
        case PythonSource():
            return list_packages(source, now_ns=now_ns)


def _open(room: Path, header: Header | None) -> StoredSnapshot | None:
    if header is None or not (room / header.snapshot).is_dir():
        return None
    return open_snapshot(room / header.snapshot)


def _resolve(
    settings: CorpusSettings, units: dict[Key, UnitReading]
) -> tuple[dict[str, tuple[Key, Found]], list[Problem]]:
    """Documents by id, without duplicates, and all problems in the order of the sources."""
    kept: dict[str, tuple[Key, Found]] = {}
    problems: list[Problem] = []
    duplicates = Duplicates()
    filled: set[str] = set()
    for key, unit in units.items():
        name = key[0]
        for item in unit.items:
            filled.add(name)
            if isinstance(item, Problem):
                problems.append(item)
            elif problem := duplicates.check(item.doc_id, item.text_digest, source=name):
                problems.append(problem)
            else:
                kept[item.doc_id] = (key, item)
    problems += [empty_source(source) for source in settings.sources if source.name not in filled]
    return kept, problems


def _tables(
    ordered: list[Digest], fresh: DocumentSpool, before: StoredSnapshot | None
) -> Iterator[Any]:
    """Documents ordered by id: those that were read now, and the others from the last snapshot."""
    new = fresh.tables([found for found in ordered if found in fresh])
    if before is None:
        return new
    return before.merged({found for found in ordered if found not in fresh}, new)
