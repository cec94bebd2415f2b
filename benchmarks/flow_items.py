"""P11: ten thousand small items through a flow, beside plain asyncio and Prefect's `.map`."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Result, save, show, versions
from flows.commands.console import without_heartbeats
from tasks.serve.endpoint import Endpoint
from tasks.serve.governor import Governor
from tasks.serve.label import CallLabel
from tasks.serve.stream import Stream

ITEMS = 10_000
MAPPED = 200
"""Items of `.map`, each of which is a task run: ten thousand take minutes."""
AT_ONCE = 64
WORK_S = 0.01
"""What one item waits for, as a call waits for its server."""
RUNS = 5
OF_PLAIN = 1.1


def main() -> bool:
    """Run P11; whether its goal was met."""
    with tempfile.TemporaryDirectory() as home:
        # A process of its own: Prefect reads its settings once, and its temporary server ends with
        # the process.
        environment = os.environ | {
            "PREFECT_HOME": home,
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        }
        environment.pop("PREFECT_API_URL", None)
        out = Path(home) / "seconds.json"
        command = [sys.executable, "-m", "benchmarks.flow_items", str(out)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        seconds: dict[str, float] = json.loads(out.read_text())
    ratios = {
        "flow / plain": seconds["flow"] / seconds["plain"],
        "queue alone / plain": seconds["queue"] / seconds["plain"],
        f"map / flow, {MAPPED} items": seconds["map, few"] / seconds["flow, few"],
        f"map / plain, {MAPPED} items": seconds["map, few"] / seconds["plain, few"],
    }
    result = Result(
        id="P11",
        work=f"{ITEMS:,} items of {WORK_S * 1000:g} ms, {AT_ONCE} at a time, through a flow",
        own={"one task with the stream in it": {"seconds": seconds["flow"]}},
        peers={
            "plain asyncio": {"seconds": seconds["plain"]},
            f"Prefect .map, {MAPPED} items": {"seconds": seconds["map, few"]},
        },
        limit={"what the items wait": ITEMS * WORK_S / AT_ONCE},
        ratios=ratios,
        goal=f"{OF_PLAIN:g} x plain asyncio",
        met=ratios["flow / plain"] <= OF_PLAIN,
        versions=versions("prefect"),
    )
    names = {
        "plain": f"plain asyncio, {ITEMS:,} items",
        "queue": f"our queue without Prefect, {ITEMS:,} items",
        "flow": f"our flow: one task, {ITEMS:,} items",
        "plain, few": f"plain asyncio, {MAPPED} items",
        "flow, few": f"our flow: one task, {MAPPED} items",
        "map, few": f"Prefect .map: {MAPPED} tasks",
    }
    show(result, [{"who": who, "seconds": f"{seconds[key]:.3f}"} for key, who in names.items()])
    for name, value in ratios.items():
        print(f"{name}: {value:.2f}")
    save(result)
    return result.met


async def unit(number: int) -> int:
    """One item: it waits, and says which one it is."""
    await asyncio.sleep(WORK_S)
    return number


async def plain(items: int) -> list[int]:
    """What one would write without us: a semaphore and a gather."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> int:
        async with turn:
            return await unit(number)

    return list(await asyncio.gather(*(one(number) for number in range(items))))


async def through_the_stream(items: int) -> list[int]:
    """The same through the queue that all model calls go through."""
    stream = Stream([Endpoint("no server", Governor(AT_ONCE, AT_ONCE, fixed=True))])

    async def one(number: int) -> int:
        async with stream.turn(CallLabel("item", position=number), ""):
            return await unit(number)

    return list(await asyncio.gather(*(one(number) for number in range(items))))


def flows() -> tuple[Callable[[int], Sequence[int]], Callable[[int], Sequence[int]]]:
    """A flow with one task that holds the stream, and one with a task an item."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner

    from flows.policies import step

    shard = step("shard")(lambda items: asyncio.run(through_the_stream(items)))

    @flow(name="stream")
    def streamed(items: int) -> Any:
        return shard(items)

    @task(cache_policy=NO_CACHE)
    async def item(number: int) -> int:
        return await unit(number)

    @flow(name="map", task_runner=ThreadPoolTaskRunner(max_workers=AT_ONCE))  # type: ignore[arg-type]
    def mapped(items: int) -> Any:
        return item.map(range(items)).result()

    return streamed, mapped


def _measure() -> dict[str, float]:
    """Seconds of each way; the ways take turns, so that a slow minute hits all of them.

    All but `.map`, which comes last: the server works on its tasks' events for seconds after it.
    """
    streamed, mapped = flows()
    ways: dict[str, tuple[Callable[[int], Any], int]] = {
        "plain": (lambda items: asyncio.run(plain(items)), ITEMS),
        "queue": (lambda items: asyncio.run(through_the_stream(items)), ITEMS),
        "flow": (streamed, ITEMS),
        "plain, few": (lambda items: asyncio.run(plain(items)), MAPPED),
        "flow, few": (streamed, MAPPED),
    }
    # Starts the temporary server, which every run of a nightly process shares.
    streamed(1)
    mapped(1)
    rounds = [ways] * RUNS + [{"map, few": (mapped, MAPPED)}] * RUNS
    seconds: dict[str, list[float]] = defaultdict(list)
    for each in rounds:
        for name, (way, items) in each.items():
            began = time.perf_counter()
            done = way(items)
            seconds[name].append(time.perf_counter() - began)
            if sorted(done) != list(range(items)):
                raise RuntimeError(f"{name} lost items: {len(done)} of {items}")
    return {name: statistics.median(times) for name, times in seconds.items()}


if __name__ == "__main__":
    # As a command of ours runs its flows where no Prefect server is up.
    with without_heartbeats():
        Path(sys.argv[1]).write_text(json.dumps(_measure()))
