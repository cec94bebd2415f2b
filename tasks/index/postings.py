"""The words of one segment: in which of its chunks each occurs, and how often."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tasks.config import Settings
from tasks.corpus.columns import strings
from tasks.digest import Digest, file_digest
from tasks.errors import CorruptArtifact
from tasks.index.chunks import embedded_text
from tasks.index.segment import Segment
from tasks.store import locked, new_directory, write_json

LEXICAL = "lexical"
"""Directory of the words of all segments, inside the index room; one directory a segment."""

POSTINGS_VERSION = 1
"""Bumped when an equal segment gives other words."""

_MANIFEST, _TERMS = "manifest.json", "terms.arrow"
_ARRAYS = ("starts", "rows", "counts", "lengths")


class PostingsManifest(Settings):
    """What a directory of postings was made from."""

    version: int
    segment: Digest
    files: dict[str, Digest]


class Postings:
    """Memory-mapped postings; made by `ensure_postings`.

    Attributes:
        lengths: shape (rows,), words of each chunk.
    """

    def __init__(self, directory: Path) -> None:
        import pyarrow as pa

        arrays = {
            name: np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in _ARRAYS
        }
        self.lengths: NDArray[np.int32] = arrays["lengths"]
        self._starts, self._rows, self._counts = (arrays[name] for name in _ARRAYS[:3])
        with pa.memory_map(str(directory / _TERMS)) as source:
            terms = pa.ipc.open_file(source).read_all().column("term").to_pylist()
        self._terms = {term: number for number, term in enumerate(terms)}

    def find(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The rows that hold a word, growing, and how often each does."""
        number = self._terms.get(term)
        if number is None:
            return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)
        span = slice(int(self._starts[number]), int(self._starts[number + 1]))
        return self._rows[span], self._counts[span]


def words_of(texts: Sequence[str]) -> list[list[str]]:
    """The words of texts as they are indexed: lower case, English stems, without stop words."""
    import bm25s

    if not texts:
        return []
    found: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords="en", stemmer=_stemmer(), return_ids=False, show_progress=False
    )
    return found


def ensure_postings(segment: Segment, room: Path) -> Postings:
    """Open the postings of a segment, made when they are first wanted.

    A segment never changes, so they are made once for all index versions that use it.

    Args:
        segment: of which the title and the text of each chunk are read.
        room: directory of all index versions.

    Raises:
        CorruptArtifact: a file isn't what was written.
    """
    directory = room / LEXICAL / segment.digest
    if not _is_made(directory, segment.digest):
        with locked(room / LEXICAL / f".{segment.digest}.lock"):
            if not _is_made(directory, segment.digest):
                with new_directory(directory) as partial:
                    _write(segment, partial)
    return Postings(directory)


def _is_made(directory: Path, segment: Digest) -> bool:
    if not directory.is_dir():
        return False
    try:
        manifest = PostingsManifest.model_validate_json((directory / _MANIFEST).read_bytes())
        wrong = [
            name for name, sha in manifest.files.items() if file_digest(directory / name) != sha
        ]
    except (OSError, ValidationError) as error:
        raise _damaged(directory, str(error)) from error
    if (manifest.version, manifest.segment) != (POSTINGS_VERSION, segment):
        raise _damaged(directory, f"version {manifest.version} of {manifest.segment[:12]}")
    if wrong or set(manifest.files) != {_TERMS, *(f"{name}.npy" for name in _ARRAYS)}:
        raise _damaged(directory, f"other bytes in {wrong or sorted(manifest.files)}")
    return True


def _write(segment: Segment, directory: Path) -> None:
    texts = (
        list(map(embedded_text, *(batch.column(name).to_pylist() for name in ("title", "text"))))
        for batch in segment.chunks.batches(["title", "text"])
    )
    terms, arrays = count_words(texts)
    write_postings(directory, terms, arrays)
    files = {path.name: file_digest(path) for path in sorted(directory.iterdir())}
    manifest = PostingsManifest(version=POSTINGS_VERSION, segment=segment.digest, files=files)
    write_json(directory / _MANIFEST, manifest.model_dump(mode="json"))


def count_words(batches: Iterable[Sequence[str]]) -> tuple[list[str], dict[str, Any]]:
    """Invert texts.

    Returns:
        Words in order, and `starts` (words + 1), `rows` and `counts` (postings by word, then row),
        and `lengths` (texts).
    """
    vocabulary: dict[str, int] = {}
    numbers, rows, counts, lengths = [], [], [], []
    first = 0
    for batch in batches:
        words = words_of(batch)
        size = np.array([len(found) for found in words], dtype=np.int32)
        flat = np.fromiter(
            (vocabulary.setdefault(word, len(vocabulary)) for found in words for word in found),
            dtype=np.int64,
            count=int(size.sum()),
        )
        pairs, times = np.unique(
            flat * len(batch) + np.repeat(np.arange(len(batch)), size), return_counts=True
        )
        numbers.append(pairs // max(1, len(batch)))
        rows.append((pairs % max(1, len(batch)) + first).astype(np.int32))
        counts.append(times.astype(np.int32))
        lengths.append(size)
        first += len(batch)
    terms = sorted(vocabulary)
    place = np.empty(len(terms), dtype=np.int64)
    place[[vocabulary[term] for term in terms]] = np.arange(len(terms))
    found = place[_joined(numbers, np.int64)]
    # Stable: rows already grow within a word.
    order = np.argsort(found, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(found, minlength=len(terms)))])
    return terms, {
        "starts": starts.astype(np.int64),
        "rows": _joined(rows, np.int32)[order],
        "counts": _joined(counts, np.int32)[order],
        "lengths": _joined(lengths, np.int32),
    }


def write_postings(directory: Path, terms: Sequence[str], arrays: dict[str, Any]) -> None:
    """Write what `count_words` gave."""
    import pyarrow as pa

    table = pa.table({"term": strings(terms, pa.large_string())})
    with (
        pa.OSFile(str(directory / _TERMS), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)
    for name in _ARRAYS:
        np.save(directory / f"{name}.npy", arrays[name], allow_pickle=False)


def _joined(parts: list[Any], dtype: Any) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)


@cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")


def _damaged(directory: Path, what: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"The words of the index segment {directory.name[:12]} are damaged: {what}.",
        next_step=f"Delete {directory} and run again: they are made anew.",
        directory=str(directory),
    )
