import json

import pytest

from flows.steps.decide import (
    decide_stored,
    load_evaluation,
    policy_for,
    promote_decided,
    record_decision,
)
from flows.steps.evaluate import plan_release
from flows.steps.move import promote_named
from flows.workspace import Workspace, open_workspace
from tasks.answer.release import Release
from tasks.digest import text_digest
from tasks.errors import ConfigError, CorruptArtifact, PromotionConflict, RegistryError
from tasks.gate.decision import load_decision
from tasks.gate.policy import load_policy
from tests.evaluations import make_release
from tests.unit.flows.conftest import WORDS, case_line, publish
from tests.unit.flows.evaluations import POLICY, evaluated, registered


@pytest.fixture
def workspace(project, workspace) -> Workspace:
    (project.root / "configs" / "gate.yaml").write_text(POLICY)
    return workspace


def decide(workspace: Workspace, live: Release | None, wanted: Release, *, right: int):
    """Evaluate and decide; the live release gets 20 of 60 cases right."""
    policy = policy_for(workspace, live, wanted)
    champion = evaluated(workspace, live, right=20) if live else None
    return decide_stored(workspace, policy, champion, evaluated(workspace, wanted, right=right))


def test_only_a_pure_corpus_refresh_is_judged_by_doing_no_harm(workspace):
    live = make_release()
    newer = live.model_copy(update={"index_digest": text_digest("n")})
    policy = load_policy(workspace.project.gate_policy)
    assert policy_for(workspace, live, newer) == policy.for_refresh()
    assert policy_for(workspace, live, make_release(1)) == policy
    assert policy_for(workspace, None, newer) == policy


def test_weights_that_are_only_served_otherwise_have_to_cost_less(project, workspace):
    path = project.root / "configs" / "gate.yaml"
    cost = "  cost: {kind: positive, role: report, direction: lower}\n"
    path.write_text(path.read_text() + cost + "cheaper: cost\n")
    policy = load_policy(path)
    live = make_release()
    model = live.model.model_copy(update={"sha256": "a" * 64})
    live = live.model_copy(update={"model": model})
    faster = model.model_copy(update={"name": "faster", "server_flags": {"max-num-seqs": 64}})
    profile = live.model_copy(update={"model": faster})
    assert policy_for(workspace, live, profile) == policy.for_cheaper()
    assert policy_for(workspace, live, profile).primary == "cost"
    for other in (
        {"sha256": "b" * 64},
        {"sampling": model.sampling.model_copy(update={"seed": 9})},
    ):
        changed = live.model_copy(update={"model": faster.model_copy(update=other)})
        assert policy_for(workspace, live, changed) == policy


def test_a_wrong_policy_is_a_configuration_error(project, workspace):
    (project.root / "configs" / "gate.yaml").write_text("measures: {}\n")
    with pytest.raises(ConfigError, match=r"gate\.yaml"):
        policy_for(workspace, None, make_release())


def test_a_decision_is_stored_with_its_reports_under_its_digest(workspace):
    live, wanted = registered(workspace), registered(workspace, 1)
    ref, decision = decide(workspace, live, wanted, right=45)
    assert ref.verdict == decision.verdict == "PROMOTE"
    assert ref.digest == decision.digest
    assert ref.directory == workspace.home.path("decisions", decision.digest)
    assert load_decision(ref.directory) == decision
    assert ref.reasons == tuple(reason.text for reason in decision.reasons)
    assert "<script>alert" not in ref.page.read_text()
    assert "PROMOTE" in ref.page.read_text()
    assert "PROMOTE" in ref.markdown.read_text()


def test_deciding_twice_gives_the_same_decision(workspace):
    live, wanted = registered(workspace), registered(workspace, 1)
    first, _ = decide(workspace, live, wanted, right=45)
    again, _ = decide(workspace, live, wanted, right=45)
    assert again == first
    assert len(list(workspace.home.path("decisions").iterdir())) == 1


@pytest.mark.parametrize(("right", "verdict"), [(45, "PROMOTE"), (20, "HOLD"), (4, "REJECT")])
def test_the_verdict_follows_the_evidence(workspace, right, verdict):
    ref, _ = decide(workspace, registered(workspace), registered(workspace, 1), right=right)
    assert ref.verdict == verdict
    assert ref.reasons


