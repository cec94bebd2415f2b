"""Ledger and stored content -> whether all of it is what was written; else what isn't."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, select

from registry.ledger import CHANNELS, GENESIS, LOOKS, Ledger, LedgerEvent, Pointer, event_digest
from registry.releases import ReleaseFiles, parse_release
from tasks.digest import SHORT, Digest, digest, file_digest
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import load_log
from tasks.gate.decision import GateDecision, load_decision
from tasks.gate.jsonl import write_scores
from tasks.gate.scores import from_log
from tasks.index.manifest import load_version
from tasks.index.version import check_files
from tasks.store import Home, json_text

Thing = Literal["event", "chain", "pointer", "look", "release", "index", "evaluation", "decision"]

_EVALUATION_FILES = (
    "calls.parquet",
    "cases.parquet",
    "failures.parquet",
    "manifest.json",
    "observed.json",
    "observed.parquet",
    "scores.parquet",
    "timings.parquet",
)


@dataclass(frozen=True, slots=True)
class Misfit:
    """The first thing that isn't what was written."""

    thing: Thing
    name: str
    """Number of an event, name of a channel, or a digest."""
    message: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked, and what was found."""

    checked: dict[str, int] = field(default_factory=dict)
    """How many of each thing fit. Content that isn't on this machine isn't counted."""
    misfit: Misfit | None = None
    """None: everything fits."""

    @property
    def fits(self) -> bool:
        """Whether everything is what was written."""
        return self.misfit is None


class _DoesNotFitError(Exception):
    def __init__(self, thing: Thing, name: str, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.misfit = Misfit(thing, name, message, next_step or _RESTORE)


_RESTORE = "Restore the registry's database from a backup; Ratchet never changes an event."


_DECIDE_AGAIN = "Remove the decision's directory and decide again; equal scores decide equally."


def evaluation_content(directory: Path) -> Digest:
    """Name the bytes of a stored evaluation.

    Raises:
        CorruptArtifact: a file of it is missing.
    """
    try:
        files = {name: file_digest(directory / name) for name in _EVALUATION_FILES}
    except OSError as error:
        raise CorruptArtifact(
            f"The evaluation in {str(directory)!r} can't be read: {error}.",
            next_step=f"Remove that directory and evaluate again: rm -r {directory}",
        ) from error
    return digest("evaluation-content", 1, files)


def verify_ledger(ledger: Ledger, connection: Connection) -> tuple[Verification, list[LedgerEvent]]:
    """Walk the chain of events, then hold pointers and looks against it.

    Returns:
        What was found, and the events; none of them when something doesn't fit.
    """
    checked: dict[str, int] = {}
    try:
        _check_storage(ledger, connection)
        checked["events"] = _check_chain(ledger, connection)
        events = ledger.events(connection)
        checked["pointers"] = _check_pointers(ledger.pointers(connection), events)
        looks = connection.execute(select(LOOKS)).mappings().all()
        checked["looks"] = _check_looks(looks, events)
    except _DoesNotFitError as error:
        return Verification(checked, error.misfit), []
    return Verification(checked), events


def verify_contents(
    home: Home, files: ReleaseFiles, events: Sequence[LedgerEvent], *, checked: dict[str, int]
) -> Verification:
    """Compare releases, indexes, evaluations and decisions on this machine with their digests.

    Args:
        home: where they are.
        files: where releases are.
        events: all events of a chain that fits.
        checked: what was checked before.
    """
    counts = dict(checked)
    try:
        counts["releases"] = sum(1 for _ in _check_releases(files, events))
        counts["indexes"] = sum(1 for _ in _check_indexes(home, events))
        counts["evaluations"] = sum(1 for _ in _check_evaluations(home, events))
        counts["decisions"] = sum(1 for _ in _check_decisions(home, events))
    except _DoesNotFitError as error:
        return Verification(counts, error.misfit)
    return Verification(counts)


def _check_storage(ledger: Ledger, connection: Connection) -> None:
    """Ask the database whether its file is whole: a wrong search tree hides rows from queries."""
    if problem := ledger.damage(connection):
        raise _DoesNotFitError("chain", "storage", f"The database's file is damaged: {problem}.")


def _check_chain(ledger: Ledger, connection: Connection) -> int:
    length, previous = 0, GENESIS
    for row in ledger.stored(connection):
        number = length + 1
        if row["id"] != number:
            raise _DoesNotFitError(
                "event",
                str(number),
                f"Event {number} is missing: the one after event {length} is event {row['id']}.",
            )
        _check_event(row, previous)
        length, previous = number, row["digest"]
    head = ledger.head(connection)
    if head.length > length:
        raise _DoesNotFitError(
            "event",
            str(length + 1),
            f"Event {length + 1} is missing: {head.length} were written, {length} are there.",
        )
    if (head.length, head.digest) != (length, previous):
        raise _DoesNotFitError(
            "chain",
            str(head.length),
            f"The chain ends with event {length}, {previous[:SHORT]!r}; its recorded end is event "
            f"{head.length}, {head.digest[:SHORT]!r}.",
        )
    return length


def _check_event(row: dict[str, Any], previous: Digest) -> None:
    number = row["id"]
    wrong = [name for name, value in row.items() if name != "id" and not isinstance(value, str)]
    if wrong:
        raise _DoesNotFitError(
            "event", str(number), f"Event {number} was changed: {wrong[0]} isn't text any more."
        )
    what = f"Event {number} ({row['kind']} of {row['subject'][:SHORT]!r} at {row['at']})"
    found = event_digest(row)
    if found != row["digest"]:
        raise _DoesNotFitError(
            "event",
            str(number),
            f"{what} was changed: its content has digest {found[:SHORT]!r}, it was written with "
            f"{row['digest'][:SHORT]!r}.",
        )
    if row["previous"] != previous:
        raise _DoesNotFitError(
            "event",
            str(number),
            f"{what} doesn't follow the event before it: it names {row['previous'][:SHORT]!r}, "
            f"expected {previous[:SHORT]!r}.",
        )


def _check_pointers(pointers: dict[str, Pointer], events: Sequence[LedgerEvent]) -> int:
    moves = [event for event in events if event.kind in ("promoted", "rolled_back")]
    for channel in sorted({*CHANNELS, *pointers}):
        last = next((e for e in reversed(moves) if e.detail["channel"] == channel), None)
        expected = Pointer(last.subject, last.id) if last else Pointer(None, None)
        found = pointers.get(channel)
        if found is None or channel not in CHANNELS:
            wrong = "is missing" if found is None else f"isn't one of {', '.join(CHANNELS)}"
            raise _DoesNotFitError("pointer", channel, f"The pointer {channel!r} {wrong}.")
        if found != expected:
            raise _DoesNotFitError(
                "pointer",
                channel,
                f"The pointer {channel!r} is at {_at(found)}; the last move there was to "
                f"{_at(expected)}.",
            )
    return len(pointers)


def _at(pointer: Pointer) -> str:
    if pointer.digest is None:
        return "no release"
    return f"{pointer.digest[:SHORT]!r} by event {pointer.event_id}"


def _check_looks(looks: Sequence[RowMapping], events: Sequence[LedgerEvent]) -> int:
    rows = {(row["suite"], row["judge"], row["number"]): row for row in looks}
    ends = {
        (look["suite"], look["judge"], look["number"]): (event.subject, event.detail["verdict"])
        for event in events
        if event.kind == "decided" and (look := event.detail["look"])
    }
    spent = 0
    for event in events:
        if event.kind != "alpha_spent":
            continue
        spent += 1
        key = (event.detail["suite"], event.detail["judge"], event.detail["number"])
        row = rows.pop(key, None)
        if row is None:
            raise _DoesNotFitError(
                "look", str(key[2]), f"{event.why} of event {event.id} isn't among the looks."
            )
        end = ends.get(key, (None, None))
        written = dict(event.detail) | {
            "challenger": event.subject,
            "at": event.at,
            "who": event.who,
            "decision": end[0],
            "verdict": end[1],
        }
        for name, found in row.items():
            if name in written and written[name] != found:
                raise _DoesNotFitError(
                    "look",
                    str(key[2]),
                    f"{event.why} was changed: {name} is {found!r}, event {event.id} or its "
                    f"decision says {written[name]!r}.",
                )
    if rows:
        key = min(rows)
        raise _DoesNotFitError(
            "look", str(key[2]), f"Look {key[2]} at suite {key[0][:SHORT]} has no event."
        )
    return spent


def _check_releases(files: ReleaseFiles, events: Sequence[LedgerEvent]) -> Iterator[Digest]:
    for event in _of(events, "registered"):
        try:
            parse_release(
                json.dumps(event.detail["release"]).encode(),
                digest=event.subject,
                where=f"ledger event {event.id}",
            )
            if files.load(event.subject) is not None:
                _check_release_file(files.path(event.subject), event)
        except CorruptArtifact as error:
            raise _damaged("release", event.subject, error) from error
        yield event.subject


def _check_release_file(path: Path, event: LedgerEvent) -> None:
    # Its digest names the release; its file also has what only describes that.
    if path.read_bytes() != json_text(event.detail["release"]).encode():
        raise CorruptArtifact(
            f"{path} isn't what event {event.id} registered.",
            next_step=f"Remove {path}; the ledger holds its content too and restores it.",
        )


def _check_indexes(home: Home, events: Sequence[LedgerEvent]) -> Iterator[Digest]:
    for name in sorted({e.detail["release"]["index_digest"] for e in _of(events, "registered")}):
        directory = home.path("index", name)
        if directory.is_dir():
            try:
                check_files(directory, load_version(directory))
            except CorruptArtifact as error:
                raise _damaged("index", name, error) from error
            yield name


def _check_evaluations(home: Home, events: Sequence[LedgerEvent]) -> Iterator[Digest]:
    for event in _of(events, "evaluated"):
        directory = home.path("evals", event.subject)
        if not directory.is_dir():
            continue
        try:
            found, expected = evaluation_content(directory), event.detail["content"]
            if expected is not None and found != expected:
                raise _DoesNotFitError(
                    "evaluation",
                    event.subject,
                    f"The evaluation in {str(directory)!r} was changed: its content has digest "
                    f"{found[:SHORT]!r}, event {event.id} says {expected[:SHORT]!r}.",
                    f"Remove it and evaluate again: rm -r {directory}",
                )
            manifest = load_log(directory).manifest
        except CorruptArtifact as error:
            raise _damaged("evaluation", event.subject, error) from error
        _compare(
            "evaluation",
            event,
            {"release": manifest.release_digest, "suite": manifest.suite_digest},
        )
        yield event.subject


def _check_decisions(home: Home, events: Sequence[LedgerEvent]) -> Iterator[Digest]:
    for event in _of(events, "decided"):
        directory = home.path("decisions", event.subject)
        if not directory.is_dir():
            continue
        try:
            decision = load_decision(directory)
            _check_decision_file(directory / "decision.json", decision)
            for side, log, scores in (
                ("champion", decision.champion_log, decision.champion_scores),
                ("challenger", decision.challenger_log, decision.challenger_scores),
            ):
                if log is not None and scores is not None:
                    _check_scores(directory / f"{side}.jsonl", home.path("evals", log), scores)
        except CorruptArtifact as error:
            raise _damaged("decision", event.subject, error) from error
        _compare(
            "decision",
            event,
            {
                "verdict": decision.verdict,
                "challenger": decision.challenger_release,
                "champion": decision.champion_release,
                "suite": decision.suite_digest,
                "policy": decision.policy_digest,
            },
        )
        yield event.subject


def _check_decision_file(path: Path, decision: GateDecision) -> None:
    if path.read_bytes() != decision.to_bytes():
        raise CorruptArtifact(
            f"{path} was changed after it was written, in nothing that counts.",
            next_step=_DECIDE_AGAIN,
        )


def _check_scores(path: Path, evaluation: Path, decided_on: Digest) -> None:
    """Compare a decision's copy of its scores with the evaluation, where that is the same one."""
    if not evaluation.is_dir():
        return
    scores = from_log(load_log(evaluation))
    if scores.digest != decided_on:
        return  # It was removed and made again since.
    try:
        found = path.read_bytes()
    except OSError as error:
        raise CorruptArtifact(
            f"The scores in {str(path)!r} can't be read: {error}.", next_step=_DECIDE_AGAIN
        ) from error
    if found != write_scores(scores).encode():
        raise CorruptArtifact(
            f"The scores in {str(path)!r} aren't those of the evaluation in {str(evaluation)!r}.",
            next_step=_DECIDE_AGAIN,
        )


def _compare(thing: Thing, event: LedgerEvent, stored: dict[str, Any]) -> None:
    for name, found in stored.items():
        expected = event.detail[name]
        if expected is not None and found != expected:
            raise _DoesNotFitError(
                thing,
                event.subject,
                f"The stored {thing} {event.subject[:SHORT]!r} has {name} {found!r}, event "
                f"{event.id} says {expected!r}.",
            )


def _of(events: Sequence[LedgerEvent], kind: str) -> list[LedgerEvent]:
    """The latest record of everything of one kind, in the order of their first ones."""
    return list({event.subject: event for event in events if event.kind == kind}.values())


def _damaged(thing: Thing, name: str, error: CorruptArtifact) -> _DoesNotFitError:
    return _DoesNotFitError(thing, name, error.message, error.next_step)
