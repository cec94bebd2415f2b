"""Re-index alone: read the corpus, embed what changed, store the version; nothing goes live."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.states import Completed

from flows.policies import step
from flows.run_name import rename_run
from flows.shards import open_runner
from flows.show import run_progress
from flows.steps.index import (
    IndexRef,
    SnapshotRef,
    ensure_index,
    snapshot_corpus,
    wanted_release,
)
from flows.workspace import Workspace, open_workspace
from tasks.answer.release import Release


@flow(name="reindex", log_prints=True)
def reindex(release: str = "configs/release.yaml") -> Any:
    """Build the index that the release file asks for; the champion isn't touched.

    Args:
        release: Release file, relative to the project.
    """
    workspace = open_workspace(release=release)
    snapshot = take_snapshot(workspace)
    index = build_wanted_index(workspace, wanted_release(workspace, snapshot.digest))
    message = (
        f"index {index.digest[:12]}: {snapshot.documents} documents, {index.chunks} chunks, "
        f"{index.embedded} embedded, {index.reused} reused"
    )
    rename_run(f"reindex {index.digest[:12]}: {index.embedded} embedded")
    return Completed(message=message, data=index)


@step("snapshot the corpus")
def take_snapshot(workspace: Workspace) -> SnapshotRef:
    """Read every source; what was left out is counted, and named in a file."""
    with run_progress("snapshot") as progress:
        snapshot = snapshot_corpus(workspace, progress)
    get_run_logger().info("%d documents, left out: %s", snapshot.documents, snapshot.problems)
    if snapshot.flagged:
        get_run_logger().warning(
            "Suspicious documents that are kept: %s; they are named in %s",
            snapshot.flagged,
            snapshot.directory / "problems.json",
        )
    return snapshot


@step("index what changed")
def build_wanted_index(workspace: Workspace, wanted: Release) -> IndexRef:
    """Embed only what no earlier index holds."""
    with run_progress("index") as progress:
        index = ensure_index(
            workspace, wanted, progress, lambda model: open_runner(workspace, model)
        )
    get_run_logger().info(
        "%d chunks, %d embedded, %d reused", index.chunks, index.embedded, index.reused
    )
    changes = [
        {"document": name, "change": kind}
        for kind, names in (
            ("added", index.added),
            ("changed", index.changed),
            ("removed", index.removed),
        )
        for name in names[:100]
    ]
    if changes:
        create_table_artifact(
            changes,
            key="changed-documents",
            description="Documents that differ, at most 100 a kind.",
        )
    return index