def test_the_first_release_has_to_reach_the_floors(workspace):
    ref, _ = decide(workspace, None, registered(workspace), right=45)
    assert ref.verdict == "PROMOTE"
    ref, _ = decide(workspace, None, registered(workspace, 1), right=2)
    assert ref.verdict != "PROMOTE"


def test_a_decision_is_written_into_the_ledger_once(workspace):
    live, wanted = registered(workspace), registered(workspace, 1)
    ref, decision = decide(workspace, live, wanted, right=4)
    record_decision(workspace, decision, ref)
    record_decision(workspace, decision, ref)
    with workspace.registry() as registry:
        [event] = [event for event in registry.history() if event.kind == "decided"]
    assert event.subject == ref.digest
    assert event.detail["verdict"] == "REJECT"
    assert (event.detail["challenger"], event.detail["champion"]) == (wanted.digest, live.digest)
    assert event.why.startswith(ref.reasons[0])
    assert event.who == "tester"
    assert event.detail["suite"] == decision.suite_digest
    assert event.detail["policy"] == decision.policy_digest
    manifest = load_evaluation(workspace, decision.challenger_log).manifest
    assert event.detail["git_commit"] == manifest.git_commit
    assert event.detail["git_dirty"] == manifest.git_dirty


def promoted(workspace: Workspace, wanted: Release, live: Release | None, *, right: int = 45):
    ref, decision = decide(workspace, live, wanted, right=right)
    record_decision(workspace, decision, ref)
    return promote_decided(workspace, ref, wanted, live)


def test_a_decision_moves_the_champion_and_the_same_again_changes_nothing(workspace):
    first, second = registered(workspace), registered(workspace, 1)
    assert promoted(workspace, first, None).changed
    assert promoted(workspace, second, first).changed
    assert not promoted(workspace, second, first).changed
    with workspace.registry() as registry:
        assert registry.champion() == second
        assert registry.previous_digest() == first.digest
    view = json.loads(workspace.home.path("champion.json").read_text())
    assert view["digest"] == second.digest


def test_a_decision_against_another_champion_than_the_live_one_moves_nothing(workspace):
    first, second, third = (registered(workspace, number) for number in range(3))
    promoted(workspace, first, None)
    ref, decision = decide(workspace, first, second, right=45)
    record_decision(workspace, decision, ref)
    promoted(workspace, third, first)
    with pytest.raises(PromotionConflict):
        promote_decided(workspace, ref, second, first)
    with workspace.registry() as registry:
        assert registry.champion() == third


def test_where_production_takes_only_what_staging_runs_a_decision_moves_staging(project, workspace):
    first, second = registered(workspace), registered(workspace, 1)
    promoted(workspace, first, None)
    project.edit("services", registry={"production_from_staging": True})
    strict = open_workspace()
    assert "on staging now" in promoted(strict, second, first).message
    with strict.registry() as registry:
        assert registry.champion() == first
        assert registry.channel_digest("staging") == second.digest
    assert not promoted(strict, second, first).changed


@pytest.mark.parametrize("changed", ["suite", "policy", None])
def test_a_promotion_by_hand_needs_a_decision_with_the_suite_and_policy_of_now(
    project, workspace, changed
):
    release = publish(workspace)
    with workspace.registry() as registry:
        registry.record_decision(
            text_digest("decision"),
            verdict="PROMOTE",
            challenger=release.digest,
            champion=None,
            who="gate",
            suite=plan_release(workspace, release).suite.digest,
            policy=policy_for(workspace, None, release).digest,
        )
    if changed == "suite":
        project.suite(case_line(WORDS[0]))
    if changed == "policy":
        (project.root / "configs" / "gate.yaml").write_text(POLICY + "alpha: 0.01\n")
    options = {"why": "good", "decision": text_digest("decision")}
    if changed is None:
        assert promote_named(workspace, release.digest, **options).changed
        return
    with pytest.raises(RegistryError, match=f"was made with {changed}"):
        promote_named(workspace, release.digest, **options)
    assert promote_named(workspace, release.digest, why="urgent", override=True).changed


def test_a_decision_that_is_no_promotion_moves_nothing(workspace):
    live = registered(workspace)
    promoted(workspace, live, None)
    with pytest.raises(RegistryError, match="REJECT"):
        promoted(workspace, registered(workspace, 1), live, right=4)
    with workspace.registry() as registry:
        assert registry.champion() == live


def test_an_evaluation_that_is_not_there_is_named(workspace):
    with pytest.raises(CorruptArtifact, match="abcd"):
        load_evaluation(workspace, "abcd")
