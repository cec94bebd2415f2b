"""Evaluate one release on the suite, without a decision."""

from collections.abc import Sequence
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.policies import asking_models, step
from flows.reindex import build_wanted_index, take_snapshot
from flows.run_name import rename_run
from flows.show_in_mlflow import show_in_mlflow
from flows.steps.evaluate import evaluate_release, plan_release
from flows.steps.index import wanted_release
from flows.workspace import Workspace, actor, open_workspace
from tasks.answer.release import Release
from tasks.digest import SHORT, Digest


@flow(name="evaluate", log_prints=True)
def evaluate(
    release: str = "configs/release.yaml",
    cases: Annotated[int | None, Field(gt=0)] = None,
    offline: bool = False,
) -> Any:
    """Evaluate a release; nothing is decided and the champion isn't touched.

    Args:
        release: A release file, relative to the project; or a registered release: the start of
            its digest, its label, champion or previous.
        cases: Evaluate only so many cases, for a quick look.
        offline: Start an engine for this evaluation alone, and no server.
    """
    workspace, chosen = choose_release(release, cases=cases, offline=offline)
    digest = evaluate_one(workspace, chosen, "evaluation")
    show_in_mlflow(workspace)
    rename_run(f"evaluate {chosen.label}: {digest[:SHORT]}")
    return Completed(message=f"{chosen.label}: evaluation {digest[:SHORT]}", data=digest)


def choose_release(
    name: str, *, cases: int | None, offline: bool = False
) -> tuple[Workspace, Release]:
    """A release by its file, indexed and registered if it wasn't; or a registered one by name."""
    if not name.endswith((".yaml", ".yml")):
        workspace = open_workspace(cases=cases, offline=offline)
        with workspace.registry() as registry:
            return workspace, registry.release(name)
    workspace = open_workspace(release=name, cases=cases, offline=offline)
    wanted = wanted_release(workspace, take_snapshot(workspace).digest)
    plan_release(workspace, wanted)
    build_wanted_index(workspace, wanted)
    with workspace.registry() as registry:
        registry.register(wanted, who=actor(), why=f"described by {name}")
    return workspace, wanted


@step("evaluate")
def evaluate_one(
    workspace: Workspace, release: Release, role: str, beside: Sequence[Release] = ()
) -> Digest:
    """Evaluate, one run an endpoint at a time; an evaluation that was finished is found again.

    Where it must be made, what it will be compared with is evaluated in the same stream.
    """
    with asking_models(workspace, role) as progress:
        digest = evaluate_release(
            workspace, release, progress, beside=beside, warn=get_run_logger().warning
        )
    get_run_logger().info("%s %s: evaluation %s", role, release.label, digest[:SHORT])
    return digest
