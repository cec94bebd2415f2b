"""The nightly flow on a real Prefect server, with a model whose quality the test decides."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.nightly import evaluate_one, move_champion, nightly
from flows.promote import promote, rollback
from flows.reindex import reindex
from registry import Registry
from tasks.errors import ConfigError, PromotionConflict, WrongModel
from tests.embedders import HashingEmbedder, served_embedding
from tests.projects import NOTE, PROMPTS, write_prompt
from tests.servers import OpenAIServer, Status

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_api")]

FIRST = "configs/baseline.yaml"


def run(**parameters):
    """The final state of a nightly run, and its outcome."""
    state = nightly(**parameters, return_state=True)
    return state, state.result()


def champion(project):
    with Registry(None, project.home) as registry:
        return registry.champion()


def history(project, kind):
    with Registry(None, project.home) as registry:
        return [event for event in registry.history() if event.kind == kind]


def artifacts(state):
    """Key -> content of what a run left in Prefect."""
    chosen = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    )
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=chosen)
    return {artifact.key: artifact.data for artifact in found}


def test_the_first_release_is_promoted_and_the_next_run_finds_nothing_to_do(project, double):
    state, outcome = run(release=FIRST)
    assert (state.name, outcome.verdict, outcome.promoted) == ("Promoted", "PROMOTE", True)
    assert champion(project).prompt.name == "baseline"
    assert len(double.requests) == len(project.cases)

    view = project.home.path("champion.json").read_bytes()
    state, outcome = run(release=FIRST)
    assert (state.name, outcome.verdict, outcome.decision) == ("Unchanged", "UNCHANGED", None)
    assert len(double.requests) == len(project.cases)
    assert project.home.path("champion.json").read_bytes() == view


def test_a_better_release_is_promoted_and_a_worse_one_leaves_the_champion_untouched(
    project, double
):
    # Not everything right: a champion without a fault can't be beaten.
    double.respond.skills["Be exact."] = 0.75
    run(release=FIRST)
    state, better = run()
    assert (state.name, better.verdict, better.promoted) == ("Promoted", "PROMOTE", True)
    assert champion(project).prompt.name == "answer"
    # Champion and challenger share what was stored: nothing is asked again.
    assert len(double.requests) == 2 * len(project.cases)

    view = project.home.path("champion.json")
    before = (view.read_bytes(), view.stat().st_mtime_ns)
    write_prompt(project, "worse", "Hurry.")
    double.respond.skills["Hurry."] = 0.2
    state, worse = run(prompt="worse")
    assert (state.name, worse.verdict, worse.promoted) == ("Rejected", "REJECT", False)
    assert "answer_correct is worse" in worse.reasons[0]
    assert (view.read_bytes(), view.stat().st_mtime_ns) == before
    assert [event.detail["verdict"] for event in history(project, "decided")] == [
        "PROMOTE",
        "PROMOTE",
        "REJECT",
    ]

    write_prompt(project, "same", "Be exact, please.")
    double.respond.skills = {"Be exact, please.": 0.75} | double.respond.skills
    state, same = run(prompt="same")
    assert (state.name, same.verdict) == ("Held", "HOLD")
    assert (view.read_bytes(), view.stat().st_mtime_ns) == before


def test_a_run_that_can_show_nothing_is_not_made(project, double):
    run(release=FIRST)
    run()
    asked = len(double.requests)
    write_prompt(project, "hopeless", "Be exact, please.")
    double.respond.skills = {"Be exact, please.": 1.0} | double.respond.skills
    state, outcome = run(prompt="hopeless")
    assert (state.name, outcome.verdict, outcome.decision) == ("Held", "HOLD", None)
    assert "without a single fault" in outcome.message
    assert len(double.requests) == asked


def test_the_same_evidence_gets_the_same_decision_and_spends_one_look(project, double):
    double.respond.skills["Be exact."] = 0.75
    run(release=FIRST)
    _, first = run(promote=False)
    _, again = run(promote=False)
    assert again.decision == first.decision
    with Registry(None, project.home) as registry:
        (budget,) = registry.budgets(rule="none", alpha=0.05)
    assert [look.look.number for look in budget.looks] == [1]
    assert budget.looks[0].decision == first.decision


def test_a_lost_must_pass_case_is_asked_again_before_it_counts(project, double):
    double.respond.skills["Be exact."] = 0.75
    project.edit("configs/gate.yaml", must_pass={"measure": "answer_correct", "confirm": 2})
    run(release=FIRST)
    run()
    asked = len(double.requests)
    write_prompt(project, "worse", "Hurry.")
    double.respond.skills["Hurry."] = 0.0
    _, outcome = run(prompt="worse")
    lost = sum(case.must_pass for case in project.cases[: int(0.75 * len(project.cases)) + 1])
    assert lost >= 1
    assert outcome.verdict == "REJECT"
    assert any("also when asked again" in reason for reason in outcome.reasons)
    assert len(double.requests) == asked + len(project.cases) + 2 * lost


def test_the_champion_is_evaluated_against_itself_where_the_policy_wants_it(project, double):
    double.respond.skills["Be exact."] = 0.75
    project.edit("configs/gate.yaml", noise={"required": True, "refresh": True, "cases": 10})
    run(release=FIRST)
    asked = len(double.requests)
    _, outcome = run()
    assert outcome.verdict == "PROMOTE"
    assert len(double.requests) == asked + len(project.cases) + 10
    write_prompt(project, "other", "Be exact, please.")
    double.respond.skills = {"Be exact, please.": 1.0} | double.respond.skills
    run(prompt="other")
    # The noise of this suite is known: the champion isn't asked a third time.
    assert len(double.requests) == asked + 2 * len(project.cases) + 10


def test_the_judge_compares_both_answers_where_the_policy_wants_to_know(project, double):
    double.respond.skills["Be exact."] = 0.75
    double.respond.marks = '{"better": "1"}'
    rule = {"kind": "bounded", "role": "report", "direction": "higher", "judge": True}
    project.edit("configs/gate.yaml", measures={"preference": rule})
    project.edit("configs/evaluate.yaml", judge={"sample": None})
    run(release=FIRST)
    assert not any("response_format" in body for body in double.requests)
    _, outcome = run()
    assert outcome.verdict == "PROMOTE"
    asked = sum("response_format" in body for body in double.requests)
    assert asked > 0
    assert asked % 2 == 0
    page = outcome.page.read_text(encoding="utf-8")
    assert f"shown first {asked // 2} times, shown second 0 times" in page
    assert f"of {len(project.cases)} cases; the rest are ties" in page


def test_several_changes_are_told_apart(project, double):
    double.respond.skills["Be exact."] = 0.75
    project.edit("configs/gate.yaml", attribution=True)
    run(release=FIRST)
    _, outcome = run(top_k=2)
    page = outcome.page.read_text(encoding="utf-8")
    assert "prompt" in page
    assert "retrieval" in page
    assert "helped" in page


def test_a_release_that_is_good_enough_stays_a_challenger_when_told_not_to_promote(project):
    state, outcome = run(release=FIRST, promote=False)
    assert (state.name, outcome.verdict, outcome.promoted) == ("Promoted", "PROMOTE", False)
    assert champion(project) is None


def test_where_production_takes_only_what_staging_runs_a_run_says_where_it_went(project, double):
    project.edit("configs/services.yaml", registry={"production_from_staging": True})
    state, outcome = run(release=FIRST)
    assert (state.name, outcome.verdict) == ("Staged", "PROMOTE")
    assert (outcome.promoted, outcome.staged) == (False, True)
    assert "on staging, not live" in state.message
    assert "ratchet promote" in state.message
    assert champion(project) is None
    asked = len(double.requests)
    # The next night it is there already: nothing was promoted then either.
    state, outcome = run(release=FIRST)
    assert (state.name, outcome.promoted, outcome.staged) == ("Staged", False, True)
    assert len(double.requests) == asked
    promote(release=history(project, "registered")[-1].subject, why="tried", override=True)
    assert champion(project).prompt.name == "baseline"
    state, _ = run(release=FIRST)
    assert state.name == "Unchanged"


def test_a_run_shows_its_decision_in_prefect_and_hostile_answers_stay_text(project, double):
    run(release=FIRST)
    hostile = "<script>alert(1)</script> ![x](http://evil.example/x.png) | [a](javascript:b)"
    write_prompt(project, "hostile", "Misbehave.")
    double.respond.skills["Misbehave."] = 0.0
    honest = double.respond

    def respond(body):
        return hostile if body["messages"][0]["content"] == "Misbehave." else honest(body)

    double.respond = respond
    state, outcome = run(prompt="hostile")
    assert state.name == "Rejected"
    shown = artifacts(state)
    assert "REJECT" in shown["decision"]
    assert "answer_correct is worse" in shown["decision"].replace("&#95;", "_")
    assert "script" in shown["decision"]
    for raw in ("<script", "![", "](", "http://evil", "javascript:"):
        assert raw not in shown["decision"]
    assert '"measure": "answer_correct"' in shown["measures"]
    page = outcome.page.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_only_a_changed_document_is_embedded_and_a_refresh_must_only_do_no_harm(project, double):
    run(release="configs/release.yaml")
    before = champion(project)
    project.write(NOTE, "# Pickling\n\nSet the attribute copyreg in the class statement.\n")
    state, outcome = run()
    assert (state.name, outcome.verdict) == ("Promoted", "PROMOTE")
    # A document that differs is one passage here, and the other 200 keep their vectors.
    assert (outcome.embedded, outcome.changed_documents) == (1, 1)
    after = champion(project)
    assert after.refreshes(before)
    assert "no worse" in outcome.reasons[0]
    assert artifacts(state).keys() >= {"changed-documents", "reindex", "decision", "measures"}
    # Only a prompt that has, or had, the changed passage is sent; all other answers are known.
    assert len(double.requests) - len(project.cases) < 5


@pytest.fixture
def poor_embedding(project):
    """A served embedding model that tells hardly any two texts apart."""
    model = HashingEmbedder(dimensions=4)
    with OpenAIServer(embed=lambda texts: model.encode(texts).tolist()) as running:
        served = served_embedding(project.root, running.url, model.dimensions)
        project.edit("configs/models.yaml", embeddings={"poor": served})
        yield "poor"


def test_an_index_that_finds_less_is_refused_before_any_model_is_called(
    project, double, poor_embedding
):
    run()
    asked = len(double.requests)
    view = project.home.path("champion.json").read_bytes()
    project.edit("configs/release.yaml", embedding=poor_embedding)
    state, outcome = run()
    assert (state.name, outcome.verdict, outcome.decision) == ("Held", "HOLD", None)
    assert "isn't shown to find passages as well as the live one" in outcome.message
    assert "span_recall on probes" in " ".join(outcome.reasons)
    assert "Why no challenger may have it" in outcome.page.read_text(encoding="utf-8")
    assert artifacts(state).keys() >= {"reindex"}
    assert len(double.requests) == asked
    assert project.home.path("champion.json").read_bytes() == view
    # It isn't even registered as a challenger.
    assert len(history(project, "registered")) == 1

    state = reindex(return_state=True)
    assert (state.name, state.result().refused) == ("Held", outcome.reasons)


def test_a_release_that_was_rolled_back_is_not_promoted_again_by_itself(project):
    run(release=FIRST)
    run()
    rollback(why="answers are wrong in production")
    assert champion(project).prompt.name == "baseline"
    state, outcome = run()
    assert (state.name, outcome.verdict, outcome.decision) == ("Held", "HOLD", None)
    assert "answers are wrong in production" in outcome.message
    assert "ratchet promote" in outcome.message
    assert champion(project).prompt.name == "baseline"

    with Registry(None, project.home) as registry:
        rolled_back = registry.last_rollback_from(registry.releases()[-1].digest)
    assert rolled_back.who == "tester"
    name = history(project, "registered")[-1].subject
    promote(release=name, why="it was the network", override=True)
    assert champion(project).prompt.name == "answer"


@pytest.fixture
def no_waits(monkeypatch):
    """Steps that are tried again are tried at once; returns how often one ran."""
    monkeypatch.setattr(evaluate_one, "retry_delay_seconds", 0)
    monkeypatch.setattr(move_champion, "retry_delay_seconds", 0)


def counted(monkeypatch, step):
    """Count the tries of a step."""
    tries = []
    inner = step.fn

    def count(*arguments, **options):
        tries.append(arguments)
        return inner(*arguments, **options)

    monkeypatch.setattr(step, "fn", count)
    return tries


@pytest.mark.usefixtures("no_waits")
def test_a_step_is_tried_again_while_the_server_is_away(project, double, monkeypatch):
    tries = counted(monkeypatch, evaluate_one)
    double.stop()
    inner = evaluate_one.fn

    def come_back(*arguments, **options):
        if len(tries) == 2:
            double.start()
        return inner(*arguments, **options)

    monkeypatch.setattr(evaluate_one, "fn", come_back)
    state, _ = run(release=FIRST)
    assert state.name == "Promoted"
    assert len(tries) == 3


@pytest.mark.usefixtures("no_waits")
def test_a_step_is_given_up_after_three_tries_without_a_server(project, double, monkeypatch):
    tries = counted(monkeypatch, evaluate_one)
    double.stop()
    state = nightly(release=FIRST, return_state=True)
    assert state.is_failed()
    assert "make up" in str(state.result(raise_on_failure=False))
    assert len(tries) == 3
    assert champion(project) is None


@pytest.mark.usefixtures("no_waits")
def test_what_no_second_try_can_mend_is_tried_once(project, double, monkeypatch):
    tries = counted(monkeypatch, evaluate_one)
    double.models = ("another",)
    state = nightly(release=FIRST, return_state=True)
    assert isinstance(state.result(raise_on_failure=False), WrongModel)
    assert len(tries) == 1


def test_a_wrong_setting_stops_the_run_before_anything_is_spent(project, double):
    project.edit("configs/evaluate.yaml", measures=["answer_corect"])
    with pytest.raises(ConfigError, match="answer_corect"):
        nightly()
    assert double.requests == []
    assert not project.home.path("evals").exists()


@pytest.mark.usefixtures("no_waits")
def commit_all(project):
    options = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*options, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-C", str(project.root), *arguments], check=True)


def test_where_promotions_need_a_commit_nothing_is_spent_before_it_and_no_call_made_twice_after(
    project, double
):
    project.edit("configs/services.yaml", registry={"require_clean": True})
    with pytest.raises(ConfigError, match="belong to no git commit"):
        run(release=FIRST)
    assert double.requests == []

    _, outcome = run(release=FIRST, promote=False)
    assert (outcome.verdict, outcome.promoted) == ("PROMOTE", False)
    calls = len(double.requests)

    commit_all(project)
    _, outcome = run(release=FIRST)
    assert (outcome.verdict, outcome.promoted) == ("PROMOTE", True)
    assert len(double.requests) == calls
    decided = history(project, "decided")[-1]
    assert decided.detail["git_dirty"] is False

    write_prompt(project, "answer", PROMPTS["answer"] + " Please.")
    with pytest.raises(ConfigError, match="differ from commit"):
        run()
    assert len(double.requests) == calls


def test_of_two_promotions_at_the_same_time_one_wins_and_the_other_decides_anew(
    project, double, monkeypatch
):
    run(release=FIRST)
    write_prompt(project, "rival", "Be exact, and quick.")
    double.respond.skills["Be exact, and quick."] = 1.0
    both_decided = threading.Barrier(2, timeout=60)
    inner = move_champion.fn

    def together(*arguments, **options):
        both_decided.wait()
        return inner(*arguments, **options)

    monkeypatch.setattr(move_champion, "fn", together)
    monkeypatch.setattr(move_champion, "retries", 0)
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(nightly, prompt=prompt, return_state=True) for prompt in ("answer", "rival")
        ]
        states = [each.result() for each in runs]
    names = sorted(state.name for state in states)
    assert names == ["Failed", "Promoted"]
    failed = next(state for state in states if state.is_failed())
    assert isinstance(failed.result(raise_on_failure=False), PromotionConflict)
    assert len(history(project, "promoted")) == 2
    live = champion(project)
    assert live.prompt.name in ("answer", "rival")


def test_a_server_that_asks_for_time_gets_it(project, double):
    double.faults.extend([Status(429, retry_after="1")] * 3)
    state, _ = run(release=FIRST)
    assert state.name == "Promoted"
    assert len(double.requests) == len(project.cases) + 3
    assert PROMPTS["baseline"] in double.requests[0]["messages"][0]["content"]
