"""`ratchet demo`: the life of a change, in four acts on real parts; it continues where it was."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.rule import Rule

from flows.addresses import mlflow_url, prefect_url
from flows.commands.console import in_prefect, reported, screen
from flows.commands.tables import outcome_lines
from flows.outcome import STAGED, Outcome, Word, verdict_of
from flows.services import up
from flows.workspace import Workspace, open_workspace
from tasks.errors import Terminal
from tasks.store import write_atomic, write_json

NOTE = Path("data/corpus/choosing-a-container.md")
FIRST_NOTE = """# Choosing a container

Use a list for a sequence that grows, a tuple for a record that doesn't change, and a set to ask
whether something was seen before.
"""
SECOND_NOTE = (
    FIRST_NOTE
    + """
For a queue that grows at both ends take collections.deque: a list moves every element when one is
inserted at its start.
"""
)


@dataclass(frozen=True, slots=True)
class Act:
    """One act: what is told before it, and how it is run."""

    title: str
    story: str
    play: Callable[[Workspace], Outcome]


def demo() -> None:
    """Play the life of a change: a first release, a better one, a worse one, a changed document.

    Everything is real: servers, model, index, decisions. Run again, it continues where it was.

    Example: ratchet demo
    """
    with reported():
        workspace = open_workspace()
        started = time.monotonic()
        up(workspace.project, workspace.home, lambda text: screen.print(f"[dim]{text}[/]"))
        if not _played(workspace):
            _write_note(workspace, FIRST_NOTE)
        for number, act in enumerate(ACTS, start=1):
            _perform(workspace, number, act)
        _epilogue(workspace, time.monotonic() - started)


def _perform(workspace: Workspace, number: int, act: Act) -> None:
    screen.print()
    screen.print(Rule(f"[bold]Act {number}: {act.title}", align="left"))
    played = _played(workspace)
    if str(number) in played:
        screen.print("[dim]Played before; this is what came of it.[/]")
        row = played[str(number)]
        outcome = Outcome(**(row | {"page": Path(row["page"]) if row["page"] else None}))
    else:
        screen.print(act.story)
        begun = time.monotonic()
        outcome = act.play(workspace)
        row = asdict(outcome) | {"page": str(outcome.page) if outcome.page else None}
        write_json(_file(workspace), played | {str(number): row})
        screen.print(f"[dim]{time.monotonic() - begun:.0f} s[/]")
    for line in outcome_lines(workspace, outcome):
        screen.print(line)


def _run(release: str) -> Callable[[Workspace], Outcome]:
    def play(workspace: Workspace) -> Outcome:
        def run() -> Any:
            from flows.nightly import nightly

            return nightly(release=release)

        outcome: Outcome = in_prefect(workspace, run)
        return outcome

    return play


def _change_document(workspace: Workspace) -> Outcome:
    _write_note(workspace, SECOND_NOTE)
    screen.print(f"[dim]A paragraph was added to {NOTE}. The deployment is triggered now.[/]")
    outcome: Outcome = in_prefect(workspace, lambda: _trigger(workspace))
    return outcome


def _trigger(workspace: Workspace) -> Outcome:
    """Run the deployment as the schedule does, on the worker, and wait for it."""
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment

    run: Any = run_deployment("nightly/nightly", timeout=0, tags=["demo"])
    with get_client(sync_client=True) as client, screen.status("waiting for the worker") as shown:
        while run.state is None or not run.state.is_final():
            time.sleep(2)
            run = client.read_flow_run(run.id)
            name = run.state.name if run.state else "scheduled"
            shown.update(f"{run.name}: {name.lower()}, {prefect_url(workspace.project)}")
    if run.state.is_failed() or run.state.is_crashed() or run.state.is_cancelled():
        raise Terminal(
            f"The nightly run {run.name!r} ended as {run.state.name}: {run.state.message}",
            next_step="Read its log: ratchet status",
        )
    return _outcome_of(workspace, run.state.name, str(run.state.message))


def _outcome_of(workspace: Workspace, state_name: str, message: str) -> Outcome:
    """The outcome of a run in another process, from its state and from what it stored."""
    verdict: Word = verdict_of(state_name)
    label = message.split(":", 1)[0]
    with workspace.registry() as registry:
        decided = [event for event in registry.history() if event.kind == "decided"]
    if verdict == "UNCHANGED" or not decided:
        return Outcome(verdict=verdict, release=label, message=message)
    digest = decided[-1].subject
    return Outcome(
        verdict=verdict,
        release=label,
        message=message,
        promoted=verdict == "PROMOTE" and state_name != STAGED,
        staged=state_name == STAGED,
        decision=digest,
        page=workspace.home.path("decisions", digest, "report.html"),
    )


def _epilogue(workspace: Workspace, seconds: float) -> None:
    with workspace.registry() as registry:
        champion = registry.champion()
    services = workspace.project.services
    screen.print()
    screen.print(Rule("[bold]What to look at", align="left"))
    live = champion.label if champion else "none"
    screen.print(f"Live now: [bold green]{escape(live)}[/]   ({seconds / 60:.1f} minutes)\n")
    screen.print(f"  Prefect   {prefect_url(workspace.project).removesuffix('/api')}")
    screen.print(
        f"  MLflow    {mlflow_url(workspace.project)}  (experiment {services.mlflow.experiment!r})"
    )
    screen.print(f"  Reports   {workspace.home.path('decisions')}/*/report.html\n")
    screen.print("What to type next:\n")
    for line in (
        '.venv/bin/ratchet ask "What removes the common indentation from a triple-quoted text?"',
        ".venv/bin/ratchet diff previous champion",
        ".venv/bin/ratchet history",
        '.venv/bin/ratchet rollback --why "just to see it"',
        "make down",
    ):
        screen.print(f"  {line}", soft_wrap=True)


def _write_note(workspace: Workspace, text: str) -> None:
    write_atomic(workspace.project.root / NOTE, text)


def _file(workspace: Workspace) -> Path:
    return workspace.home.path("demo.json")


def _played(workspace: Workspace) -> dict[str, dict[str, Any]]:
    path = _file(workspace)
    played: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    return played


ACTS = (
    Act(
        "the first release",
        "The documentation strings of Python's standard library are read, chunked, embedded and "
        "indexed. A plain prompt is evaluated; if it reaches the policy's floors, it goes live.",
        _run("configs/baseline.yaml"),
    ),
    Act(
        "a better prompt",
        "configs/release.yaml names another prompt. Both answer the same questions; the gate "
        "compares them case by case.",
        _run("configs/release.yaml"),
    ),
    Act(
        "a change for the worse",
        "It sounds reasonable: tell the model to say \"I don't know\" when it isn't sure. The "
        "small model gives up on questions that it could answer. The champion must survive it.",
        _run("configs/demo/worse.yaml"),
    ),
    Act(
        "a document changes",
        "The nightly flow, started on Prefect's worker as the schedule does it, notices, embeds "
        "just what changed, tests retrieval on the old and the new index, and decides.",
        _change_document,
    ),
)
