"""Stored evaluations, decisions and releases -> MLflow: what isn't shown there yet is shown now."""

from dataclasses import asdict, dataclass
from pathlib import Path

from flows.addresses import mlflow_url
from flows.workspace import Workspace
from tasks.digest import Digest
from tasks.evaluate.run import Progress
from tasks.store import locked, read_json, write_json
from tasks.track.decisions import log_pending_decisions
from tasks.track.reindexes import log_pending_reindexes
from tasks.track.releases import Names, ShownReleases, show_releases
from tasks.track.runs import log_pending

_PROGRAM = Path(__file__).parents[1] / "release_model.py"
_RECEIPT = "mlflow-registry.json"


@dataclass(frozen=True, slots=True)
class TrackedRef:
    """What MLflow shows now that it didn't before."""

    releases: tuple[Digest, ...]
    evaluations: dict[Digest, str]
    """MLflow run id by evaluation."""
    decisions: tuple[Digest, ...]
    left: dict[Digest, str]
    """Why an evaluation can't be shown."""


def track(workspace: Workspace, progress: Progress) -> TrackedRef:
    """Show every release, evaluation and decision that MLflow doesn't have, oldest first.

    Raises:
        ServerUnavailable: MLflow doesn't answer; nothing is lost, the next call logs it.
    """
    # Releases first: the numbers of their evaluations are shown with them.
    releases = sync_registry(workspace, progress)
    names = _names(workspace)
    with workspace.registry() as registry:
        pending = log_pending(
            workspace.home.room("evals"),
            tracking_uri=mlflow_url(workspace.project),
            names=names,
            release_of=registry.release,
        )
    decisions = log_pending_decisions(
        workspace.home.room("decisions"),
        tracking_uri=mlflow_url(workspace.project),
        experiment=names.experiment,
    )
    log_pending_reindexes(
        workspace.home.room("reports"),
        tracking_uri=mlflow_url(workspace.project),
        experiment=names.experiment,
    )
    return TrackedRef(
        releases=releases.added,
        evaluations=pending.logged,
        decisions=decisions,
        left=pending.left,
    )


def sync_registry(
    workspace: Workspace, progress: Progress, *, compare: bool = False
) -> ShownReleases:
    """Make MLflow's model registry say what the ledger says.

    Args:
        workspace: settings and state.
        progress: told how many releases are done.
        compare: ask MLflow even when it was told everything before; somebody may have changed it.

    Raises:
        ServerUnavailable: MLflow doesn't answer; the next call goes on.
    """
    url, names = mlflow_url(workspace.project), _names(workspace)
    receipt = workspace.home.path(_RECEIPT)
    # What the ledger says is read inside the lock: else a slow process would put aliases back.
    lock = workspace.home.path("run", "mlflow-registry.lock")
    with locked(lock), workspace.registry() as registry:
        # The head first: what is written meanwhile is left to the next call.
        state = {"ledger": asdict(registry.head()), "url": url, "names": asdict(names)}
        if not compare and read_json(receipt) == state:
            return ShownReleases((), {})
        aliases = registry.aliases()
        releases = [registry.release(row.digest) for row in registry.releases()]
        if not releases:
            return ShownReleases((), {})
        shown = show_releases(
            releases,
            aliases,
            tracking_uri=url,
            names=names,
            program=_PROGRAM,
            index_directory=lambda digest: workspace.home.path("index", digest),
            progress=lambda done, total: progress("show releases in MLflow", done, total),
        )
        write_json(receipt, state)
    return shown


def _names(workspace: Workspace) -> Names:
    service = workspace.project.services.mlflow
    return Names(experiment=service.experiment, releases=service.model)
