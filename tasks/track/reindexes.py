"""Stored re-index reports -> MLflow runs with their numbers, page and picture; never twice."""

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.digest import SHORT
from tasks.report.reindex import FACTS, PAGE, PICTURE, ReindexFacts
from tasks.store import locked, read_json
from tasks.track.connection import connected
from tasks.track.experiment import ensure_experiment
from tasks.track.receipts import waiting, write_receipt

if TYPE_CHECKING:
    from mlflow import MlflowClient

REINDEX_TAG = "ratchet.reindex"


def log_pending_reindexes(room: Path, *, tracking_uri: str, experiment: str) -> tuple[str, ...]:
    """Log every stored report without a receipt, oldest first.

    Args:
        room: the directory with one directory a report.
        tracking_uri: URL of the MLflow server.
        experiment: where evaluations are shown, too.

    Returns:
        Ids of the runs that were made.

    Raises:
        ServerUnavailable: MLflow doesn't answer; nothing is lost.
    """
    made = []
    # Two processes that log the same report would each make a run.
    with locked(room / ".mlflow.lock"):
        pending = waiting(room, FACTS, tracking_uri=tracking_uri)
        if not pending:
            return ()
        with connected(tracking_uri) as client:
            experiment_id = ensure_experiment(client, experiment)
            for directory in pending:
                facts = ReindexFacts.model_validate(read_json(directory / FACTS))
                run_id = _log(client, experiment_id, facts, directory)
                write_receipt(directory, tracking_uri=tracking_uri, run_id=run_id)
                made.append(run_id)
    return tuple(made)


def reindex_metrics(facts: ReindexFacts) -> dict[str, float]:
    """Numbers of a report by their MLflow names, such as `probes/R_at_4/new`."""
    found = {
        "documents": facts.documents,
        "chunks": facts.chunks,
        "chunks_embedded": facts.embedded,
        "chunks_reused": facts.reused,
    }
    values: dict[str, float] = {name: float(value) for name, value in found.items()}
    for test in facts.tests.tests if facts.tests else ():
        row = test.comparison
        name = f"{test.questions}/{row.measure.replace('@', '_at_')}"
        for side, mean in (("old", row.mean_champion), ("new", row.mean_challenger)):
            if mean is not None:
                values[f"{name}/{side}"] = mean
    return values


def _log(client: "MlflowClient", experiment_id: str, facts: ReindexFacts, directory: Path) -> str:
    from mlflow.entities import Metric, Param

    run = client.create_run(
        experiment_id,
        run_name=f"re-index {facts.index[:SHORT]}",
        tags={
            REINDEX_TAG: facts.index,
            "ratchet.refused": str(bool(facts.refused)).lower(),
            "mlflow.source.name": "ratchet",
            "mlflow.source.type": "JOB",
            "mlflow.user": "ratchet",
        },
    )
    run_id = str(run.info.run_id)
    at = int(run.info.start_time)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, at, 0) for name, value in reindex_metrics(facts).items()],
        params=[
            Param("index", facts.index),
            Param("live_index", facts.live or "none"),
            Param("embedding", facts.embedding),
        ],
    )
    for name in (PAGE, PICTURE):
        client.log_artifact(run_id, str(directory / name))
    client.set_terminated(run_id, status="FINISHED", end_time=at)
    return run_id
