"""Evaluations and decisions in a real MLflow server."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.answer.prompt import PromptMessage
from tasks.errors import RegistryError, ServerUnavailable, Terminal
from tasks.evaluate.log import save_log
from tasks.gate.decide import decide
from tasks.gate.decision import save_decision
from tasks.gate.policy import GatePolicy, MeasurePolicy
from tasks.gate.scores import from_log
from tasks.serve.latency import LATENCY_FILE, LatencyReport, SideLatency, quantiles
from tasks.track.connection import connected
from tasks.track.decisions import log_decision, log_pending_decisions
from tasks.track.prompts import ensure_prompt, register_prompt
from tasks.track.releases import Names
from tasks.track.runs import EVALUATION_TAG, log_evaluation, log_pending
from tasks.track.scores import RunRecord, scored_run
from tests.evaluations import make_log, make_release

pytestmark = pytest.mark.integration

EXPERIMENT = "ratchet-test"
NAMES = Names(experiment=EXPERIMENT, releases="ratchet-test")


@pytest.fixture
def client(mlflow_server):
    with connected(mlflow_server.url) as client:
        yield client


class Recorded:
    """Two evaluations of two releases, stored and logged."""

    def __init__(self, server, room):
        self.url = server.url
        self.releases = [make_release(0, top_k=4), make_release(1, top_k=5)]
        self.logs = [
            make_log(release, cases=24, right=right, failed=1)
            for release, right in zip(self.releases, (12, 21), strict=True)
        ]
        self.directories = [save_log(log, room) for log in self.logs]
        before = server.requests()
        self.run_ids = [self.log(number) for number in range(2)]
        self.requests = (server.requests() - before) / 2

    def log(self, number):
        return log_evaluation(
            self.logs[number],
            self.releases[number],
            tracking_uri=self.url,
            names=NAMES,
            directory=self.directories[number],
        )


@pytest.fixture(scope="module")
def recorded(mlflow_server, tmp_path_factory):
    return Recorded(mlflow_server, tmp_path_factory.mktemp("evals"))


def runs_of(client, log):
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return client.search_runs(
        [experiment.experiment_id], f"tags.`{EVALUATION_TAG}` = '{log.digest}'"
    )


def test_two_runs_can_be_compared_number_by_number(recorded, client):
    first, second = (client.get_run(run_id).data for run_id in recorded.run_ids)
    assert first.metrics.keys() == second.metrics.keys()
    assert first.params.keys() == second.params.keys()
    assert first.metrics["answer_correct"] == pytest.approx(12 / 23)
    assert second.metrics["answer_correct"] == pytest.approx(21 / 23)
    assert (first.params["top_k"], second.params["top_k"]) == ("4", "5")


def test_a_run_is_named_and_timed_as_the_evaluation_was(recorded, client):
    info = client.get_run(recorded.run_ids[0]).info
    assert info.run_name == f"{recorded.releases[0].label} · stdlib · 2026-11-24 03:00"
    assert info.status == "FINISHED"
    assert info.end_time - info.start_time == 74_500


def test_the_table_of_all_cases_is_one_artifact(recorded, client, tmp_path):
    path = client.download_artifacts(recorded.run_ids[0], "cases.json", str(tmp_path))
    table = json.loads(Path(path).read_text())
    assert len(table["data"]) == 24
    row = dict(zip(table["columns"], table["data"][-1], strict=True))
    assert row["case_id"] == "q023"
    assert row["answer"] is None
    assert row["answer_correct"] is None
    assert "CallFailed" in row["failures"]


def test_a_few_traces_show_passages_messages_and_scores(recorded, client):
    experiment = client.get_experiment_by_name(EXPERIMENT)
    traces = client.search_traces(locations=[experiment.experiment_id], run_id=recorded.run_ids[0])
    assert len(traces) == 6
    kinds = [[span.span_type for span in trace.data.spans] for trace in traces]
    assert kinds == [["CHAIN", "RETRIEVER", "CHAT_MODEL"]] * 6
    root, search, model = next(t for t in traces if t.info.status == "OK").data.spans
    assert len(search.outputs) == 4
    assert search.outputs[0]["page_content"].startswith("Return the")
    assert model.inputs["messages"][0]["content"] == "Answer in 3 words."
    assert root.inputs.startswith("What does")
    assert [trace.info.status for trace in traces].count("ERROR") == 1


def test_a_trace_shows_its_scores_its_reference_and_why_a_score_is_missing(recorded, client):
    experiment = client.get_experiment_by_name(EXPERIMENT)
    for trace in client.search_traces(
        locations=[experiment.experiment_id], run_id=recorded.run_ids[0]
    ):
        shown = {each.name: each for each in trace.info.assessments}
        assert shown["reference"].value.endswith("largest elements.")
        assert shown["R@4"].value in (0.0, 1.0)
        if trace.info.status == "OK":
            assert shown["answer_correct"].value in (True, False)
            assert shown["rubric_accuracy"].source.source_type == "LLM_JUDGE"
        else:
            assert shown["answer_correct"].error.error_message == "timed out after 4 s"


def test_the_suite_and_the_prompt_are_linked(recorded, client):
    run = client.get_run(recorded.run_ids[0])
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("stdlib", recorded.logs[0].manifest.suite_digest[:12])
    linked = json.loads(run.data.tags["mlflow.linkedPrompts"])
    version = ensure_prompt(client, recorded.releases[0].prompt)
    assert linked == [{"name": "answer", "version": str(version)}]


def test_a_run_takes_a_bounded_number_of_requests(recorded):
    # Not one a metric and not one a case: the same for 24 cases as for 24,000.
    assert 0 < recorded.requests < 50


def test_all_numbers_and_the_table_take_three_requests_and_one_file(mlflow_server, client):
    experiment = client.create_experiment("scores alone")
    before = mlflow_server.requests()
    record = RunRecord(name="r", started_ms=0, ended_ms=1, tags={}, params={}, metrics={"a": 0.5})
    with scored_run(client, experiment, make_log(make_release(9), cases=24), record) as run_id:
        assert client.get_run(run_id).info.status == "RUNNING"
    # One of the five is this test's own.
    assert mlflow_server.requests() - before == 5
    assert client.get_run(run_id).info.status == "FINISHED"
    assert len(client.load_table(experiment, "cases.json", run_ids=[run_id])) == 24


def test_the_same_evaluation_is_never_logged_twice(recorded, mlflow_server):
    receipt = recorded.directories[0] / "mlflow.json"
    content = receipt.read_bytes()
    before = mlflow_server.requests()
    assert recorded.log(0) == recorded.run_ids[0]
    assert mlflow_server.requests() == before
    receipt.unlink()
    assert recorded.log(0) == recorded.run_ids[0]
    assert receipt.read_bytes() == content


def test_a_run_that_a_killed_process_left_behind_is_replaced(mlflow_server, tmp_path):
    release = make_release(5)
    log = make_log(release)
    directory = save_log(log, tmp_path)
    arguments = {
        "tracking_uri": mlflow_server.url,
        "names": NAMES,
        "directory": directory,
    }
    run_id = log_evaluation(log, release, **arguments)
    with connected(mlflow_server.url) as client:
        client.update_run(run_id, status="RUNNING")
    (directory / "mlflow.json").unlink()
    second = log_evaluation(log, release, **arguments)
    assert second != run_id
    with connected(mlflow_server.url) as client:
        assert [run.info.run_id for run in runs_of(client, log)] == [second]
        experiment = client.get_experiment_by_name(EXPERIMENT)
        assert not client.search_traces(locations=[experiment.experiment_id], run_id=run_id)


def test_the_same_prompt_is_the_same_version(mlflow_server):
    prompt = make_release(7).prompt.model_copy(update={"name": "summary"})
    changed = prompt.model_copy(
        update={"messages": (PromptMessage(role="user", content="{{ question }}?"),)}
    )
    url = mlflow_server.url
    versions = [register_prompt(each, tracking_uri=url) for each in (prompt, changed, prompt)]
    assert versions == [1, 2, 1]


def test_a_prompt_is_shown_as_its_messages(mlflow_server, client):
    prompt = make_release(8).prompt.model_copy(update={"name": "shown as/chat"})
    version = ensure_prompt(client, prompt)
    found = client.get_prompt_version("shown_as_chat", version)
    assert found.template == [
        {"role": message.role, "content": message.content} for message in prompt.messages
    ]


@pytest.fixture(scope="module")
def decision(recorded, tmp_path_factory):
    policy = GatePolicy(
        resamples=999,
        clusters=False,
        failure_limit=0.5,
        measures={
            "answer_correct": MeasurePolicy(
                kind="binary", role="primary", direction="higher", margin=0.05
            )
        },
    )
    champion, challenger = (from_log(log) for log in recorded.logs)
    decision = decide(champion, challenger, policy)
    room = tmp_path_factory.mktemp("decisions")
    return decision, save_decision(decision, champion, challenger, room=room)


def test_a_decision_is_on_both_runs_and_its_report_on_the_challengers(
    recorded, decision, mlflow_server, tmp_path
):
    made, directory = decision
    page = "<!doctype html><title>a decision</title>"
    marked = log_decision(
        made,
        tracking_uri=mlflow_server.url,
        experiment=EXPERIMENT,
        report=page,
        directory=directory,
    )
    assert marked == (recorded.run_ids[1], recorded.run_ids[0])
    with connected(mlflow_server.url) as client:
        champion, challenger = (client.get_run(run_id).data.tags for run_id in recorded.run_ids)
        for tags, role in ((champion, "champion"), (challenger, "challenger")):
            assert tags["decision.role"] == role
            assert tags["decision.verdict"] == made.verdict
            assert tags["decision.digest"] == made.digest
        assert made.verdict in challenger["mlflow.note.content"]
        name = f"decision-{made.digest[:12]}"
        stored = client.download_artifacts(marked[0], f"{name}.html", str(tmp_path))
        assert Path(stored).read_text() == page
    assert (directory / "mlflow.json").is_file()


def test_a_decision_whose_runs_are_not_logged_waits(recorded, decision, mlflow_server, tmp_path):
    made, _ = decision
    stranger = made.model_copy(update={"challenger_log": "0" * 64})
    room = tmp_path / "decisions"
    waiting = room / stranger.digest
    waiting.mkdir(parents=True)
    (waiting / "decision.json").write_bytes(stranger.to_bytes())
    arguments = {"tracking_uri": mlflow_server.url, "experiment": EXPERIMENT}
    assert log_pending_decisions(room, **arguments) == ()
    ready = room / made.digest
    ready.mkdir()
    (ready / "decision.json").write_bytes(made.to_bytes())
    side = SideLatency(
        requests=3,
        failures=0,
        input_tokens=0,
        cached_tokens=0,
        first_token_s=quantiles([0.25, 0.5, 0.75]),
        per_token_s=(),
        total_s=(),
    )
    probed = LatencyReport(
        rate=1.0,
        seed=0,
        prefix_cache="as_is",
        confidence=0.95,
        prompts=3,
        late_s=0.0,
        sides={"challenger": side},
    )
    (ready / LATENCY_FILE).write_text(probed.model_dump_json())
    assert log_pending_decisions(room, **arguments) == (made.digest,)
    assert log_pending_decisions(room, **arguments) == ()
    with connected(mlflow_server.url) as client:
        champion, challenger = (client.get_run(run_id).data for run_id in recorded.run_ids)
    assert challenger.metrics["latency.first_token_s.p50"] == 0.5
    assert challenger.metrics["latency.first_token_s.p99"] == 0.75
    assert "latency.first_token_s.p50" not in champion.metrics


def test_a_deleted_experiment_gives_a_clear_error(mlflow_server, tmp_path):
    release = make_release(6)
    log = make_log(release)
    with connected(mlflow_server.url) as client:
        client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(Terminal, match="'gone' was deleted"):
        log_evaluation(
            log,
            release,
            tracking_uri=mlflow_server.url,
            names=replace(NAMES, experiment="gone"),
            directory=save_log(log, tmp_path),
        )


def test_what_a_server_refuses_is_not_tried_again(mlflow_server):
    with pytest.raises(Terminal, match="refused"), connected(mlflow_server.url) as client:
        client.get_run("no-such-run")


def test_evaluations_wait_while_the_server_is_down_and_are_logged_once_it_is_up(
    stopped_mlflow_server, tmp_path
):
    server, room = stopped_mlflow_server, tmp_path / "evals"
    releases = {release.digest: release for release in map(make_release, range(3))}
    logs = [make_log(release) for release in releases.values()]
    # The third one's release is unknown: the others must not wait for it.
    del releases[logs[2].manifest.release_digest]
    for log in logs:
        save_log(log, room)

    def find(digest):
        if digest not in releases:
            raise RegistryError(f"There is no release {digest!r}.")
        return releases[digest]

    arguments = {"tracking_uri": server.url, "names": NAMES, "release_of": find}
    with pytest.raises(ServerUnavailable, match="doesn't answer"):
        log_pending(room, **arguments)
    assert not list(room.glob("*/mlflow.json"))

    server.start()
    done = log_pending(room, **arguments)
    assert done.logged.keys() == {log.digest for log in logs[:2]}
    assert done.left.keys() == {logs[2].digest}
    again = log_pending(room, **arguments)
    assert again.logged == {}
    with connected(server.url) as client:
        assert [len(runs_of(client, log)) for log in logs] == [1, 1, 0]


def test_the_process_is_as_before_afterwards(mlflow_server, monkeypatch):
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = dict(os.environ)
    with connected(mlflow_server.url):
        assert mlflow.get_tracking_uri() == mlflow_server.url
    assert dict(os.environ) == before


def test_a_log_with_thousands_of_failures_is_logged_whole(mlflow_server, tmp_path):
    release = make_release(9)
    log = make_log(release, cases=600, right=0, failed=600)
    log = replace(log, scores=log.scores[:10])
    run_id = log_evaluation(
        log,
        release,
        tracking_uri=mlflow_server.url,
        names=NAMES,
        directory=save_log(log, tmp_path),
    )
    with connected(mlflow_server.url) as client:
        metrics = client.get_run(run_id).data.metrics
    assert metrics["failures/answer_correct"] == 600
    assert "answer_correct" not in metrics
