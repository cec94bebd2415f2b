import json
from dataclasses import replace

import pytest

from flows.steps.evaluate import plan_release
from flows.steps.judge import (
    calibrate_judge,
    current_judge,
    freeze_anchor,
    judged_here,
    refresh_anchor,
    requirements_of,
)
from flows.steps.label import now, stored_labels
from flows.workspace import open_workspace
from tasks.answer.generate import Answer
from tasks.digest import text_digest
from tasks.errors import BadInput, CallFailed, CorruptArtifact
from tasks.evaluate.log import save_log
from tasks.evaluate.measures.base import CaseResult, Score
from tasks.gate.calibration import load_calibration
from tasks.gate.drift import load_asked, load_frozen
from tasks.gate.labels import Label, save_labels
from tests.evaluations import make_log
from tests.servers import Status
from tests.unit.flows.conftest import case_line, publish, silent
from tests.unit.flows.labelling import MEASURE, label_all, two_evaluations

WORDS = tuple(f"thing{number}" for number in range(12))


@pytest.fixture
def pair(project, workspace):
    return two_evaluations(project, workspace)


def test_a_judge_that_people_agree_with_is_calibrated_and_its_answers_are_frozen(workspace, pair):
    label_all(workspace, lambda score: score)
    found = calibrate_judge(workspace)
    assert found.judge_digest == pair[0].manifest.judge_digest
    assert found.suite_digest == pair[0].manifest.suite_digest
    # All 120 answers are labelled; people and judge say the same.
    row = found.measures[MEASURE]
    assert (row.agreement.n, row.n_sampled, row.vote) == (120, 120, "alone")
    assert load_calibration(workspace.home, found.judge_digest) == found
    frozen = load_frozen(workspace.home, found.suite_digest)
    assert frozen is not None
    assert len(frozen.answers) == 120
    assert frozen.judge_digest == found.judge_digest


def test_the_policy_says_what_is_asked_of_a_judge(project, workspace, pair):
    label_all(workspace, lambda score: score, cases=30)
    assert calibrate_judge(workspace).measures[MEASURE].vote == "alone"
    gate = project.root / "configs" / "gate.yaml"
    gate.write_text(gate.read_text() + "judge: {min_labels: 100}\n")
    assert requirements_of(workspace).min_labels == 100
    found = calibrate_judge(workspace).measures[MEASURE]
    assert (found.vote, found.agreement.n) == ("report_only", 60)


def test_without_labels_or_evaluations_there_is_nothing_to_calibrate(project, workspace):
    with pytest.raises(BadInput, match="No evaluation is on this machine"):
        current_judge(workspace)
    two_evaluations(project, workspace)
    for step in (calibrate_judge, freeze_anchor):
        with pytest.raises(BadInput, match="has both a label and this judge's score") as caught:
            step(workspace)
        assert "ratchet label" in caught.value.next_step


def test_scores_of_another_judge_do_not_count(workspace, pair):
    manifest = pair[0].manifest
    other = manifest.model_copy(
        update={"judge_digest": text_digest("other"), "digest": text_digest("another log")}
    )
    changed = tuple(replace(score, value=1.0) for score in pair[0].scores)
    save_log(replace(pair[0], manifest=other, scores=changed), workspace.home.room("evals"))
    ours, theirs = (
        judged_here(workspace, judge, manifest.suite_digest)
        for judge in (manifest.judge_digest, other.judge_digest)
    )
    assert len(ours.answers) == 120
    assert {answer.scores[MEASURE] for answer in ours.answers.values()} == {2.0, 5.0}
    assert len(theirs.answers) == 60
    assert {answer.scores[MEASURE] for answer in theirs.answers.values()} == {1.0}


def test_an_evaluation_that_cannot_be_read_is_left_out(workspace, pair):
    label_all(workspace, lambda score: score)
    directory = workspace.home.path("evals", pair[1].digest)
    (directory / "scores.parquet").write_bytes(b"broken")
    assert calibrate_judge(workspace).measures[MEASURE].agreement.n == 60


class Rubric:
    """What a judge's server says: the same mark of every answer."""

    mark = 4

    def __call__(self, body):
        return json.dumps({"accuracy": self.mark, "completeness": 3, "clarity": 3})


@pytest.fixture
def rubric(project, server):
    """A project with a judge behind a server, twelve cases, and a champion."""
    for word in WORDS:
        project.note(word)
    project.suite(*map(case_line, WORDS))
    project.edit("services", vllm={"endpoint": server.url})
    price = {"currency": "USD", "input_per_million": 1.0, "output_per_million": 2.0}
    double = {"format": "endpoint", "context_length": 8192, "price": price}
    project.edit("models", generators={"double": double})
    project.edit("release", model="double")
    project.edit(
        "evaluate",
        measures=["judge_accuracy", "contains"],
        judge={"model": "double", "sample": None},
        attempts=1,
    )
    server.models = ("double",)
    server.respond = Rubric()
    return server.respond


@pytest.fixture
def live(rubric):
    """A champion whose twelve answers got four marks, and a person who says the same of each."""
    workspace = open_workspace()
    release = publish(workspace)
    with workspace.registry() as registry:
        registry.promote(
            release.digest, expected_champion=None, who="tester", why="test", override=True
        )
    log = evaluated(workspace, release)
    save_labels(
        [
            Label(
                suite_digest=log.manifest.suite_digest,
                answer_digest=text_digest(result.answer.text),
                case_id=result.case.case_id,
                measure="judge_accuracy",
                value=4.0 if place % 2 else 3.0,
                labeller="kim",
                at=now(),
            )
            for place, result in enumerate(log.results)
            if result.answer is not None
        ],
        workspace.project.root / "data" / "labels" / "kim.jsonl",
    )
    return workspace


