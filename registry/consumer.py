"""champion.json -> the live release, for applications that should not talk to a database."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from pydantic import ValidationError

from tasks.answer.release import Release
from tasks.digest import Digest
from tasks.errors import CorruptArtifact, RegistryError
from tasks.store import Home

POLL_S = 0.5
"""Between two looks at the file. A look is one `stat`, about a microsecond."""


@dataclass(frozen=True, slots=True)
class LiveRelease:
    """What `champion.json` says."""

    digest: Digest
    label: str
    since: str
    """UTC, ISO 8601."""
    index: Path
    """Directory of the index."""
    release: Release


class Champion:
    """The live release; reads the file only when it was replaced. Threads may share one.

    Args:
        path: `champion.json`; None: of the state directory that `RATCHET_HOME` or the working
            directory names.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Home.find().path("champion.json")
        self._lock = Lock()
        self._known: tuple[_Signature, LiveRelease] | None = None

    def get(self) -> LiveRelease:
        """The live release of now.

        Raises:
            RegistryError: there is no file: nothing was promoted yet, or the path is wrong.
            CorruptArtifact: it isn't what Ratchet wrote.
        """
        with self._lock:
            try:
                if self._known is not None and _signature(self.path.stat()) == self._known[0]:
                    return self._known[1]
                self._known = self._read()
            except FileNotFoundError as error:
                raise RegistryError(
                    f"There is no champion: {str(self.path)!r} doesn't exist.",
                    next_step="Check the path (RATCHET_HOME), or promote a first release: "
                    "ratchet nightly",
                ) from error
            return self._known[1]

    def _read(self) -> "tuple[_Signature, LiveRelease]":
        # The signature is that of the opened file: the path may mean another one a moment later.
        with self.path.open("rb") as file:
            signature = _signature(os.fstat(file.fileno()))
            content = file.read()
        return signature, _parse(content, self.path)


def watch_champion(
    path: Path | None = None, *, every_s: float = POLL_S, stop: Event | None = None
) -> Iterator[LiveRelease]:
    """Give the live release, and again each time that another one goes live.

    Of several changes between two looks only the last one is seen.

    Args:
        path: as in `Champion`.
        every_s: seconds between two looks.
        stop: ends the iteration when it is set.

    Raises:
        RegistryError: the file is missing.
        CorruptArtifact: it isn't what Ratchet wrote.
    """
    champion, last = Champion(path), None
    while stop is None or not stop.is_set():
        found = champion.get()
        if found != last:
            last = found
            yield found
        if stop is None:
            time.sleep(every_s)
        else:
            stop.wait(every_s)


_Signature = tuple[int, int, int]
"""Inode, nanosecond of the last change and size: a replaced file differs in at least one."""


def _signature(found: os.stat_result) -> _Signature:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _parse(content: bytes, path: Path) -> LiveRelease:
    try:
        view = json.loads(content)
        release = Release.model_validate(view["release"])
        live = LiveRelease(
            digest=view["digest"],
            label=view["label"],
            since=view["since"],
            index=Path(view["index"]),
            release=release,
        )
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise _corrupt(path, f"it can't be read: {type(error).__name__}: {error}") from error
    if release.digest != live.digest:
        raise _corrupt(path, f"it names {live.digest!r} and holds {release.digest!r}")
    return live


def _corrupt(path: Path, what: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"{str(path)!r} isn't a champion that Ratchet wrote: {what}.",
        next_step="Any ratchet command writes it anew from the ledger: ratchet releases",
    )
