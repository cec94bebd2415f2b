"""Events and stored directories -> what nothing needs any more, and its removal."""

import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection

from registry.catalog import Catalog
from registry.ledger import CHANNELS, PRODUCTION, Channel, LedgerEvent
from registry.rules import channel_of
from tasks.digest import SHORT, Digest
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import load_manifest
from tasks.gate.decision import GateDecision, load_decision
from tasks.gate.drift import load_frozen
from tasks.index.cache import EMBEDDINGS
from tasks.index.manifest import SEGMENTS
from tasks.index.postings import LEXICAL
from tasks.index.sharing import SHARED, unused_parts
from tasks.store import Home, read_json

Room = Literal[
    "index",
    "segments",
    "embeddings",
    "lexical",
    "corpus",
    "evals",
    "decisions",
    "repeats",
    "reports",
    "preferences",
    "serving",
]
_FILE_ROOMS: tuple[Room, ...] = ("preferences", "serving")
"""Rooms of single files: what a judge prefers of two evaluations, and measured ways of serving."""
ROOMS: tuple[Room, ...] = (
    "index",
    "corpus",
    "evals",
    "decisions",
    "repeats",
    "reports",
    *_FILE_ROOMS,
)
"""Rooms of which a release, a decision or an evaluation names what it needs. Segments, their words
and embeddings lie inside the index room, and index versions share them."""

_SHARED_ROOMS: dict[str, Room] = {
    SEGMENTS: "segments",
    EMBEDDINGS: "embeddings",
    LEXICAL: "lexical",
}

DAY_S = 86_400.0
_REMOVED = ".removed-"


