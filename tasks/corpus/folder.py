"""A folder of Markdown, HTML, text and PDF files -> documents."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from tasks.config import DocumentChecks, FolderSource
from tasks.corpus.checks import NO_CHECKS, checked
from tasks.corpus.document import Document, Problem, Reason
from tasks.corpus.parse import Parsed, Unreadable, file_title, parse
from tasks.corpus.units import Unit, file_stamp, is_settled
from tasks.errors import CorpusError

Parse = Callable[[bytes, str], Parsed | Unreadable]
"""Bytes and the file name's suffix -> what the file says."""


def _parse_here(data: bytes, suffix: str) -> Parsed | Unreadable:
    return parse(data, suffix=suffix)


def list_files(source: FolderSource, *, root: Path, now_ns: int) -> list[Unit]:
    """Every file below a folder that matches one of the patterns, ordered by path; none is opened.

    Links are followed only where they end inside the folder.

    Args:
        source: the folder, relative to `root`, and its patterns; `**` stands for any folders.
        root: directory of the project.
        now_ns: nanoseconds since 1970.

    Raises:
        CorpusError: there is no such folder, or it can't be listed.
    """
    folder = _folder(source, root)
    wanted = re.compile("|".join(pattern_regex(pattern) for pattern in source.patterns)).fullmatch
    found: list[Unit] = []

    def refuse(relative: str, detail: str) -> None:
        name = _printable(relative)
        found.append(Unit(name, detail, True, Problem(source.name, name, "broken", detail)))

    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    relative = inside + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(relative + "/")
                    elif entry.is_symlink() and Path(entry.path).is_dir():
                        if not Path(entry.path).resolve().is_relative_to(folder):
                            refuse(relative, "The link to a folder leads outside the source.")
                    elif wanted(relative):
                        found.append(_unit(entry, relative, now_ns))
        except OSError as error:
            if not inside:
                raise CorpusError(
                    f"The folder {str(source.path)!r} of the source {source.name!r} can't be "
                    f"listed: {error.strerror}.",
                    next_step=f"Make {folder} readable.",
                    source=source.name,
                ) from error
            refuse(inside.rstrip("/"), f"Not listed: {error.strerror}.")
    found.sort(key=lambda unit: unit.name)
    return found


def read_file(
    source: FolderSource,
    relative: str,
    *,
    root: Path,
    max_document_bytes: int,
    parse_file: Parse = _parse_here,
    checks: DocumentChecks = NO_CHECKS,
) -> Iterator[Document | Problem]:
    """Read one file of a folder: a document, problems, or both.

    A document's id is `<source name>/<path in the folder>`.

    Args:
        source: the folder, relative to `root`.
        relative: the file's path in it.
        root: directory of the project.
        max_document_bytes: a bigger file is a `Problem("too_large")` and isn't read.
        parse_file: what reads the bytes; default: `parse`, in this process.
        checks: what is looked for, and what happens to a document where it is found.

    Raises:
        CorpusError: there is no such folder.
    """
    data = _open(source, relative, root, max_document_bytes)
    if isinstance(data, Problem):
        yield data
        return
    path = PurePosixPath(relative)
    parsed = parse_file(data, path.suffix)
    if isinstance(parsed, Unreadable):
        yield Problem(source.name, relative, parsed.reason, parsed.detail)
    elif not parsed.text:
        detail = f"{len(data):,} bytes without any text."
        yield Problem(source.name, relative, "empty", detail)
    elif (size := len(parsed.text.encode())) > max_document_bytes:
        # A compressed file of a few bytes can hold any amount of text.
        detail = f"{size:,} bytes of text; max_document_bytes is {max_document_bytes:,}."
        yield Problem(source.name, relative, "too_large", detail)
    else:
        title = parsed.title or file_title(path)
        metadata = {"source": source.name, "path": relative}
        name = f"{source.name}/{relative}"
        document = Document(name, title, parsed.text, metadata, parsed.blocks)
        yield from checked([document], checks, hidden=parsed.hidden)


def _open(source: FolderSource, relative: str, root: Path, max_bytes: int) -> bytes | Problem:
    name = _printable(relative)

    def problem(reason: Reason, detail: str) -> Problem:
        return Problem(source.name, name, reason, detail)

    if name != relative:
        return problem("wrong_encoding", "The file name is not UTF-8.")
    folder = _folder(source, root)
    path = folder / relative
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder):
            return problem("broken", "The link leads outside the source.")
        status = real.stat()
        # Opening a pipe would wait for a writer for ever.
        if not stat.S_ISREG(status.st_mode):
            return problem("broken", "Not a regular file.")
        if status.st_size > max_bytes:
            detail = f"{status.st_size:,} bytes; max_document_bytes is {max_bytes:,}."
            return problem("too_large", detail)
    # RuntimeError: a link that leads to itself.
    except (OSError, RuntimeError) as error:
        return problem("broken", f"Not readable: {getattr(error, 'strerror', None) or error}.")
    try:
        return _bytes(real, max_bytes)
    except OSError as error:
        return problem("unreadable", f"Not readable: {error.strerror or error}.")


def pattern_regex(pattern: str) -> str:
    """Translate a glob over `/`-separated paths: `**/` is any folders, `*` and `?` stay in one."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "(?s:" + "".join(wild.get(part) or re.escape(part) for part in parts) + ")"


def _folder(source: FolderSource, root: Path) -> Path:
    folder = (root / source.path).resolve()
    if not folder.is_dir():
        raise CorpusError(
            f"The source {source.name!r} has no folder {str(source.path)!r} (looked in {folder}).",
            next_step="Correct its `path` in configs/corpus.yaml, or create the folder.",
            source=source.name,
        )
    return folder


def _unit(entry: os.DirEntry[str], relative: str, now_ns: int) -> Unit:
    try:
        status = entry.stat()
        # Where a link leads is no matter of what it leads to.
        where = os.path.realpath(entry.path) if entry.is_symlink() else ""
    except OSError as error:
        return Unit(relative, f"no status: {error.errno}", False)
    stamp = file_stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return Unit(
        relative, f"{stamp} {where}" if where else stamp, is_settled(status.st_ctime_ns, now_ns)
    )


def _bytes(path: Path, limit: int) -> bytes:
    """Read a file that may have become longer, or a link, since it was looked at."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"it grew beyond {limit:,} bytes while it was read")
    return data


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
