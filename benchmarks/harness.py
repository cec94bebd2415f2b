"""What every benchmark shares: a median, a table, and a result file under benchmarks/results."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tasks.store import write_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

Row = Mapping[str, str]

_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


def describe_machine() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=True),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
    }


@dataclass(frozen=True)
class Timing:
    """Wall times of the same work, run several times."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The run in the middle."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Result:
    """Outcome of one benchmark; figures are unrounded, and ratios compare one machine's."""

    id: str
    work: str
    own: Mapping[str, Any]
    peers: Mapping[str, Any]
    limit: Mapping[str, Any]
    """What no implementation could beat."""
    ratios: Mapping[str, float]
    goal: str
    met: bool
    versions: Mapping[str, str]
    machine: Mapping[str, Any] = field(default_factory=describe_machine)
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())


def time_runs(
    work: Callable[[Any], object], *, prepare: Callable[[], Any] = lambda: None, runs: int = 5
) -> Timing:
    """Time `work` several times.

    Args:
        work: gets what `prepare` made.
        prepare: makes fresh input for each run, untimed, so that nothing cached on it helps.
        runs: timed ones, after one that is thrown away.
    """
    seconds = []
    for _ in range(runs + 1):
        given = prepare()
        began = time.perf_counter()
        work(given)
        seconds.append(time.perf_counter() - began)
    return Timing(tuple(seconds[1:]))


def process_environment() -> dict[str, str]:
    """Environment for a process that is timed from its start: its code is compiled only once.

    pip compiles what it installs. Where Python is told to keep no compiled code, all other code,
    our own above all, would be compiled at every start.
    """
    return {name: value for name, value in os.environ.items() if name != _NO_BYTECODE}


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions of these distributions; absent ones are left out."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def show(result: Result, rows: Sequence[Row]) -> None:
    """Print a benchmark's table, one line for each mapping, and whether the goal was met."""
    table = Table(title=f"{result.id}: {result.work}", title_justify="left")
    columns = list(rows[0])
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(row[column] for column in columns))
    console = Console()
    console.print(table)
    console.print(f"Goal: {result.goal}: {'met' if result.met else 'NOT met'}")


def save(result: Result) -> Path:
    """Write the result file."""
    path = RESULTS / f"{result.id}.json"
    write_json(path, asdict(result))
    return path


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()
