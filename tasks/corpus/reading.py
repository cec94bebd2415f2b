"""What the last reading of a corpus found, kept so that the next opens only what was changed."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.config import Settings
from tasks.corpus.document import Document, Problem
from tasks.corpus.stored import PROBLEMS, StoredSnapshot
from tasks.corpus.units import Unit
from tasks.digest import Digest, file_digest, text_digest
from tasks.store import write_json, write_lines

READING_VERSION = 1
"""Bumped when what is stored here would be read wrongly by newer code."""

_HEADER = "reading.json"


@dataclass(frozen=True, slots=True)
class Found:
    """A document that a unit holds, without its text."""

    doc_id: str
    digest: Digest
    text_digest: Digest

    @classmethod
    def of(cls, document: Document) -> "Found":
        """What is remembered of a document."""
        return cls(document.doc_id, document.digest, text_digest(document.text))


@dataclass(slots=True)
class UnitReading:
    """What one unit gave, in its order."""

    stamp: str
    is_settled: bool
    items: list[Found | Problem] = field(default_factory=list)


Key = tuple[str, str]
"""Name of the source, name of the unit."""


class Header(Settings):
    """The reading as a whole: enough to know that nothing was changed."""

    version: int
    listing: Digest
    """Of the names and stamps of all units."""
    is_settled: bool
    snapshot: Digest
    problems: Digest
    """Of the snapshot's file of problems, which a reading with other settings may replace."""
    units_file: str
    units_digest: Digest


def listing_digest(units: Iterable[tuple[str, Unit]]) -> Digest:
    """Name what all sources list; the first of each pair is the source's name."""
    found = hashlib.sha256()
    for source, unit in units:
        found.update(f"{source}\0{unit.name}\0{unit.stamp}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def load_header(directory: Path) -> Header | None:
    """The last reading's header; None where there is none that can be used."""
    try:
        header = Header.model_validate_json((directory / _HEADER).read_bytes())
    except (OSError, ValidationError):
        return None
    return header if header.version == READING_VERSION else None


def is_current(header: Header, listing: Digest, snapshot: StoredSnapshot) -> bool:
    """Whether nothing was changed since the last reading."""
    if not header.is_settled or header.listing != listing:
        return False
    try:
        return file_digest(snapshot.directory / PROBLEMS) == header.problems
    except OSError:
        return False


def load_units(directory: Path, header: Header) -> dict[Key, UnitReading]:
    """What each unit gave; nothing where the file is missing or damaged: all is read again."""
    path = directory / header.units_file
    try:
        if file_digest(path) != header.units_digest:
            return {}
        with path.open(encoding="utf-8") as file:
            return dict(_parse(json.loads(line)) for line in file)
    except (OSError, ValueError, TypeError):
        return {}


def save_reading(
    directory: Path, *, listing: Digest, snapshot: StoredSnapshot, units: dict[Key, UnitReading]
) -> None:
    """Replace the last reading; whoever is killed in here leaves the old one or the new one."""
    name = f"units-{listing[:16]}-{snapshot.digest[:16]}.jsonl"
    write_lines(directory / name, (json.dumps(_row(key, unit)) for key, unit in units.items()))
    header = Header(
        version=READING_VERSION,
        listing=listing,
        is_settled=all(unit.is_settled for unit in units.values()),
        snapshot=snapshot.digest,
        problems=file_digest(snapshot.directory / PROBLEMS),
        units_file=name,
        units_digest=file_digest(directory / name),
    )
    write_json(directory / _HEADER, header.model_dump(mode="json"))
    for path in directory.glob("units-*.jsonl"):
        if path.name != name:
            path.unlink(missing_ok=True)


def _row(key: Key, unit: UnitReading) -> list[Any]:
    return [*key, unit.stamp, unit.is_settled, [_item(item) for item in unit.items]]


def _item(item: Found | Problem) -> list[Any]:
    if isinstance(item, Found):
        return [item.doc_id, item.digest, item.text_digest]
    return [item.source, item.name, item.reason, item.detail, item.is_kept]


def _parse(row: list[Any]) -> tuple[Key, UnitReading]:
    source, name, stamp, settled, items = row
    # A problem has five fields, a document three.
    found = [Found(*item) if len(item) == 3 else Problem(*item) for item in items]
    return (source, name), UnitReading(stamp, settled, found)