@dataclass(frozen=True, slots=True)
class StoredThing:
    """One directory of a room, or one file of a room of files."""

    room: Room
    name: str
    path: Path
    size: int
    """Bytes of all its files."""
    partial: bool = False
    """Left half-written or half-removed by a process that died."""


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What is kept and why, and what would be removed."""

    kept: Mapping[Digest, tuple[str, ...]]
    """Why each kept release is kept."""
    unneeded: tuple[StoredThing, ...]

    @property
    def size(self) -> int:
        """Bytes that removing it would free."""
        return sum(thing.size for thing in self.unneeded)


class Retention(Catalog):
    """Keeps what the live release, a rollback, an open decision or the anchor needs."""

    def plan(self, *, keep: int = 5, min_age_s: float = DAY_S) -> RetentionPlan:
        """Find what nothing needs; nothing is changed.

        Args:
            keep: how many of the latest champions stay ready for a rollback, the live one included.
            min_age_s: what was written less than this many seconds ago stays: the run that wrote it
                may not have told the ledger yet. Partial directories wait at least a day.

        Raises:
            CorruptArtifact: the content of a kept release was changed, in its file and in the
                ledger: what it needs isn't known, so nothing is removed.
        """
        with self._ledger.reading() as connection:
            needed, kept = self._needed(connection, keep)
        return RetentionPlan(kept, tuple(self._unneeded(needed, set(kept), min_age_s)))

    def remove(self, *, keep: int = 5, min_age_s: float = DAY_S) -> RetentionPlan:
        """Remove what `plan` finds, and say what it was.

        Nothing can be promoted or rolled back between deciding and removing: what is removed gets
        another name while the ledger is locked. Killed after that, the next call removes the rest.
        Sizes are counted before, as that may take long: meanwhile a rollback needn't wait.

        Raises:
            CorruptArtifact: as `plan`.
            RegistryError: the ledger can't be locked; nothing was removed.
        """
        seen = self.plan(keep=keep, min_age_s=min_age_s).unneeded
        gone: list[tuple[StoredThing, Path]] = []
        with self._ledger.writing() as connection:
            needed, kept = self._needed(connection, keep)
            for thing in (found for found in seen if found.room in ROOMS):
                if not thing.partial and _in_use(
                    thing.room, thing.path, needed, set(kept), min_age_s
                ):
                    continue
                if (path := _set_aside(thing)) is not None:
                    gone.append((thing, path))
            # Versions that go have another name by now, so what is left decides.
            unused = set(self._unshared_parts(set(), min_age_s))
            for thing in (found for found in seen if found.room not in ROOMS):
                if not thing.partial and thing.path not in unused:
                    continue
                if (path := _set_aside(thing)) is not None:
                    gone.append((thing, path))
        for _, path in gone:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return RetentionPlan(kept, tuple(thing for thing, _ in gone))

    def _needed(
        self, connection: Connection, keep: int
    ) -> tuple[dict[Room, set[str]], dict[Digest, tuple[str, ...]]]:
        events = self._ledger.events(connection)
        opened = open_decisions(events)
        reasons: dict[Digest, list[str]] = {}
        for digest, reason in self._reasons(connection, events, opened, keep):
            found = reasons.setdefault(digest, [])
            if reason not in found:
                found.append(reason)
        needed: dict[Room, set[str]] = {room: set() for room in ROOMS}
        for digest in reasons:
            release = self._stored(connection, digest)
            needed["index"].add(release.index_digest)
            needed["reports"].add(release.index_digest)
            needed["corpus"].add(release.corpus_digest)
            if newest := newest_evaluation(events, digest, self._home):
                needed["evals"].add(newest)
        needed["decisions"] = {event.subject for event in opened} | {
            str(event.detail["decision"])
            for event in events
            if event.kind == "promoted"
            and event.subject in reasons
            and event.detail.get("decision")
        }
        for name in needed["decisions"]:
            decision = _decision(self._home.path("decisions", name))
            if decision is not None:
                logs = (decision.champion_log, decision.challenger_log)
                needed["evals"] |= {log for log in logs if log is not None}
        for suite in {event.detail["suite"] for event in events if event.kind == "evaluated"}:
            # The judge is asked again about answers that only these evaluations hold.
            frozen = load_frozen(self._home, suite)
            if frozen is not None:
                needed["evals"] |= {row.log_digest for row in frozen.answers}
        # A decision has the preferences that it rests on among its scores; their file only saves
        # asking the judge twice, so nothing needs it.
        needed["serving"] = {
            path.name
            for path in _entries(self._home.path("serving"), files=True)
            if _evaluations_of(path) & needed["evals"]
        }
        return needed, {digest: tuple(words) for digest, words in reasons.items()}

    def _reasons(
        self,
        connection: Connection,
        events: Sequence[LedgerEvent],
        opened: Sequence[LedgerEvent],
        keep: int,
    ) -> Iterator[tuple[Digest, str]]:
        for channel in CHANNELS:
            if live := self._ledger.pointer(connection, channel).digest:
                yield live, "champion" if channel == PRODUCTION else f"on {channel}"
        if previous := self._previous(connection):
            yield previous, "previous champion"
        for channel in CHANNELS:
            where = "champions" if channel == PRODUCTION else f"on {channel}"
            for digest in last_champions(events, channel)[:keep]:
                yield digest, f"one of the last {keep} {where}"
        for event in opened:
            yield event.detail["challenger"], f"open decision {event.subject[:SHORT]}"
            if event.detail["champion"]:
                yield event.detail["champion"], f"open decision {event.subject[:SHORT]}"
        if anchor := self._anchor(connection):
            yield anchor.digest, "anchor"

    def _unneeded(
        self, needed: Mapping[Room, set[str]], kept: set[Digest], min_age_s: float
    ) -> Iterator[StoredThing]:
        leaving: set[str] = set()
        for room in ROOMS:
            for thing in self._unneeded_in(room, needed, kept, min_age_s):
                if room == "index" and not thing.partial:
                    leaving.add(thing.name)
                yield thing
        yield from self._unshared(leaving, min_age_s)

    def _unneeded_in(
        self, room: Room, needed: Mapping[Room, set[str]], kept: set[Digest], min_age_s: float
    ) -> Iterator[StoredThing]:
        for path in _entries(self._home.path(room), files=room in _FILE_ROOMS):
            if room == "index" and path.name in SHARED:
                continue
            if path.name.startswith("."):
                if _is_dead(path, min_age_s):
                    yield StoredThing(room, path.name, path, _size(path), partial=True)
            elif not _in_use(room, path, needed, kept, min_age_s):
                yield StoredThing(room, path.name, path, _size(path))

    def _unshared(self, leaving: set[str], min_age_s: float) -> Iterator[StoredThing]:
        """Parts of indexes that only versions used that go."""
        for path in self._unshared_parts(leaving, min_age_s):
            yield StoredThing(_SHARED_ROOMS[path.parent.name], path.name, path, _size(path))
        for name, room in _SHARED_ROOMS.items():
            for path in _entries(self._home.path("index", name)):
                if path.name.startswith(".") and _is_dead(path, min_age_s):
                    yield StoredThing(room, path.name, path, _size(path), partial=True)

    def _unshared_parts(self, leaving: set[str], min_age_s: float) -> Iterator[Path]:
        now = time.time()
        for path in unused_parts(self._home.path("index"), leaving=leaving):
            # A build of now may be about to use it; it has touched it.
            if now - path.stat().st_mtime > max(min_age_s, DAY_S):
                yield path


def last_champions(events: Iterable[LedgerEvent], channel: Channel = PRODUCTION) -> list[Digest]:
    """Every release that a channel ever ran, the one that came there last first."""
    moves = [
        event.subject
        for event in events
        if event.kind in ("promoted", "rolled_back") and channel_of(event) == channel
    ]
    return list(dict.fromkeys(reversed(moves)))


def open_decisions(events: Sequence[LedgerEvent]) -> list[LedgerEvent]:
    """The newest decision on each challenger, where it says PROMOTE and that wasn't done yet.

    A release that so far is only on another channel may still go to production.
    """
    newest = {event.detail["challenger"]: event for event in events if event.kind == "decided"}
    used = {
        event.detail.get("decision")
        for event in events
        if event.kind == "promoted" and channel_of(event) == PRODUCTION
    }
    return [
        event
        for event in newest.values()
        if event.detail["verdict"] == "PROMOTE" and event.subject not in used
    ]


def newest_evaluation(
    events: Sequence[LedgerEvent], release: Digest, home: Home, *, suite: Digest | None = None
) -> Digest | None:
    """The evaluation of a release that was recorded last and is on this machine.

    Args:
        events: of the ledger, oldest first.
        release: digest of the release.
        home: the state directory.
        suite: only on this suite.
    """
    found = [
        event.subject
        for event in events
        if event.kind == "evaluated"
        and event.detail["release"] == release
        and suite in (None, event.detail["suite"])
        and home.path("evals", event.subject).is_dir()
    ]
    return found[-1] if found else None


def _entries(room: Path, *, files: bool = False) -> list[Path]:
    """The directories of a room, or its files."""
    if not room.is_dir():
        return []
    return sorted(
        path
        for path in room.iterdir()
        if (path.is_file() if files else path.is_dir()) and not path.is_symlink()
    )


def _in_use(
    room: Room,
    path: Path,
    needed: Mapping[Room, set[str]],
    kept: set[Digest],
    min_age_s: float,
) -> bool:
    """Whether a whole directory or file must stay; False too when it is gone already."""
    if path.name in needed[room]:
        return True
    try:
        young = time.time() - path.stat().st_mtime < min_age_s
    except FileNotFoundError:
        return False
    return young or (room == "repeats" and _release_of(path) in kept)


def _is_dead(path: Path, min_age_s: float) -> bool:
    """Whether what is half-written or half-removed belongs to no process any more."""
    return _REMOVED in path.name or time.time() - _newest(path) > max(min_age_s, DAY_S)


def _set_aside(thing: StoredThing) -> Path | None:
    """Give a directory or file a name that no reader takes for a finished one."""
    if thing.partial:
        return thing.path
    # A name of its own: an interrupted removal of the same digest may still be there.
    aside = thing.path.with_name(f".{thing.name[:16]}{_REMOVED}{uuid.uuid4().hex[:8]}")
    try:
        return thing.path.rename(aside)
    except FileNotFoundError:
        return None


def _decision(directory: Path) -> GateDecision | None:
    try:
        return load_decision(directory)
    except CorruptArtifact:
        return None


def _release_of(directory: Path) -> Digest | None:
    try:
        return load_manifest(directory).release_digest
    except (OSError, ValueError):
        return None


def _evaluations_of(path: Path) -> set[Digest]:
    """Evaluations that a comparison of ways of serving names; none when it can't be read."""
    try:
        return {str(profile["evaluation"]) for profile in read_json(path)["profiles"]}
    except (OSError, KeyError, TypeError):
        return set()


def _size(directory: Path) -> int:
    return int(sum(_stats(directory, lambda path: path.lstat().st_size)))


def _newest(directory: Path) -> float:
    return max(_stats(directory, lambda path: path.lstat().st_mtime), default=time.time())


def _stats(directory: Path, read: Callable[[Path], float]) -> Iterator[float]:
    for path in (directory, *directory.rglob("*")):
        try:
            value = read(path)
        except FileNotFoundError:
            # Its process is alive: it renamed or removed this just now.
            continue
        yield value
