"""Content of a call -> the answer that was made for it, on disk and shared by all runs."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.closing import Closing
from tasks.digest import Digest, canonical_json, digest
from tasks.errors import CorruptArtifact

CACHE_VERSION = 2
GIGABYTE = 1024**3
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class CachedCall:
    """An answer, with what it took to make it."""

    body: str
    """The server's JSON text."""
    latency_s: float
    cost: float | None
    model: str = ""
    """What the server calls the model."""
    purpose: str = ""
    """What the call was made for when it was made."""


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """Answers of one model for one purpose."""

    model: str
    purpose: str
    entries: int
    bytes: int


def call_key(model: Digest, path: str, body: Mapping[str, Any], repeat: int) -> Digest:
    """Name a call by its content: model version, path below the URL, request body and repeat.

    Neither the server that answered, the purpose, nor any header (and so no API key) is part of it.
    """
    return digest("call", CACHE_VERSION, [model, path, body, repeat])


class CallCache(Closing):
    """A diskcache directory; rows are JSON bytes, so that reading one never runs anything.

    Args:
        directory: where the cache lives, for example `home.room("cache")`.
        max_bytes: the oldest rows go when the cache is larger than this.
    """

    def __init__(self, directory: Path, *, max_bytes: int = 8 * GIGABYTE) -> None:
        import diskcache

        self.directory = directory
        self.max_bytes = max_bytes
        try:
            self._rows = diskcache.Cache(str(directory), size_limit=max_bytes)
        except sqlite3.DatabaseError as error:
            raise self._corrupt(error) from error

    def get(self, key: Digest) -> CachedCall | None:
        """The answer of this call, or None.

        Raises:
            CorruptArtifact: the cache's database or row is damaged.
        """
        try:
            row = self._rows.get(key)
            return None if row is None else CachedCall(**json.loads(row))
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise self._corrupt(error) from error

    def put(self, key: Digest, call: CachedCall) -> None:
        """Keep an answer; it is on disk when this returns."""
        try:
            tag = f"{call.model}{_SEPARATOR}{call.purpose}"
            self._rows.set(key, canonical_json(asdict(call)), tag=tag)
        except sqlite3.DatabaseError as error:
            raise self._corrupt(error) from error

    def keys(self) -> Iterator[Digest]:
        """Names of the calls that it holds."""
        return iter(self._rows)

    def groups(self) -> list[CacheGroup]:
        """What the cache holds, by model and purpose; the largest first."""
        found = self._select(
            "SELECT tag, COUNT(*), SUM(size + LENGTH(value)) FROM Cache GROUP BY tag"
        )
        groups = []
        for tag, entries, size in found:
            model, _, purpose = (tag or "").partition(_SEPARATOR)
            groups.append(CacheGroup(model, purpose, entries, int(size or 0)))
        return sorted(groups, key=lambda group: (-group.bytes, group.model, group.purpose))

    @property
    def bytes_on_disk(self) -> int:
        """Size of the database and of the answers beside it."""
        return int(self._rows.volume())

    def prune(
        self,
        *,
        model: str | None = None,
        purpose: str | None = None,
        older_than_s: float | None = None,
    ) -> int:
        """Remove answers; those for which every given condition holds.

        Args:
            model: of this model, as the server calls it.
            purpose: made for this.
            older_than_s: made longer ago than this.

        Returns:
            How many.
        """
        removed = 0
        for key, tag, stored in self._select("SELECT key, tag, store_time FROM Cache"):
            of_model, _, of_purpose = (tag or "").partition(_SEPARATOR)
            if model is not None and of_model != model:
                continue
            if purpose is not None and of_purpose != purpose:
                continue
            if older_than_s is not None and time.time() - stored <= older_than_s:
                continue
            removed += bool(self._rows.delete(key))
        return removed

    def clear(self) -> int:
        """Remove every answer; says how many."""
        return int(self._rows.clear())

    def _select(self, query: str) -> list[tuple[Any, ...]]:
        # diskcache has no listing of its own; its table is documented and stays this way.
        with closing(sqlite3.connect(self.directory / "cache.db", timeout=60)) as database:
            return database.execute(query).fetchall()

    def close(self) -> None:
        """Close the database."""
        self._rows.close()

    def __len__(self) -> int:
        return len(self._rows)

    def _corrupt(self, error: Exception) -> CorruptArtifact:
        return CorruptArtifact(
            f"The cache of model calls in {str(self.directory)!r} can't be read or written: "
            f"{type(error).__name__}: {error}.",
            next_step=f"Check that the disk isn't full; else delete the cache (answers are made "
            f"again): rm -r {self.directory}",
        )
