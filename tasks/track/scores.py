"""EvalLog -> the numbers of an MLflow run and its table of cases, in three requests and a file."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.evaluate.log import EvalLog
from tasks.track.table import case_table

if TYPE_CHECKING:
    from mlflow import MlflowClient

TABLE = "cases.json"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run holds beside its table of cases."""

    name: str
    started_ms: int
    ended_ms: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    model_id: str | None = None
    """Logged model on whose page the numbers are shown too."""


@contextmanager
def scored_run(
    client: "MlflowClient", experiment_id: str, log: EvalLog, record: RunRecord
) -> Iterator[str]:
    """Make a run with its numbers and the table of all cases; it is finished when the block ends.

    As many requests for one case as for a hundred thousand: one makes the run, one sends the
    numbers, one ends it, and one uploads the table.

    Args:
        client: of the tracking server, which must be the process-wide one.
        experiment_id: where the run belongs.
        log: the evaluation, for the table.
        record: the run's name, times, tags, parameters and numbers.

    Yields:
        The run's id.
    """
    from mlflow.entities import Metric, Param
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

    # By this tag MLflow's page and its evaluation view know that the file is a table.
    shown = {MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": TABLE, "type": "table"}])}
    run = client.create_run(
        experiment_id,
        start_time=record.started_ms,
        run_name=record.name,
        tags={**record.tags, **shown},
    )
    run_id, model_id = str(run.info.run_id), record.model_id
    client.log_batch(
        run_id,
        metrics=[
            # Named by its model, a number is on the release's page too.
            Metric(
                name,
                value,
                record.ended_ms,
                0,
                model_id=model_id,
                run_id=run_id if model_id else None,
            )
            for name, value in record.metrics.items()
        ],
        params=[Param(name, value) for name, value in record.params.items()],
    )
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / TABLE
        file.write_text(json.dumps(split(case_table(log)), allow_nan=False))
        # MLflow's own log_table reads the run three times and its files once, to add to a table
        # that can't be there.
        files: Any = get_artifact_repository(run.info.artifact_uri)
        files.log_artifact(str(file))
    yield run_id
    # Last: a run that isn't finished counts as not logged.
    client.set_terminated(run_id, status="FINISHED", end_time=record.ended_ms)


def split(table: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Columns as MLflow stores a table: pandas' orientation `split`."""
    return {
        "columns": list(table),
        "data": [list(row) for row in zip(*table.values(), strict=True)],
    }
