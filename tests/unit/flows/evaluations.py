"""Stored evaluations of small releases, for the gate and the commands to work on."""

from flows.workspace import Workspace
from tasks.answer.release import Release
from tasks.digest import Digest
from tasks.evaluate.log import save_log
from tests.evaluations import make_log, make_release

POLICY = """
clusters: false
resamples: 999
must_pass: answer_correct
measures:
  answer_correct: {kind: binary, role: primary, direction: higher, margin: 0.05, floor: 0.25}
  token_f1: {kind: bounded, role: guardrail, direction: higher, margin: 0.3}
  R@4: {kind: bounded, role: guardrail, direction: higher, margin: 0.3}
  rubric_accuracy: {kind: bounded, role: report, direction: higher, range: [1, 5]}
  latency_s: {kind: positive, role: report, direction: lower}
"""


def registered(workspace: Workspace, number: int = 0, **changes: str) -> Release:
    """A registered release that could go live: its index has a directory."""
    release = make_release(number).model_copy(update=changes)
    workspace.home.path("index", release.index_digest).mkdir(parents=True, exist_ok=True)
    with workspace.registry() as registry:
        registry.register(release, who="tester", why="for a test")
    return release


def evaluated(
    workspace: Workspace, release: Release, *, right: int, cases: int = 60, failed: int = 0
) -> Digest:
    """A stored evaluation in which so many of the cases are right."""
    log = make_log(release, cases=cases, right=right, failed=failed)
    save_log(log, workspace.home.room("evals"))
    return log.digest
