"""Progress of a step -> a bar in the terminal, and a progress artifact in Prefect."""

import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
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
from tasks.serve.client import ModelClient

console = Console(stderr=True)
"""Standard output is for results: a script reads it."""
SAY_EVERY_S = 1.0
EVERY_S = 5.0
"""Between two lines of one stage where there is no terminal, and between updates in Prefect."""


CALLS = "calls"
"""Stage of the line that says how the calls to models are going; it has no end of its own."""


def calls_line(door: ModelClient, seconds: float) -> str:
    """How the calls of one door are going: how many, how fast, at what cost.

    Args:
        door: open.
        seconds: since it was opened.
    """
    totals = door.meter.totals().values()
    sent = sum(each.calls - each.cache_hits for each in totals)
    hits = sum(each.cache_hits for each in totals)
    failures = sum(each.failures for each in totals)
    tokens = sum(each.input_tokens + each.output_tokens for each in totals)
    spent = sum(each.spent for each in totals)
    return (
        f"{CALLS}: {sent:,} made, {hits:,} cached, {failures:,} failed, {sent / seconds:.1f}/s, "
        f"{tokens / seconds:,.0f} tokens/s, {door.stream.in_flight} in flight, "
        f"{spent:.4g} {door.price.currency}"
    )


@asynccontextmanager
async def showing_calls(door: ModelClient, progress: Progress) -> AsyncIterator[None]:
    """Say every second how the calls are going, while the block runs."""
    began = time.monotonic()

    async def say() -> None:
        while True:
            await asyncio.sleep(SAY_EVERY_S)
            progress(calls_line(door, time.monotonic() - began), 0, 0)

    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()
        with suppress(asyncio.CancelledError):
            await saying


def _name(stage: str) -> str:
    """What a line stands for: what is before a colon; the rest changes from one to the next."""
    return stage.partition(":")[0]


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
            name = _name(stage)
            if name not in known:
                known[name] = bars.add_task(stage, total=total or None)
            bars.update(known[name], description=stage, completed=done, total=total or None)

        yield show


def _lines() -> Progress:
    last: dict[str, float] = {}

    def show(stage: str, done: int, total: int) -> None:
        now, name = time.monotonic(), _name(stage)
        # A line without an end of its own is never the last one.
        unfinished = not total or done != total
        if name in last and unfinished and now - last[name] < EVERY_S:
            return
        last[name] = now
        # print and not the console: Prefect shows what a run prints among its logs.
        print(f"  {stage}" + (f" {done}/{total}" if total else ""), file=sys.stderr, flush=True)

    return show


@contextmanager
def prefect_progress(key: str) -> Iterator[Progress]:
    """A progress artifact of the current run, updated from a thread of its own.

    Steps call back from inside an event loop, where Prefect's blocking calls can't be made.
    """
    latest: tuple[str, int, int] | None = None
    calls = ""
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
                text, percent = (
                    f"{stage} {done}/{total}; {calls}".rstrip("; "),
                    100.0 * done / total,
                )
                if artifact is None:
                    artifact = create_progress_artifact(percent, key=key, description=text)
                else:
                    update_progress_artifact(artifact, percent, description=text)
            if over:
                return

    def show(stage: str, done: int, total: int) -> None:
        nonlocal latest, calls
        if total:
            latest = (stage, done, total)
        elif _name(stage) == CALLS:
            calls = stage

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
