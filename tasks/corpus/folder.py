"""A folder of Markdown, HTML, text and PDF files -> documents."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tasks.config import FolderSource
from tasks.corpus.document import Document, Problem
from tasks.corpus.parse import Unreadable, file_title, parse
from tasks.errors import CorpusError


def read_folder(
    source: FolderSource, *, root: Path, max_document_bytes: int
) -> Iterator[Document | Problem]:
    """Read every file below a folder that matches one of the patterns, ordered by path.

    A document's id is `<source name>/<path in the folder>`. Links are followed only where they
    end inside the folder.

    Args:
        source: the folder, relative to `root`, and its patterns; `**` stands for any folders.
        root: directory of the project.
        max_document_bytes: bigger files are a `Problem("too_large")` and aren't read.

    Yields:
        A document, or a problem that names the file, for each file that matches.

    Raises:
        CorpusError: there is no such folder, or it can't be listed.
    """
    folder = (root / source.path).resolve()
    if not folder.is_dir():
        raise CorpusError(
            f"The source {source.name!r} has no folder {str(source.path)!r} (looked in {folder}).",
            next_step="Correct its `path` in configs/corpus.yaml, or create the folder.",
            source=source.name,
        )
    wanted = re.compile("|".join(pattern_regex(pattern) for pattern in source.patterns))
    for relative, error in _walk(folder, source):
        if error is not None:
            yield Problem(source.name, _printable(relative), "broken", error)
        elif wanted.fullmatch(relative):
            yield _read(source, folder, relative, max_document_bytes)


def pattern_regex(pattern: str) -> str:
    """Translate a glob over `/`-separated paths: `**/` is any folders, `*` and `?` stay in one."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "(?s:" + "".join(wild.get(part) or re.escape(part) for part in parts) + ")"


def _walk(folder: Path, source: FolderSource) -> list[tuple[str, str | None]]:
    """Paths of all files in the folder, and of links and folders that can't be followed: why."""
    found: list[tuple[str, str | None]] = []
    failures: list[OSError] = []
    for where, folders, files in os.walk(folder, onerror=failures.append):
        base = Path(where)
        found += [((base / name).relative_to(folder).as_posix(), None) for name in files]
        found += [
            (path.relative_to(folder).as_posix(), "The link to a folder leads outside the source.")
            for path in (base / name for name in folders)
            if path.is_symlink() and not path.resolve().is_relative_to(folder)
        ]
    for failure in failures:
        path = Path(failure.filename)
        if path == folder:
            raise CorpusError(
                f"The folder {str(source.path)!r} of the source {source.name!r} can't be listed: "
                f"{failure.strerror}.",
                next_step=f"Make {folder} readable.",
                source=source.name,
            ) from failure
        found.append((path.relative_to(folder).as_posix(), f"Not listed: {failure.strerror}."))
    return sorted(found)


def _read(source: FolderSource, folder: Path, relative: str, max_bytes: int) -> Document | Problem:
    name = _printable(relative)
    if name != relative:
        return Problem(source.name, name, "wrong_encoding", "The file name is not UTF-8.")
    path = folder / relative
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder):
            return Problem(source.name, name, "broken", "The link leads outside the source.")
        status = real.stat()
        # Opening a pipe would wait for a writer for ever.
        if not stat.S_ISREG(status.st_mode):
            return Problem(source.name, name, "broken", "Not a regular file.")
        if status.st_size > max_bytes:
            detail = f"{status.st_size:,} bytes; max_document_bytes is {max_bytes:,}."
            return Problem(source.name, name, "too_large", detail)
        data = real.read_bytes()
    # RuntimeError: a link that leads to itself.
    except (OSError, RuntimeError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        return Problem(source.name, name, "broken", f"Not readable: {detail}.")
    parsed = parse(data, suffix=path.suffix)
    if isinstance(parsed, Unreadable):
        return Problem(source.name, name, parsed.reason, parsed.detail)
    if not parsed.text:
        return Problem(source.name, name, "empty", f"{len(data):,} bytes without any text.")
    title = parsed.title or file_title(PurePosixPath(relative))
    metadata = {"source": source.name, "path": relative}
    return Document(f"{source.name}/{relative}", title, parsed.text, metadata, parsed.blocks)


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
