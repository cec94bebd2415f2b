"""Progress of a step -> a bar in the terminal, and a progress artifact in Prefect."""

import contextvars
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from tasks.evaluate.run import Progress

console = Console(stderr=True)
"""Standard output is for results: a script reads it."""
EVERY_S = 5.0
"""Between two lines of one stage where there is no terminal, and between updates in Prefect."""


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """One bar a stage while the block runs; plain lines where the output isn't a terminal."""
    if not console.is_terminal:
        yield _lines()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        known: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in known:
                known[stage] = bars.add_task(stage, total=total or None)
            bars.update(known[stage], completed=done, total=total or None)

        yield show


def _lines() -> Progress:
    last: dict[str, float] = {}

    def show(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage in last and done != total and now - last[stage] < EVERY_S:
            return
        last[stage] = now
        # print and not the console: Prefect shows what a run prints among its logs.
        print(f"  {stage}" + (f" {done}/{total}" if total else ""), file=sys.stderr, flush=True)

    return show


@contextmanager
def prefect_progress(key: str) -> Iterator[Progress]:
    """A progress artifact of the current run, updated from a thread of its own.

    Steps call back from inside an event loop, where Prefect's blocking calls can't be made.
    """
    latest: tuple[str, int, int] | None = None
    ended = threading.Event()

    def publish() -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        artifact: Any = None
        shown = None
        while True:
            over = ended.wait(EVERY_S)
            if latest is not None and latest != shown:
                shown = latest
                stage, done, total = shown
                text, percent = f"{stage} {done}/{total}", 100.0 * done / total
                if artifact is None:
                    artifact = create_progress_artifact(percent, key=key, description=text)
                else:
                    update_progress_artifact(artifact, percent, description=text)
            if over:
                return

    def show(stage: str, done: int, total: int) -> None:
        nonlocal latest
        if total:
            latest = (stage, done, total)

    # The thread must know the run that its artifact belongs to.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(publish,), daemon=True)
    thread.start()
    try:
        yield show
    finally:
        ended.set()
        thread.join(timeout=10)


@contextmanager
def run_progress(key: str) -> Iterator[Progress]:
    """Both: what a person at the terminal and a person in the Prefect UI want to see."""
    with terminal_progress() as terminal, prefect_progress(key) as artifact:

        def show(stage: str, done: int, total: int) -> None:
            terminal(stage, done, total)
            artifact(stage, done, total)

        yield show
