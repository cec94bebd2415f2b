"""EvalLog -> one MLflow run: parameters, numbers, a table, traces, lineage; never twice."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tasks.answer.release import Release
from tasks.digest import Digest
from tasks.errors import RatchetError, ServerUnavailable
from tasks.evaluate.log import EvalLog, load_log
from tasks.store import locked
from tasks.track.connection import connected
from tasks.track.experiment import ensure_experiment
from tasks.track.figure import score_figure
from tasks.track.metrics import mean_scores, run_metrics, run_params
from tasks.track.prompts import ensure_prompt, registered_name
from tasks.track.receipts import read_receipt, waiting, write_receipt
from tasks.track.releases import Names, model_of
from tasks.track.scores import RunRecord, scored_run
from tasks.track.table import suite_lineage
from tasks.track.traces import log_traces

if TYPE_CHECKING:
    from mlflow import MlflowClient

EVALUATION_TAG = "ratchet.evaluation"


@dataclass(frozen=True, slots=True)
class Pending:
    """What `log_pending` did."""

    logged: dict[Digest, str]
    """Run id by evaluation."""
    left: dict[Digest, str]
    """Why, by evaluation that can't be logged."""


def log_evaluation(
    log: EvalLog,
    release: Release,
    *,
    tracking_uri: str,
    names: Names,
    directory: Path,
) -> str:
    """Show a finished evaluation in MLflow, once.

    Args:
        log: the evaluation.
        release: what it evaluated.
        tracking_uri: URL of the MLflow server.
        names: the experiment, made when it isn't there, and where the release is shown.
        directory: where the log is stored; gets the receipt `mlflow.json`.

    Returns:
        The run's id; of the run that shows it already, if there is one.

    Raises:
        ServerUnavailable: MLflow doesn't answer; what was begun is begun again next time.
        Terminal: MLflow refuses what it is sent.
    """
    # Two processes that log the same evaluation would each find no run and make one.
    with locked(directory.parent / ".mlflow.lock"):
        known = read_receipt(directory, tracking_uri=tracking_uri)
        if known is not None:
            return known
        with connected(tracking_uri) as client:
            experiment_id = ensure_experiment(client, names.experiment)
            run_id = find_run(client, experiment_id, log.digest)
            if run_id is None:
                _delete_unfinished(client, experiment_id, log.digest)
                run_id = _log_run(client, experiment_id, log, release, names)
        write_receipt(directory, tracking_uri=tracking_uri, run_id=run_id)
        return run_id


def log_pending(
    room: Path,
    *,
    tracking_uri: str,
    names: Names,
    release_of: Callable[[Digest], Release],
) -> Pending:
    """Log every finished evaluation that has no receipt, oldest first.

    Args:
        room: the directory with one directory an evaluation.
        tracking_uri: URL of the MLflow server.
        names: the experiment, and where releases are shown.
        release_of: finds a release by its digest; raises a RatchetError when it can't.

    Raises:
        ServerUnavailable: MLflow doesn't answer; nothing is lost.
    """
    logged: dict[Digest, str] = {}
    left: dict[Digest, str] = {}
    for directory in waiting(room, "manifest.json", tracking_uri=tracking_uri):
        try:
            log = load_log(directory)
            logged[directory.name] = log_evaluation(
                log,
                release_of(log.manifest.release_digest),
                tracking_uri=tracking_uri,
                names=names,
                directory=directory,
            )
        except ServerUnavailable:
            raise
        except RatchetError as error:
            # One unreadable evaluation must not keep the others from being shown.
            left[directory.name] = str(error)
    return Pending(logged=logged, left=left)


def find_run(client: "MlflowClient", experiment_id: str, evaluation: Digest) -> str | None:
    """Id of the finished run that shows an evaluation; None when there is none."""
    runs = _runs(client, experiment_id, evaluation, "=")
    return str(runs[0].info.run_id) if runs else None


def _delete_unfinished(client: "MlflowClient", experiment_id: str, evaluation: Digest) -> None:
    """Remove what a process left behind that died while it logged this evaluation."""
    for run in _runs(client, experiment_id, evaluation, "!="):
        traces = client.search_traces(
            locations=[experiment_id], run_id=run.info.run_id, include_spans=False
        )
        if traces:
            client.delete_traces(experiment_id, trace_ids=[trace.info.trace_id for trace in traces])
        client.delete_run(run.info.run_id)


def _runs(
    client: "MlflowClient", experiment_id: str, evaluation: Digest, finished: Literal["=", "!="]
) -> list[Any]:
    return list(
        client.search_runs(
            [experiment_id],
            f"tags.`{EVALUATION_TAG}` = '{evaluation}' AND attributes.status {finished} 'FINISHED'",
        )
    )


def run_name(log: EvalLog) -> str:
    """What lists show: release, suite and when it ran."""
    started = datetime.fromisoformat(log.manifest.started_at)
    return f"{log.manifest.release_label} · {log.manifest.suite_name} · {started:%Y-%m-%d %H:%M}"


def _log_run(
    client: "MlflowClient", experiment_id: str, log: EvalLog, release: Release, names: Names
) -> str:
    from mlflow.entities import LoggedModelInput

    manifest = log.manifest
    started = datetime.fromisoformat(manifest.started_at)
    prompt_version = ensure_prompt(client, release.prompt)
    scores = mean_scores(log)
    # None: the release isn't shown yet, as when it was registered in another ledger.
    model_id = model_of(client, names, release.digest)
    record = RunRecord(
        name=run_name(log),
        started_ms=_milliseconds(started),
        ended_ms=_milliseconds(started + timedelta(seconds=manifest.wall_s)),
        tags=_tags(log) | _linked_prompt(release, prompt_version),
        params=run_params(log, release),
        metrics=run_metrics(log, scores),
        model_id=model_id,
    )
    with scored_run(client, experiment_id, log, record) as run_id:
        models = [LoggedModelInput(model_id)] if model_id else None
        client.log_inputs(run_id, datasets=[suite_lineage(log)], models=models)
        client.log_figure(run_id, score_figure(scores, title=run_name(log)), "scores.png")
        log_traces(client, log, release, experiment_id=experiment_id, run_id=run_id)
    return run_id


def _linked_prompt(release: Release, version: int) -> dict[str, str]:
    """The tag by which MLflow links a run to its prompt; its own call for that is six requests."""
    from mlflow.tracing.constant import TraceTagKey

    linked = [{"name": registered_name(release.prompt), "version": str(version)}]
    return {TraceTagKey.LINKED_PROMPTS: json.dumps(linked)}


def _tags(log: EvalLog) -> dict[str, str]:
    manifest = log.manifest
    tags = {
        EVALUATION_TAG: log.digest,
        "ratchet.release": manifest.release_digest,
        "ratchet.suite": manifest.suite_digest,
        "ratchet.judge": manifest.judge_digest,
        "mlflow.source.name": "ratchet",
        "mlflow.source.type": "JOB",
        "mlflow.user": "ratchet",
        **{f"version.{name}": version for name, version in manifest.versions.items()},
    }
    if manifest.git_commit is not None:
        tags["mlflow.source.git.commit"] = manifest.git_commit
    return tags


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
