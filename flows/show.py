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
from tasks.report.numbers import duration
from tasks.serve.client import ModelClient

console = Console(stderr=True)
"""Standard output is for results: a script reads it."""
SAY_EVERY_S = 1.0
EVERY_S = 5.0
"""Between two lines of one stage where there is no terminal, and between updates in Prefect."""


CALLS = "calls"
"""Stage of the line that says how the calls to models are going; it has no end of its own."""


def calls_line(door: ModelClient, seconds: float, whose: str = "") -> str:
    """How the calls of one door are going: how many, how fast, at what cost.

    Args:
        door: open.
        seconds: since it was opened.
        whose: a name where there are several doors.
    """
    totals = door.meter.totals().values()
    sent = sum(each.calls - each.cache_hits for each in totals)
    hits = sum(each.cache_hits for each in totals)
    failures = sum(each.failures for each in totals)
    tokens = sum(each.input_tokens + each.output_tokens for each in totals)
    spent = sum(each.spent for each in totals)
    name = f"{CALLS} {whose}".strip()
    return (
        f"{name}: {sent:,} made, {hits:,} cached, {failures:,} failed, {sent / seconds:.1f}/s, "
        f"{tokens / seconds:,.0f} tokens/s, {door.stream.in_flight} in flight, "
        f"{spent:.4g} {door.price.currency}"
    )


@asynccontextmanager
async def showing_calls(
    door: ModelClient, progress: Progress, whose: str = ""
) -> AsyncIterator[None]:
    """Say every second how the calls are going, while the block runs; see `calls_line`."""
    began = time.monotonic()

    async def say() -> None:
        while True:
            await asyncio.sleep(SAY_EVERY_S)
            progress(calls_line(door, time.monotonic() - began, whose), 0, 0)

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


class Stages:
    """What a progress artifact says: every stage with an end, every door's calls, and time left."""

    def __init__(self) -> None:
        self._stages: dict[str, tuple[str, int, int]] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._calls: dict[str, str] = {}

    def told(self, stage: str, done: int, total: int, *, now: float) -> None:
        """A step says how far it is.

        Args:
            stage: what is done; what is before a colon names it.
            done: how much of it.
            total: of how much; 0 where nobody knows.
            now: monotonic seconds.
        """
        name = _name(stage)
        if total:
            self._began.setdefault(name, (now, done))
            self._stages[name] = (stage, done, total)
        elif name.split(" ")[0] == CALLS:
            self._calls[name] = stage

    def summary(self, *, now: float) -> tuple[float, str] | None:
        """Per cent of what is known to be done, and the words; None before anything is."""
        if not self._stages:
            return None
        done = sum(stage[1] for stage in self._stages.values())
        total = sum(stage[2] for stage in self._stages.values())
        parts = [", ".join(f"{stage} {done}/{of}" for stage, done, of in self._stages.values())]
        parts += self._calls.values()
        left = self._left(now)
        if left is not None:
            parts.append(f"about {duration(left)} left")
        return 100.0 * done / total, "; ".join(parts)

    def _left(self, now: float) -> float | None:
        """Of the stage that takes longest, at its speed so far; None while there is none."""
        found = []
        for name, (_, done, total) in self._stages.items():
            began, before = self._began[name]
            if before < done < total:
                found.append((now - began) / (done - before) * (total - done))
        return max(found, default=None)


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
    stages, lock = Stages(), threading.Lock()
    ended = threading.Event()

    def publish() -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        artifact: Any = None
        shown = None
        while True:
            over = ended.wait(EVERY_S)
            with lock:
                summary = stages.summary(now=time.monotonic())
            if summary is not None and summary != shown:
                shown = summary
                percent, text = summary
                if artifact is None:
                    artifact = create_progress_artifact(percent, key=key, description=text)
                else:
                    update_progress_artifact(artifact, percent, description=text)
            if over:
                return

    def show(stage: str, done: int, total: int) -> None:
        with lock:
            stages.told(stage, done, total, now=time.monotonic())

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