def evaluated(workspace, release):
    """A stored evaluation by the judge that the settings name, without asking anybody."""
    plan = plan_release(workspace, release)
    template = make_log(release, cases=1, failed=0)
    log = replace(
        template,
        manifest=template.manifest.model_copy(
            update={
                "digest": plan.digest,
                "suite_digest": plan.suite.digest,
                "judge_digest": plan.judge_digest,
                "measures": tuple(
                    info.model_copy(update={"name": "judge_accuracy"})
                    for info in template.manifest.measures
                    if info.judged
                ),
            }
        ),
        results=tuple(
            CaseResult(case, (), Answer(case.case_id, f"A week, {n}.", "stop", 1, 0, 1, 0.1, 0.0))
            for n, case in enumerate(plan.suite.cases)
        ),
        scores=tuple(
            Score(case.case_id, "judge_accuracy", 4.0 if n % 2 else 3.0)
            for n, case in enumerate(plan.suite.cases)
        ),
        failures=(),
    )
    save_log(log, workspace.home.room("evals"))
    with workspace.registry() as registry:
        registry.record_evaluation(
            log.digest, release=release.digest, suite=plan.suite.digest, who="tester"
        )
    return log


def test_before_anything_is_frozen_nobody_is_asked(live, server):
    assert refresh_anchor(live, silent) is None
    assert server.requests == []


def test_a_judge_that_moved_loses_its_vote_until_it_is_calibrated_again(live, rubric, server):
    calibration = calibrate_judge(live)
    rubric.mark = 1
    found = refresh_anchor(live, silent)
    assert found is not None
    assert found.over == ("judge_accuracy",)
    # From 3 and 4 marks to 1: half of 2/4 and half of 3/4.
    assert found.measures["judge_accuracy"].signed.value == pytest.approx(-0.625)
    assert len(server.requests) == 12
    void = load_calibration(live.home, calibration.judge_digest)
    assert void is not None
    assert void.vote("judge_accuracy") == "report_only"
    assert "calibrate it again" in void.reasons("judge_accuracy")[0]
    # Calibrating takes the scores of now, and freezes them.
    again = calibrate_judge(live)
    assert again.drift is None
    assert again.measures["judge_accuracy"].agreement.raw is not None
    assert again.measures["judge_accuracy"].agreement.raw.value == 0.0
    steady = refresh_anchor(live, silent)
    assert steady is not None
    assert steady.over == ()


def test_every_round_really_asks_the_judge(live, server):
    calibrate_judge(live)
    for number in (1, 2):
        refresh_anchor(live, silent)
        asked = load_asked(live.home, plan_release(live, live_release(live)).judge_digest)
        assert asked is not None
        assert (asked.round, len(server.requests)) == (number, 12 * number)


def live_release(workspace):
    with workspace.registry() as registry:
        release = registry.champion()
    assert release is not None
    return release


def test_a_new_judge_is_calibrated_on_the_frozen_answers(project, live, rubric):
    old = calibrate_judge(live)
    project.edit("evaluate", judge={"max_tokens": 200})
    changed = open_workspace()
    found = refresh_anchor(changed, silent)
    assert found is not None
    assert found.judge_digest != old.judge_digest
    assert found.frozen_judge == old.judge_digest
    new = load_calibration(changed.home, found.judge_digest)
    assert new is not None
    assert new.drift == found
    assert new.measures["judge_accuracy"].agreement.n == 12
    # What was frozen with the judge before it stays frozen.
    frozen = load_frozen(changed.home, old.suite_digest)
    assert frozen is not None
    assert frozen.judge_digest == old.judge_digest


def test_an_answer_that_the_judge_cannot_mark_any_more_counts_as_moved(live, server):
    calibrate_judge(live)
    server.respond = lambda body: "five of five"
    found = refresh_anchor(live, silent)
    assert found is not None
    assert found.measures["judge_accuracy"].unreadable == 12
    assert found.over == ("judge_accuracy",)


def test_a_server_that_loses_calls_proves_nothing(live, server):
    calibration = calibrate_judge(live)
    server.faults.extend([Status(503)] * 2)
    with pytest.raises(CallFailed, match="2 of 12 scores") as caught:
        refresh_anchor(live, silent)
    assert "ratchet judge rejudge" in caught.value.next_step
    assert load_calibration(live.home, calibration.judge_digest) == calibration
    # What was answered is in the cache: the next try asks for the two alone.
    refresh_anchor(live, silent)
    assert len(server.requests) == 14


def test_a_frozen_answer_whose_evaluation_is_gone_is_named(live, server):
    calibrate_judge(live)
    frozen = load_frozen(live.home, plan_release(live, live_release(live)).suite.digest)
    assert frozen is not None
    directory = live.home.path("evals", frozen.answers[0].log_digest)
    directory.rename(directory.with_name("moved"))
    with pytest.raises(CorruptArtifact):
        refresh_anchor(live, silent)
    assert server.requests == []


def test_freezing_again_changes_the_scores_and_not_the_vote(live, rubric):
    calibration = calibrate_judge(live)
    rubric.mark = 1
    refresh_anchor(live, silent)
    frozen = freeze_anchor(live)
    assert {row.scores["judge_accuracy"] for row in frozen.answers} == {1.0}
    void = load_calibration(live.home, calibration.judge_digest)
    assert void is not None
    assert void.vote("judge_accuracy") == "report_only"
    assert len(stored_labels(live)) == 12
