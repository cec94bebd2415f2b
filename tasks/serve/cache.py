"""Content of a call -> the answer that was made for it, on disk and shared by all runs."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tasks.digest import Digest, canonical_json, digest
from tasks.errors import CorruptArtifact

CACHE_VERSION = 1
GIGABYTE = 1024**3


@dataclass(frozen=True, slots=True)
class CachedCall:
    """An answer, with what it took to make it."""

    body: str
    """The server's JSON text."""
    latency_s: float
    cost: float | None


def call_key(model: Digest, path: str, body: Mapping[str, Any], repeat: int) -> Digest:
    """Name a call by its content: model version, endpoint path, request body and repeat.

    Neither the purpose nor any header (and so no API key) is part of it.
    """
    return digest("call", CACHE_VERSION, [model, path, body, repeat])


class CallCache:
    """A diskcache directory; rows are JSON bytes, so that reading one never runs anything.

    Args:
        directory: where the cache lives, for example `home.room("cache")`.
        max_bytes: the oldest rows go when the cache is larger than this.
    """

    def __init__(self, directory: Path, *, max_bytes: int = 8 * GIGABYTE) -> None:
        import diskcache

        self.directory = directory
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
            self._rows.set(key, canonical_json(asdict(call)))
        except sqlite3.DatabaseError as error:
            raise self._corrupt(error) from error

    def close(self) -> None:
        """Close the database."""
        self._rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._rows)

    def _corrupt(self, error: Exception) -> CorruptArtifact:
        return CorruptArtifact(
            f"The cache of model calls in {str(self.directory)!r} can't be read or written: "
            f"{type(error).__name__}: {error}.",
            next_step=f"Check that the disk isn't full; else delete the cache (answers are made "
            f"again): rm -r {self.directory}",
        )
