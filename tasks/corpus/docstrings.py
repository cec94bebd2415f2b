"""Importable packages -> a document for each docstring, read in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.config import PythonSource
from tasks.corpus.document import Document, Problem, normalise
from tasks.corpus.units import Unit, file_stamp, is_settled
from tasks.digest import file_digest, text_digest
from tasks.errors import CorpusError

STDLIB = "stdlib"
"""The name in `packages` that stands for the standard library."""

NOT_WALKED = frozenset(
    {
        # Importing them does something: a browser, a poem, windows, an installer.
        *("antigravity", "this", "idlelib", "tkinter", "turtle", "turtledemo", "ensurepip"),
        # The inside of something else; what is public in them is documented under its own name:
        # os and os.path, re, pydoc, urllib.request.
        *("posix", "nt", "posixpath", "ntpath", "genericpath", "nturl2path", "pydoc_data"),
        *("sre_compile", "sre_constants", "sre_parse"),
        # A hundred modules with the same six docstrings.
        "encodings",
        # Gone from newer Pythons, and documented for their own maintainers.
        *("distutils", "lib2to3"),
        # Windows only, although every Python ships the files.
        *("asyncio.windows_events", "asyncio.windows_utils", "ctypes.wintypes"),
        "multiprocessing.popen_spawn_win32",
    }
)
"""Modules of the standard library that aren't read. Add to it, never at run time."""

ALSO_WALKED = ("os.path",)
"""Public modules that aren't found by walking: `os` is no package, yet has a submodule.

So the functions of `posixpath` are documents named `os.path.join`, as a user writes them.
"""

_WALK = Path(__file__).with_name("docstring_walk.py")
_MAX_CRASHES = 20
# What a Python needs to start; keys and tokens of the caller are no business of foreign packages.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV")


def read_docstrings(
    source: PythonSource,
    *,
    max_document_bytes: int,
    time_limit_s: float = 120.0,
    python: Path | None = None,
) -> Iterator[Document | Problem]:
    """Read the docstrings of public modules, functions, classes, methods and properties.

    The packages are imported by `python -I` in another process, without the caller's environment
    variables and outside the current directory, so only installed packages are found. A module
    that can't be imported, crashes the process or takes too long is a `Problem("broken")`, and
    the others are still read.

    An object is one document, named as a user would write it: at module level before inside a
    class, where `__all__` lists it, in the shortest module name of its own package
    (`json.JSONDecoder`, not `json.decoder.JSONDecoder`). Built-in names have the id
    `builtins.sorted` and the title `sorted(iterable, /, *, key=None, reverse=False)`. A class
    includes its constructor's docstring. An inherited method is documented at its base alone.

    Args:
        source: which packages; `stdlib` stands for the standard library of that Python.
        max_document_bytes: a longer docstring (UTF-8) is a `Problem("too_large")`.
        time_limit_s: seconds for one attempt; after a crash or a time-out the culprit is left
            out and the rest is tried again.
        python: interpreter whose packages are read; default: the running one.

    Yields:
        Documents with metadata `source`, `module` and `kind` (module, function, class, method or
        property), and problems. Names with fewer dots come first, then in order of their ids, so
        that of equal texts the first is the one that a user would look up. The number of public
        names without docstring is one `Problem("empty")`.

    Raises:
        CorpusError: the interpreter can't be started or reports nothing at all.
    """
    rows, crashes = _walk(source, python or Path(sys.executable), time_limit_s)
    for module, detail in crashes.items():
        yield Problem(source.name, module, "broken", detail)
    documents = []
    for row in rows:
        if "broken" in row:
            detail = f"Its import failed: {row['detail']}"
            yield Problem(source.name, row["broken"], "broken", detail)
        elif "doc_id" in row:
            documents.append(row)
        elif row.get("undocumented"):
            total = row["documented"] + row["undocumented"]
            detail = f"{row['undocumented']} of {total} public names have no docstring."
            yield Problem(source.name, source.name, "empty", detail)
    for row in sorted(documents, key=lambda item: (item["doc_id"].count("."), item["doc_id"])):
        yield _document(row, source.name, max_document_bytes)


