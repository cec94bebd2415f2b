"""Room on the disk: enough before a build starts, and said in bytes when it wasn't."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import SetupError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CODE_BYTES = 320
"""Of a row in a FAISS file beside a byte a dimension: ids, and the links of a graph."""
_DOCUMENT_BYTES = 160
_KEY_BYTES = 48
_RESERVE = 16_000_000


def free_bytes(path: Path) -> int:
    """Bytes that this user can still write below a directory that exists or will."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def needed_bytes(*, rows: int, dimensions: int, embedded: int, documents: int) -> int:
    """Bytes that a build still has to write once its chunks are cut.

    Args:
        rows: of the new segment.
        dimensions: numbers of a vector.
        embedded: texts that get a place in the embedding cache.
        documents: of the corpus, each with its digest.
    """
    vector = 4 * dimensions
    segment = rows * (vector + dimensions + _CODE_BYTES)
    return segment + embedded * (vector + _KEY_BYTES) + documents * _DOCUMENT_BYTES + _RESERVE


def check_room(room: Path, needed: int, free: Callable[[Path], int]) -> None:
    """Stop before anything is embedded that couldn't be stored.

    Raises:
        SetupError: there is too little room; says how much is missing.
    """
    found = free(room)
    if found < needed:
        raise _too_small(room, f"needs {needed:,} bytes more and has {found:,}", needed - found)


@contextmanager
def explained_when_full(room: Path, free: Callable[[Path], int]) -> Iterator[None]:
    """Turn the system's error for a full disk into one that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _too_small(room, f"is full with {free(room):,} bytes left ({error})", None) from error


def _too_small(room: Path, what: str, missing: int | None) -> SetupError:
    lack = "" if missing is None else f"; {missing:,} bytes are missing"
    return SetupError(
        f"The disk of {room} {what}{lack}. No version was changed, and what was embedded is kept.",
        next_step="Make room, for example with: ratchet gc --yes, then run again.",
        missing=missing,
    )
