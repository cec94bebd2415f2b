"""Where Ratchet keeps its state, and the two ways it writes there: both whole or not at all."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Home:
    """The state directory: `.ratchet/` of the project, or `RATCHET_HOME`.

    Content-addressed rooms (`corpus index evals decisions models`) hold one directory a digest.
    """

    root: Path

    @classmethod
    def find(cls, project: Path | None = None) -> "Home":
        """Resolve from the environment, else `.ratchet` below the project directory."""
        configured = os.environ.get("RATCHET_HOME")
        base = Path(configured) if configured else (project or Path.cwd()) / ".ratchet"
        return cls(base.resolve())

    def room(self, name: str) -> Path:
        """Directory of one kind of content, made on first use."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def path(self, *parts: str) -> Path:
        """A path below the root; nothing is made."""
        return self.root.joinpath(*parts)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old or the new content, also after a power cut."""
    data = content.encode() if isinstance(content, str) else content
    _write_parts(path, (data,))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """`write_atomic` for a file too big to be in memory: each line gets a line end."""
    _write_parts(path, (f"{line}\n".encode() for line in lines))


def _write_parts(path: Path, parts: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; these are read by other tools of the same machine.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _fsync_directory(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON atomically; NaN is refused."""
    write_atomic(path, json_text(content))


def read_json(path: Path) -> Any:
    """Read a JSON file that may be missing or damaged: then None, and its owner writes it anew."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def json_text(content: Any) -> str:
    """The one readable JSON text of some content: what `write_json` writes."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text + "\n"


@contextmanager
def new_directory(final: Path) -> Iterator[Path]:
    """Build a directory beside its final place and rename it when the block ends without error.

    When another process finished the same content first, its directory is kept: names are
    digests, so both are equal.
    """
    with scratch_directory(final.parent, final.name[:16]) as partial:
        yield partial
        publish(partial, final)


@contextmanager
def scratch_directory(parent: Path, label: str) -> Iterator[Path]:
    """A directory that nobody takes for a finished one; removed unless `publish` renamed it."""
    parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=parent, prefix=f".{label}.partial-"))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, final: Path) -> None:
    """Give a scratch directory its final name, after its bytes reached the disk.

    A directory that has the name already is kept: names are digests, so both are equal.
    """
    for path in partial.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    partial.chmod(0o755)
    try:
        partial.rename(final)
    except OSError:
        if not final.is_dir():
            raise
    _fsync_directory(final.parent)


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock that the operating system releases when the process dies.

    It is exclusive unless it is `shared`, with all others who share it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
