import json
from dataclasses import replace

import pytest

from flows.steps.compare import compare_answers
from flows.steps.decide import SupportingEvidence, decide_stored
from flows.workspace import open_workspace
from tasks.digest import text_digest
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import load_log, save_log
from tasks.gate.policy import PREFERENCE, load_policy
from tasks.store import write_atomic
from tests.servers import Status
from tests.unit.flows.conftest import silent
from tests.unit.flows.evaluations import POLICY, evaluated, registered


@pytest.fixture
def workspace(project, server):
    """A project whose judge prefers the answer that stands first."""
    project.edit("services", vllm={"endpoint": server.url})
    price = {"currency": "USD", "input_per_million": 1.0, "output_per_million": 2.0}
    double = {"format": "endpoint", "context_length": 8192, "price": price}
    project.edit("models", generators={"double": double})
    project.edit("evaluate", judge={"model": "double", "sample": None}, attempts=1)
    rule = f"  {PREFERENCE}: {{kind: bounded, role: report, direction: higher, judge: true}}\n"
    (project.root / "configs" / "gate.yaml").write_text(POLICY.lstrip() + rule)
    server.models = ("double",)
    server.respond = lambda _: json.dumps({"better": "1"})
    return open_workspace()


@pytest.fixture
def evaluations(workspace):
    """Both sides, with another answer to the first of six cases."""
    old = evaluated(workspace, registered(workspace), right=20)
    new = evaluated(workspace, registered(workspace, 1), right=45)
    directory = workspace.home.path("evals", new)
    log = load_log(directory)
    first, *rest = log.results
    other = replace(first, answer=replace(first.answer, text="Another answer."))
    name = text_digest("changed")
    manifest = log.manifest.model_copy(update={"digest": name})
    changed = replace(log, manifest=manifest, results=(other, *rest))
    save_log(changed, workspace.home.room("evals"))
    return old, name


def test_answers_are_compared_once_and_the_judge_is_asked_only_where_they_differ(
    workspace, evaluations, server
):
    first = compare_answers(workspace, *evaluations, silent)
    assert len(first.rows) == 60
    assert len(server.requests) == 2
    assert first.places() == {"same": 59, "first": 1}
    again = compare_answers(open_workspace(), *evaluations, silent)
    assert again == first
    assert len(server.requests) == 2


def test_lost_calls_are_asked_for_again(workspace, evaluations, server):
    server.faults.append(Status(500))
    lost = compare_answers(workspace, *evaluations, silent)
    assert lost.lost_calls
    found = compare_answers(workspace, *evaluations, silent)
    assert not found.lost_calls
    assert found.digest == lost.digest
    # One of the two was answered the first time, and is in the cache.
    assert len(server.requests) == 3


def test_changed_preferences_are_named(workspace, evaluations):
    found = compare_answers(workspace, *evaluations, silent)
    path = workspace.home.path("preferences", f"{found.digest}.json")
    write_atomic(path, path.read_text().replace("champion", "nobody"))
    with pytest.raises(CorruptArtifact, match="can't be read"):
        compare_answers(workspace, *evaluations, silent)


def test_a_decision_shows_what_the_judge_prefers(workspace, evaluations):
    policy = load_policy(workspace.project.gate_policy)
    found = compare_answers(workspace, *evaluations, silent)
    ref, decision = decide_stored(
        workspace, policy, *evaluations, SupportingEvidence(preferences=found)
    )
    row = decision.comparison(PREFERENCE)
    assert (row.outcome, row.n, row.ties) == ("reported", 60, 60)
    page = ref.page.read_text()
    assert PREFERENCE in page
    assert "59 of 60" in page
    assert PREFERENCE in ref.markdown.read_text()
    without, _ = decide_stored(workspace, policy, *evaluations)
    assert without.verdict == ref.verdict
