"""Re-index alone: read the corpus, embed what changed, store the version; nothing goes live."""

import logging
from dataclasses import replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import Completed

from flows.outcome import STATE_NAMES
from flows.policies import step
from flows.run_name import rename_run
from flows.shards import open_runner
from flows.show import run_progress
from flows.show_in_mlflow import show_in_mlflow
from flows.steps.index import (
    IndexRef,
    SnapshotRef,
    ensure_index,
    snapshot_corpus,
    wanted_release,
)
from flows.steps.reindex_report import write_reindex_report
from flows.steps.retrieval_tests import index_tests, refusal
from flows.workspace import Workspace, open_workspace
from tasks.answer.release import Release
from tasks.digest import SHORT
from tasks.gate.retrieval import IndexTests
from tasks.report.retrieval import line_of


@flow(name="reindex", log_prints=True)
def reindex(release: str = "configs/release.yaml") -> Any:
    """Build the index that the release file asks for, and test it beside the live one.

    The champion isn't touched. An index that no challenger may have ends the run as Held.

    Args:
        release: Release file, relative to the project.
    """
    workspace = open_workspace(release=release)
    with workspace.registry() as registry:
        live = registry.champion()
    snapshot = take_snapshot(workspace)
    wanted = wanted_release(workspace, snapshot.digest)
    index = build_wanted_index(workspace, wanted)
    tests = compare_indexes(workspace, live, wanted)
    index = report_reindex(workspace, live, index, tests)
    message = (
        f"index {index.digest[:12]}: {snapshot.documents} documents, {index.chunks} chunks, "
        f"{index.embedded} embedded, {index.reused} reused"
    )
    rename_run(f"reindex {index.digest[:12]}: {index.embedded} embedded")
    show_in_mlflow(workspace)
    if index.refused:
        return Completed(name=STATE_NAMES["HOLD"], message=index.refused[0], data=index)
    return Completed(message=message, data=index)


@step("test retrieval on old and new index")
def compare_indexes(
    workspace: Workspace, live: Release | None, wanted: Release
) -> IndexTests | None:
    """Search the same questions in both indexes; nothing where there is only one."""
    if live is None:
        return None
    with run_progress("retrieval") as progress:
        tests = index_tests(workspace, live, wanted, progress)
    if tests is None:
        return None
    for test in tests.tests:
        get_run_logger().log(logging.WARNING if test.stops else logging.INFO, line_of(test))
    for problem in tests.suite_problems:
        get_run_logger().warning("suite, not the index: %s", problem)
    return tests


@step("report the re-index")
def report_reindex(
    workspace: Workspace, live: Release | None, index: IndexRef, tests: IndexTests | None
) -> IndexRef:
    """Write the report of an index that isn't the live one, and show it in Prefect."""
    if live is not None and live.index_digest == index.digest:
        return index
    index = replace(index, refused=refusal(workspace, tests))
    ref = write_reindex_report(workspace, live, index, tests)
    get_run_logger().info("re-index report: %s", ref.page)
    create_markdown_artifact(
        ref.markdown.read_text(encoding="utf-8"),
        key="reindex",
        description=f"Index {index.digest[:SHORT]}",
    )
    return replace(index, report=ref.page)


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
