"""A BEIR `corpus.jsonl` -> documents."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from tasks.config import BeirSource
from tasks.corpus.document import Document, Problem, Reason, normalise
from tasks.corpus.parse import one_line
from tasks.corpus.units import Unit, file_stamp, is_settled
from tasks.errors import CorpusError

_FILE_NAMES = ("corpus.jsonl", "corpus.jsonl.gz")


def read_beir(
    source: BeirSource, *, root: Path, max_document_bytes: int
) -> Iterator[Document | Problem]:
    """Read one document a line: `_id`, `title` (may be absent), `text`, `metadata` (may be absent).

    Args:
        source: a JSON Lines file, also gzipped (`.gz`), or the directory that holds
            `corpus.jsonl`; relative to `root`.
        root: directory of the project.
        max_document_bytes: longer lines are a `Problem("too_large")`.

    Yields:
        A document or a problem for each line that isn't blank, in the file's order. The title of
        a document that has none is its id.

    Raises:
        CorpusError: the file is missing or can't be read to its end.
    """
    path = _file(source, root)
    open_file = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with cast("BinaryIO", open_file(path, "rb")) as file:
            while line := file.readline(max_document_bytes + 1):
                number += 1
                where = f"{path.name}:{number}"
                if len(line) > max_document_bytes:
                    size = len(line) + _skip_line(file, line)
                    detail = f"{size:,} bytes; max_document_bytes is {max_document_bytes:,}."
                    yield Problem(source.name, where, "too_large", detail)
                elif not line.isspace():
                    yield _document(line, where, source.name)
    # A truncated gzip file ends with EOFError.
    except (OSError, EOFError) as error:
        raise CorpusError(
            f"The source {source.name!r} can't be read: {path.name} failed after line {number}: "
            f"{error}.",
            next_step=f"Fetch {path} again.",
            source=source.name,
        ) from error


def list_beir(source: BeirSource, *, root: Path, now_ns: int) -> list[Unit]:
    """The file as one unit; it isn't opened.

    Raises:
        CorpusError: the file is missing.
    """
    path = _file(source, root)
    status = path.stat()
    stamp = file_stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return [Unit(path.name, stamp, is_settled(status.st_ctime_ns, now_ns))]


def _file(source: BeirSource, root: Path) -> Path:
    path = root / source.path
    candidates = [path, *(path / name for name in _FILE_NAMES)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CorpusError(
        f"The source {source.name!r} has no file {str(source.path)!r} (tried {path.resolve()}).",
        next_step="Correct its `path` in configs/corpus.yaml, or fetch the data: dvc pull",
        source=source.name,
    )


def _skip_line(file: BinaryIO, line: bytes) -> int:
    """Read on to the line's end without keeping it; return how many bytes that were."""
    skipped = 0
    while line and not line.endswith(b"\n"):
        line = file.readline(1 << 20)
        skipped += len(line)
    return skipped


def _document(line: bytes, where: str, source: str) -> Document | Problem:
    def problem(reason: Reason, detail: str, *, name: str = where) -> Problem:
        return Problem(source, name, reason, detail)

    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return problem("wrong_encoding", f"The line is not UTF-8: {error}.")
    except (ValueError, RecursionError) as error:
        return problem("broken", f"The line is not JSON: {error}.")
    if not isinstance(row, dict):
        return problem("broken", f"Expected an object, found {type(row).__name__}.")
    doc_id, title, text = row.get("_id"), row.get("title"), row.get("text")
    if isinstance(doc_id, int) and not isinstance(doc_id, bool):
        doc_id = str(doc_id)
    if not isinstance(doc_id, str) or not doc_id or doc_id != normalise(doc_id):
        return problem("broken", f"Expected a text as `_id`, found {doc_id!r:.80}.")
    if not isinstance(text, str) or not isinstance(title, str | None):
        detail = f"Expected texts, found title {title!r:.80} and text {text!r:.80}."
        return problem("broken", detail, name=doc_id)
    text = normalise(text)
    if not text:
        return problem("empty", "The document has no text.", name=doc_id)
    metadata = row.get("metadata")
    kept = _texts(metadata) if isinstance(metadata, dict) else {}
    return Document(doc_id, one_line(title or "") or doc_id, text, kept | {"source": source})


def _texts(metadata: dict[str, object]) -> dict[str, str]:
    return {
        normalise(key): normalise(value if isinstance(value, str) else json.dumps(value))
        for key, value in metadata.items()
    }