def list_packages(source: PythonSource, *, now_ns: int) -> list[Unit]:
    """The packages as one unit; nothing is imported.

    Its stamp is made of the running Python and of the status of every file of the packages, and
    of the directories that packages are installed in: what is documented may be inherited from
    another package.
    """
    lines = [sys.version, sys.executable, file_digest(_WALK)]
    newest = 0
    for path in _places(source):
        try:
            status = path.stat()
        except OSError as error:
            lines.append(f"{path} {error.errno}")
            continue
        stamp = file_stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        lines.append(f"{path} {stamp}")
        newest = max(newest, status.st_ctime_ns)
    return [Unit(source.name, text_digest("\n".join(lines)), is_settled(newest, now_ns))]


def _places(source: PythonSource) -> list[Path]:
    """Files of the packages and the directories on the import path, ordered."""
    found = {Path(entry) for entry in sys.path if entry}
    standard = Path(sysconfig.get_path("stdlib"))
    found.add(standard)
    for name in source.packages:
        if name == STDLIB:
            found |= set(standard.glob("*.py")) | set(standard.glob("[!_]*/*.py"))
            continue
        top = name.partition(".")[0]
        spec = importlib.util.find_spec(top)
        if spec is None:
            continue
        found |= {Path(spec.origin)} if spec.origin and spec.has_location else set()
        for folder in spec.submodule_search_locations or ():
            found |= {path for path in Path(folder).rglob("*.*") if path.suffix != ".pyc"}
    return sorted(found)


def _document(row: dict[str, Any], source: str, max_bytes: int) -> Document | Problem:
    text = normalise(row["doc"])
    size = len(text.encode())
    if size > max_bytes:
        detail = f"The docstring has {size:,} bytes; max_document_bytes is {max_bytes:,}."
        return Problem(source, row["doc_id"], "too_large", detail)
    metadata = {"source": source, "module": row["module"], "kind": row["kind"]}
    return Document(row["doc_id"], normalise(row["title"]), text, metadata)


def _walk(
    source: PythonSource, python: Path, time_limit_s: float
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of a complete walk, and for each module that ended an attempt, how it did."""
    crashes: dict[str, str] = {}
    while True:
        rows, ended = _attempt(source, python, time_limit_s, skip=list(crashes))
        if ended is None:
            return rows, crashes
        at = next((row["at"] for row in reversed(rows) if "at" in row), None)
        if at is None or at in crashes or len(crashes) == _MAX_CRASHES:
            raise CorpusError(
                f"The docstrings of {list(source.packages)} could not be read with {str(python)!r}:"
                f" {ended}; expected an importable package in each of `packages`.",
                next_step="Take the package that fails out of configs/corpus.yaml.",
                packages=list(source.packages),
            )
        crashes[at] = f"Its import ended the reading process: {ended}"


def _attempt(
    source: PythonSource, python: Path, time_limit_s: float, *, skip: list[str]
) -> tuple[list[dict[str, Any]], str | None]:
    """Rows written, and how the process ended if it did not reach the last row."""
    request = {
        "stdlib": STDLIB in source.packages,
        "packages": [name for name in source.packages if name != STDLIB],
        "exclude": sorted(NOT_WALKED),
        "also": list(ALSO_WALKED),
        "skip": skip,
    }
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    with tempfile.TemporaryDirectory() as empty:
        try:
            done = subprocess.run(
                [str(python), "-I", "-X", "utf8", str(_WALK), json.dumps(request)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=time_limit_s,
                cwd=empty,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return _rows(error.stdout or b""), f"it took longer than {time_limit_s:g} s"
        except OSError as error:
            return [], f"{type(error).__name__}: {error}"
    rows = _rows(done.stdout)
    if rows and "undocumented" in rows[-1]:
        return rows, None
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return rows, f"exit status {done.returncode}" + (f", {said[-1]}" if said else "")


def _rows(output: bytes) -> list[dict[str, Any]]:
    """Parsed lines; a last line that was cut off is left out."""
    complete = output[: output.rfind(b"\n") + 1]
    return [json.loads(line) for line in complete.splitlines()]
