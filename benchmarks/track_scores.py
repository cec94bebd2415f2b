"""P12: twenty measures of a thousand cases into a real MLflow server, beside `log_metric`."""

import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, save, show, versions
from tasks.evaluate.log import EvalLog, MeasureInfo, save_log
from tasks.evaluate.measures.base import Score
from tasks.track.connection import connected
from tasks.track.releases import Names
from tasks.track.runs import log_evaluation
from tasks.track.scores import RunRecord, scored_run
from tests.evaluations import make_log, make_release
from tests.tracking import MlflowServer

CASES, MEASURES = 1_000, 20
LOOPED = 2_000
"""Values that the loop is timed on; its time grows with their number, and all take minutes."""
BATCH = 1_000
"""The most metrics that MLflow takes in one request."""
RUNS = 5
MOST_REQUESTS, OF_LOOP = 3, 50.0
NAMES = Names(experiment="P12", releases="P12")


def main() -> bool:
    """Run P12; whether its goal was met."""
    with tempfile.TemporaryDirectory() as directory, mlflow_server(Path(directory)) as server:
        logs = [make_scores(number) for number in range(RUNS + 1)]
        numbers = [_numbers(server, log) for log in logs]
        wholes = [_whole(server, log, Path(directory) / "evals") for log in logs]
        with connected(server.url) as client:
            loop = _counted(server, lambda: _loop(client))
            batches = _counted(server, lambda: _batches(client))
    everything = replace(
        loop,
        seconds=loop.seconds * CASES * MEASURES / LOOPED,
        requests=loop.requests * CASES * MEASURES // LOOPED,
    )
    # The first one of each makes what all the others find: experiment, prompt, imported libraries.
    seconds = {
        "numbers": statistics.median(each.seconds for each in numbers[1:]),
        "whole": statistics.median(each.seconds for each in wholes[1:]),
    }
    most = {
        "numbers": max(each.requests - each.uploads for each in numbers[1:]),
        "whole": max(each.requests - each.uploads for each in wholes[1:]),
    }
    uploads = max(each.uploads for each in numbers[1:])
    ratios = {
        "loop / numbers and table": everything.seconds / seconds["numbers"],
        "loop / whole evaluation": everything.seconds / seconds["whole"],
        "log_batch of every value / numbers and table": batches.seconds / seconds["numbers"],
    }
    result = Result(
        id="P12",
        work=f"{MEASURES} measures x {CASES:,} cases into an MLflow server on SQLite",
        own={
            "numbers and table": {
                "seconds": seconds["numbers"],
                "requests": most["numbers"],
                "artifacts": uploads,
            },
            "whole evaluation": {
                "seconds": seconds["whole"],
                "requests": most["whole"],
                "artifacts": max(each.uploads for each in wholes[1:]),
            },
        },
        peers={
            "log_metric loop": {
                "seconds": everything.seconds,
                "requests": everything.requests,
                "timed on": LOOPED,
            },
            "log_batch of every value": {"seconds": batches.seconds, "requests": batches.requests},
        },
        limit={},
        ratios=ratios,
        goal=f"{MOST_REQUESTS} requests and one artifact, {OF_LOOP:g} x the loop",
        met=most["numbers"] <= MOST_REQUESTS
        and uploads == 1
        and ratios["loop / whole evaluation"] >= OF_LOOP,
        versions=versions("mlflow"),
    )
    show(result, [*_rows(result.own), *_rows(result.peers)])
    for name, value in ratios.items():
        print(f"{name}: {value:.1f}")
    save(result)
    return result.met


@dataclass(frozen=True, slots=True)
class Logged:
    """What logging took, by the server's own access log."""

    seconds: float
    requests: int
    """All of them, uploads too."""
    uploads: int


def requests_in(access_log: str) -> Counter[str]:
    """Requests by method, in the lines of a server's access log."""
    return Counter(
        line.split('"')[1].split()[0] for line in access_log.splitlines() if ' HTTP/1.1" ' in line
    )


def make_scores(number: int) -> EvalLog:
    """An evaluation of a thousand cases by twenty measures; each number is another one."""
    draw = random.Random(number)  # noqa: S311  (no secret)
    log = make_log(make_release(0, index=f"index {number}"), cases=CASES, failed=0)
    measures = tuple(
        MeasureInfo(
            name=f"measure_{place:02d}",
            version=1,
            kind="bounded",
            higher_is_better=True,
            judged=False,
        )
        for place in range(MEASURES)
    )
    scores = tuple(
        Score(case.case_id, info.name, draw.random()) for info in measures for case in log.cases
    )
    return replace(
        log, manifest=log.manifest.model_copy(update={"measures": measures}), scores=scores
    )


@contextmanager
def mlflow_server(directory: Path) -> Iterator[MlflowServer]:
    """A server of its own, on SQLite."""
    server = MlflowServer(directory / "mlflow")
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _counted(server: MlflowServer, work: Callable[[], object]) -> Logged:
    file = server.directory / "server.log"
    before = requests_in(file.read_text())
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    made = requests_in(file.read_text()) - before
    return Logged(seconds, made.total(), made["PUT"])


def _numbers(server: MlflowServer, log: EvalLog) -> Logged:
    """The numbers of an evaluation and its table, without chart, lineage and traces."""
    from tasks.track.experiment import ensure_experiment
    from tasks.track.metrics import mean_scores, run_metrics

    with connected(server.url) as client:
        experiment = ensure_experiment(client, NAMES.experiment)

        def work() -> None:
            record = RunRecord(
                name=log.manifest.release_label,
                started_ms=0,
                ended_ms=1,
                tags={},
                params={},
                metrics=run_metrics(log, mean_scores(log)),
            )
            with scored_run(client, experiment, log, record):
                pass

        return _counted(server, work)


def _whole(server: MlflowServer, log: EvalLog, room: Path) -> Logged:
    """All that a nightly run shows of an evaluation."""
    release = make_release(0, index=f"index {log.digest}")
    directory = save_log(log, room)
    return _counted(
        server,
        lambda: log_evaluation(
            log, release, tracking_uri=server.url, names=NAMES, directory=directory
        ),
    )


def _loop(client: Any) -> None:
    run = client.create_run(client.create_experiment("loop")).info.run_id
    for number in range(LOOPED):
        client.log_metric(run, f"measure_{number // CASES:02d}", 0.5, step=number % CASES)
    client.set_terminated(run)


def _batches(client: Any) -> None:
    from mlflow.entities import Metric

    run = client.create_run(client.create_experiment("batches")).info.run_id
    values = [
        Metric(f"measure_{number // CASES:02d}", 0.5, 0, number % CASES)
        for number in range(CASES * MEASURES)
    ]
    for start in range(0, len(values), BATCH):
        client.log_batch(run, values[start : start + BATCH])
    client.set_terminated(run)


def _rows(who: Any) -> list[dict[str, str]]:
    return [
        {
            "who": name,
            "seconds": f"{found['seconds']:.2f}",
            "requests": f"{found['requests']:,}",
            "artifacts": f"{found.get('artifacts', 0)}",
        }
        for name, found in who.items()
    ]


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
