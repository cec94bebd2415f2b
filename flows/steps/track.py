"""Stored evaluations and decisions -> MLflow: what isn't shown there yet is shown now."""

from dataclasses import dataclass

from flows.addresses import mlflow_url
from flows.workspace import Workspace
from tasks.digest import Digest
from tasks.track.decisions import log_pending_decisions
from tasks.track.runs import log_pending


@dataclass(frozen=True, slots=True)
class TrackedRef:
    """What MLflow shows now that it didn't before."""

    evaluations: dict[Digest, str]
    """MLflow run id by evaluation."""
    decisions: tuple[Digest, ...]
    left: dict[Digest, str]
    """Why an evaluation can't be shown."""


def track(workspace: Workspace) -> TrackedRef:
    """Log every evaluation and decision that MLflow doesn't have, oldest first.

    Raises:
        ServerUnavailable: MLflow doesn't answer; nothing is lost, the next call logs it.
    """
    service = workspace.project.services.mlflow
    with workspace.registry() as registry:
        pending = log_pending(
            workspace.home.room("evals"),
            tracking_uri=mlflow_url(workspace.project),
            experiment=service.experiment,
            release_of=registry.release,
        )
    decisions = log_pending_decisions(
        workspace.home.room("decisions"),
        tracking_uri=mlflow_url(workspace.project),
        experiment=service.experiment,
    )
    return TrackedRef(evaluations=pending.logged, decisions=decisions, left=pending.left)
