"""`ratchet show` and `diff`: what a release is made of, how it did, and what changed."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import fsum
from typing import Annotated, Any

import typer
from rich.markup import escape

from flows.commands.console import Json, errors, print_json, reported, screen, table
from flows.workspace import Workspace, open_workspace
from registry import LedgerEvent
from registry.diff import MeasureChange, ReleaseDiff, compare_evaluations, index_side
from registry.retention import newest_evaluation
from tasks.answer.release import Release
from tasks.digest import SHORT, Digest
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import EvalLog, load_log
from tasks.report.numbers import mean

Name = Annotated[str, typer.Argument(help="The start of a digest, a label, champion or previous.")]

_COLOURS = {"+": "green", "-": "red", "~": "yellow", "@": "cyan"}


def show(release: Name = "champion", as_json: Json = False) -> None:
    """Show a release: prompt, model, parameters, index, its evaluations and decisions.

    Example: ratchet show champion
    """
    with reported():
        workspace = open_workspace()
        with workspace.registry() as registry:
            found = registry.release(release)
            events = registry.history()
        evaluations = [
            (event, _log(workspace, event.subject)) for event in _evaluations(events, found.digest)
        ]
        about = [event for event in events if _concerns(event, found.digest)]
        side = index_side(found, workspace.home.path("index"))
        if as_json:
            print_json(
                {
                    "digest": found.digest,
                    "label": found.label,
                    "release": found.model_dump(mode="json"),
                    "index": asdict(side),
                    "evaluations": [
                        {
                            "digest": event.subject,
                            "suite": event.detail["suite"],
                            "at": event.at,
                            "means": log and {name: value for name, _, value, _ in _means(log)},
                        }
                        for event, log in evaluations
                    ],
                    "events": [asdict(event) for event in about],
                }
            )
            return
        _print_content(found, str(side))
        _print_evaluations(evaluations)
        _print_events(about, found.digest)


def diff(old: Name, new: Name, as_json: Json = False) -> None:
    """Compare two releases: prompt, parameters, documents, chunks and measures.

    Example: ratchet diff previous champion
    """
    with reported():
        workspace = open_workspace()
        with workspace.registry() as registry:
            found = registry.diff(old, new)
            first, second = registry.resolve(old), registry.resolve(new)
            events = registry.history()
        measures = _compared(workspace, events, first, second)
        if as_json:
            print_json(asdict(found) | {"measures": [_row(row) for row in measures]})
            return
        _print_diff(found)
        _print_measures(measures)


def _print_content(release: Release, index: str) -> None:
    screen.print(f"[bold]{escape(release.label)}[/]  {release.digest}", soft_wrap=True)
    parts = table("", "")
    parts.show_header = False
    sampling = release.model.sampling.model_dump(mode="json")
    parts.add_row("model", escape(f"{release.model.served_name} ({release.model.form})"))
    parts.add_row("sampling", escape(_words(sampling)))
    parts.add_row("retrieval", escape(_words(release.retrieval.parameters())))
    parts.add_row("chunking", escape(_words(release.chunking.model_dump(mode="json"))))
    parts.add_row("embedding", escape(f"{release.embedding}@{release.embedding_digest[:SHORT]}"))
    parts.add_row("index", escape(index))
    parts.add_row("corpus", release.corpus_digest[:SHORT])
    screen.print(parts)
    screen.print(f"\n[bold]Prompt[/] {escape(release.prompt.name)}")
    for message in release.prompt.messages:
        screen.print(f"[cyan]\\[{message.role}][/]\n{escape(message.content)}")


def _print_evaluations(evaluations: Sequence[tuple[LedgerEvent, EvalLog | None]]) -> None:
    screen.print("\n[bold]Evaluations[/]" + ("" if evaluations else ": none yet"))
    for event, log in evaluations:
        where = f"{event.subject[:SHORT]} on suite {event.detail['suite'][:SHORT]}, {event.at}"
        if log is None:
            screen.print(f"{where}: not on this machine")
            continue
        screen.print(f"{where}, {len(log.results):,} cases")
        shown = table("measure", ">mean", ">cases", ">failed")
        for name, text, _, n in _means(log):
            shown.add_row(escape(name), text, f"{n:,}", f"{len(log.failed(name)):,}")
        screen.print(shown)


def _print_events(events: Sequence[LedgerEvent], release: Digest) -> None:
    screen.print("\n[bold]What happened[/]")
    shown = table("when", "what", "who", "why")
    for event in events:
        kind = event.kind.replace("_", " ")
        if event.kind == "decided":
            side = "as challenger" if event.detail["challenger"] == release else "as champion"
            kind = f"decided {event.detail['verdict']} {side}"
        elif event.kind in ("promoted", "rolled_back") and event.subject != release:
            kind = f"replaced by {event.subject[:SHORT]}"
        shown.add_row(event.at, kind, escape(event.who), escape(event.why))
    screen.print(shown)


def _print_diff(found: ReleaseDiff) -> None:
    for line in str(found).splitlines():
        colour = _COLOURS.get(line.lstrip()[:1])
        screen.print(f"[{colour}]{escape(line)}[/]" if colour else escape(line), soft_wrap=True)


def _print_measures(measures: Sequence[MeasureChange]) -> None:
    if not measures:
        screen.print("\nNo suite on which both were evaluated is on this machine.")
        return
    screen.print("\nMeasures of the newest evaluations on one suite; whether a difference is more")
    screen.print("than luck is what the gate decides.")
    shown = table("measure", ">old", ">new", ">cases")
    for row in measures:
        better = (row.new > row.old) == row.info.higher_is_better
        colour = "default" if row.new == row.old else "green" if better else "red"
        new = f"[{colour}]{row.shown(row.new)}[/]"
        shown.add_row(escape(row.info.name), row.shown(row.old), new, f"{row.n:,}")
    screen.print(shown)


def _compared(
    workspace: Workspace, events: Sequence[LedgerEvent], old: Digest, new: Digest
) -> tuple[MeasureChange, ...]:
    """Means of the newest evaluations on the suite that both were evaluated on last."""
    for event in reversed(_evaluations(events, new)):
        names = [
            newest_evaluation(events, release, workspace.home, suite=event.detail["suite"])
            for release in (old, new)
        ]
        logs = [_log(workspace, name) for name in names if name is not None]
        if len(logs) == 2 and logs[0] is not None and logs[1] is not None:
            return compare_evaluations(logs[0], logs[1])
    return ()


def _evaluations(events: Sequence[LedgerEvent], release: Digest) -> list[LedgerEvent]:
    """The last record of each evaluation of a release, oldest first."""
    found = {
        event.subject: event
        for event in events
        if event.kind == "evaluated" and event.detail["release"] == release
    }
    return sorted(found.values(), key=lambda event: event.id)


def _concerns(event: LedgerEvent, release: Digest) -> bool:
    if event.kind == "decided":
        return release in (event.detail["challenger"], event.detail["champion"])
    if event.kind in ("promoted", "rolled_back"):
        return release in (event.subject, event.detail.get("from"))
    return event.subject == release


def _log(workspace: Workspace, evaluation: Digest) -> EvalLog | None:
    directory = workspace.home.path("evals", evaluation)
    try:
        return load_log(directory) if directory.is_dir() else None
    except CorruptArtifact as error:
        # A damaged evaluation must not hide the rest; `ratchet verify` is there to complain.
        errors.print(f"[yellow]Left out:[/] {escape(error.message)}", soft_wrap=True)
        return None


def _means(log: EvalLog) -> Iterator[tuple[str, str, float, int]]:
    """Name, mean in words, mean and number of values of each measure that has any."""
    for info in log.manifest.measures:
        values = list(log.values(info.name).values())
        if values:
            found = fsum(values) / len(values)
            text = mean(info.kind, info.name, found, currency=log.manifest.currency)
            yield info.name, text, found, len(values)


def _row(change: MeasureChange) -> dict[str, Any]:
    return {
        "measure": change.info.name,
        "higher_is_better": change.info.higher_is_better,
        "old": change.old,
        "new": change.new,
        "n": change.n,
    }


def _words(parameters: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {_conditions(value) if isinstance(value, dict) else value}"
        for name, value in parameters.items()
        if value is not None
    )


def _conditions(filters: dict[str, list[str]]) -> str:
    return " and ".join(f"{name} = {' or '.join(allowed)}" for name, allowed in filters.items())
