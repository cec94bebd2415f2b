"""The step that every flow ends with: MLflow shows what was stored."""

from prefect import get_run_logger

from flows.policies import step
from flows.show import run_progress
from flows.steps.track import track
from flows.workspace import Workspace
from tasks.errors import ServerUnavailable


@step("show in MLflow")
def show_in_mlflow(workspace: Workspace) -> None:
    """Log what MLflow doesn't have; when it is down, the next run does it and nothing is lost."""
    try:
        with run_progress("mlflow") as progress:
            shown = track(workspace, progress)
    except ServerUnavailable as error:
        get_run_logger().warning(
            "%s The evaluation is stored; the next run logs it.", error.message
        )
        return
    for digest, reason in shown.left.items():
        get_run_logger().warning("evaluation %s isn't in MLflow: %s", digest, reason)
