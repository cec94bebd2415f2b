"""What the nightly run does when a server goes away, answers nonsense or doesn't answer."""

import threading
import time

import pytest

from flows.nightly import nightly
from flows.workspace import open_workspace
from registry import Registry
from tasks.errors import TooManyFailures
from tasks.evaluate.log import load_log
from tasks.track.connection import connected
from tasks.track.reindexes import REINDEX_TAG
from tasks.track.runs import EVALUATION_TAG
from tests.servers import Hang, Text

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_api")]

FIRST = "configs/baseline.yaml"


def only_log(project):
    (directory,) = project.home.path("evals").glob("*/manifest.json")
    return load_log(directory.parent)


def test_an_evaluation_whose_server_died_continues_with_the_calls_that_are_missing(project, double):
    project.edit("configs/evaluate.yaml", in_flight=1, attempts=1)
    answered, honest = 8, double.respond

    def die(body):
        if len(double.requests) <= answered:
            return honest(body)
        if not double.closing.is_set():
            double.closing.set()
            threading.Thread(target=double.stop).start()
        # What the server was asked while it died is never answered.
        raise ConnectionAbortedError

    double.respond = die
    state = nightly(release=FIRST, return_state=True)
    assert state.is_failed()
    assert isinstance(state.result(raise_on_failure=False), TooManyFailures)
    assert not list(project.home.path("evals").glob("*/manifest.json"))

    double.respond = honest
    sent = len(double.requests)
    double.start()
    state = nightly(release=FIRST, return_state=True)
    assert state.name == "Promoted"
    assert len(double.requests) - sent == len(project.cases) - answered
    assert only_log(project).failures == ()


def test_nonsense_silence_and_an_empty_answer_are_recorded_and_stop_nothing(project, double):
    project.edit(
        "configs/evaluate.yaml",
        measures=["R@4", "answer_correct", "token_f1", "judge_accuracy"],
        in_flight=1,
        attempts=1,
        timeout_s=2.0,
        judge={"sample": 4},
    )
    double.faults.append(Text(""))
    honest, slow = double.respond, project.cases[1].question
    honest.marks = "Four out of five, I would say."

    def respond(body):
        # Judges are asked as soon as a case is answered: the second call isn't the second case's.
        if "response_format" not in body and slow in body["messages"][-1]["content"]:
            time.sleep(6)
        return honest(body)

    double.respond = respond
    state = nightly(release=FIRST, return_state=True)
    assert state.name == "Promoted"
    log = only_log(project)
    empty, silent = log.results[:2]
    assert empty.answer.text == ""
    assert log.values("answer_correct")[empty.case.case_id] == 0.0
    assert silent.answer is None
    assert "no answer within 2 s" in silent.failure.message
    assert log.failed("answer_correct").keys() == {silent.case.case_id}
    unread = log.failed("judge_accuracy").values()
    assert len(unread) == 4
    assert {row.error_type for row in unread} <= {"UnreadableJudgement", "CallFailed"}
    assert "Four out of five, I would say." in {row.raw for row in unread}
    page = next(project.home.path("decisions").glob("*/report.html")).read_text(encoding="utf-8")
    assert "no answer within 2 s" in page


def test_a_challenger_with_many_failures_is_held_until_the_lost_calls_are_made(project, double):
    nightly(release=FIRST)
    project.edit("configs/evaluate.yaml", in_flight=1, attempts=1, timeout_s=2.0)
    double.faults.extend([Hang(600)] * 3)
    state = nightly(return_state=True)
    assert state.name == "Held"
    assert "Too many scores failed" in state.message
    with Registry(None, project.home) as registry:
        assert registry.champion().prompt.name == "baseline"

    sent = len(double.requests)
    state = nightly(return_state=True)
    assert state.name == "Promoted"
    assert len(double.requests) - sent == 3


def test_an_evaluation_made_while_mlflow_was_down_is_logged_by_the_next_run(
    project, stopped_mlflow_server
):
    server = stopped_mlflow_server
    project.edit("configs/services.yaml", mlflow={"tracking_uri": server.url})
    state = nightly(release=FIRST, return_state=True)
    assert state.name == "Promoted"
    log = only_log(project)
    assert not list(project.home.path("evals").glob("*/mlflow.json"))

    server.start()
    assert nightly(release=FIRST, return_state=True).name == "Unchanged"
    service = open_workspace().project.services.mlflow
    with connected(server.url) as client:
        experiment = client.get_experiment_by_name(service.experiment)
        runs = client.search_runs([experiment.experiment_id])
        (run,) = (each for each in runs if EVALUATION_TAG in each.data.tags)
        (report,) = (each for each in runs if REINDEX_TAG in each.data.tags)
        files = {item.path for item in client.list_artifacts(report.info.run_id)}
    assert files == {"report.html", "picture.png"}
    assert report.data.metrics["chunks"] > 100
    assert run.data.tags[EVALUATION_TAG] == log.digest
    assert run.data.tags["decision.verdict"] == "PROMOTE"
    values = log.values("answer_correct").values()
    assert run.data.metrics["answer_correct"] == pytest.approx(sum(values) / len(values))
