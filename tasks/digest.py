"""Content -> identity: everything is named by a digest of what it is and of what made it."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Digest = str
"""64 lower-case hexadecimal characters of SHA-256."""

SHORT = 12
"""Characters that people see; always resolvable as a prefix."""


def canonical_json(content: Any) -> bytes:
    """Serialise to the one JSON text of this content: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value has no JSON form.
    """
    return json.dumps(
        content,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        check_circular=False,
    ).encode()


def digest(kind: str, version: int, content: Any) -> Digest:
    """Name content of one kind; a room bumps `version` when its output changes for equal input."""
    return hashlib.sha256(canonical_json([kind, version, content])).hexdigest()


def digest_of_list(kind: str, version: int, batches: Iterable[list[str]]) -> Digest:
    """`digest` of the one list that all batches make, which is never in memory as a whole."""
    # The text up to the empty list, then what a longer list has instead of `]]`.
    found = hashlib.sha256(canonical_json([kind, version, []])[:-2])
    is_first = True
    for batch in filter(None, batches):
        found.update((b"" if is_first else b",") + canonical_json(batch)[1:-1])
        is_first = False
    found.update(b"]]")
    return found.hexdigest()


def text_digest(text: str) -> Digest:
    """SHA-256 of the UTF-8 bytes of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_digest(path: Path) -> Digest:
    """SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
