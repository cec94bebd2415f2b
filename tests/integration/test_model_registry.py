"""Releases in the model registry of a real MLflow server: shown, loaded, served, repaired."""

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
import requests

from flows.promote import promote, rollback
from flows.steps.ask import AnsweringRelease
from flows.steps.index import wanted_release
from flows.steps.track import sync_registry, track
from flows.workspace import open_workspace
from tasks.errors import RegistryError, ServerUnavailable
from tasks.evaluate.log import save_log
from tasks.track.connection import connected
from tests.evaluations import make_log
from tests.servers import free_port

pytestmark = pytest.mark.integration


def silent(stage, done, total):
    """Progress that nobody sees."""


@pytest.fixture
def workspace(project, mlflow_server, request):
    """A project with two releases, in a registered model of its own."""
    project.edit(
        "configs/services.yaml",
        mlflow={"tracking_uri": mlflow_server.url, "model": request.node.name[:60]},
    )
    return open_workspace()


@pytest.fixture
def releases(workspace, indexed):
    corpus = next(place for _, place in indexed if place.startswith("corpus/")).split("/")[1]
    first = wanted_release(open_workspace(release="configs/baseline.yaml"), corpus)
    second = wanted_release(workspace, corpus)
    with workspace.registry() as registry:
        for release in (first, second):
            registry.register(release, who="test")
        move(registry, first, None)
    return first, second


def move(registry, release, expected):
    registry.promote(
        release.digest,
        expected_champion=expected and expected.digest,
        who="test",
        why="it is Tuesday",
        override=True,
    )


def aliases(workspace):
    """Digest of the release by alias, as MLflow has it."""
    service = workspace.project.services.mlflow
    with connected(service.tracking_uri) as client:
        found = client.get_registered_model(service.model).aliases
        return {
            alias: client.get_model_version(service.model, version).tags["ratchet.digest"]
            for alias, version in found.items()
        }


def test_releases_are_versions_with_their_lineage_and_aliases_follow_the_ledger(
    workspace, releases
):
    first, second = releases
    shown = sync_registry(workspace, silent)
    assert shown.added == (first.digest, second.digest)
    assert aliases(workspace) == {"champion": first.digest, "challenger": second.digest}

    with workspace.registry() as registry:
        move(registry, second, first)
    assert sync_registry(workspace, silent).added == ()
    assert aliases(workspace) == {"champion": second.digest, "previous": first.digest}

    name = workspace.project.services.mlflow.model
    with connected(workspace.project.services.mlflow.tracking_uri) as client:
        version = client.get_model_version_by_alias(name, "champion")
        kind, rest = version.tags["ratchet.prompt"].split(":/")
        prompt, number = rest.split("/")
        assert kind == "prompts"
        assert client.get_prompt_version(prompt, number).tags["ratchet.digest"] == (
            second.prompt.digest
        )
        index_name, number = version.tags["ratchet.index"].removeprefix("models:/").split("/")
        index = client.get_model_version(index_name, number)
        assert index.tags["ratchet.digest"] == second.index_digest
        assert int(index.tags["ratchet.chunks"]) > 0
        # Both releases search one index: it is there once.
        assert len(client.search_model_versions(f"name = '{index_name}'")) == 1


def test_showing_again_asks_mlflow_nothing_until_the_ledger_has_more(
    workspace, releases, mlflow_server
):
    sync_registry(workspace, silent)
    before = mlflow_server.requests()
    assert sync_registry(workspace, silent).added == ()
    assert mlflow_server.requests() == before
    with workspace.registry() as registry:
        move(registry, releases[1], releases[0])
    sync_registry(workspace, silent)
    assert aliases(workspace)["champion"] == releases[1].digest


def test_what_somebody_moved_or_removed_in_mlflow_is_put_back(workspace, releases):
    first, second = releases
    sync_registry(workspace, silent)
    name = workspace.project.services.mlflow.model
    with connected(workspace.project.services.mlflow.tracking_uri) as client:
        client.set_registered_model_alias(name, "champion", "2")
        client.set_registered_model_alias(name, "previous", "2")
        client.delete_registered_model_alias(name, "challenger")
    shown = sync_registry(workspace, silent, compare=True)
    assert shown.moved == {
        "champion": first.digest,
        "previous": None,
        "challenger": second.digest,
    }
    assert aliases(workspace) == {"champion": first.digest, "challenger": second.digest}


class DiesAtRequest:
    """Ends the process's work, as Ctrl-C does, before the n-th request to a server."""

    def __init__(self, monkeypatch):
        self.left = 0
        self._send = requests.adapters.HTTPAdapter.send
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", self._count())

    def _count(self):
        def send(adapter, *arguments, **options):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return self._send(adapter, *arguments, **options)

        return send


def test_dying_at_any_request_leaves_no_release_or_a_whole_one_and_the_next_call_goes_on(
    workspace, releases, mlflow_server, monkeypatch
):
    first, second = releases
    name = workspace.project.services.mlflow.model
    dies = DiesAtRequest(monkeypatch)
    for request in range(1, 200):
        dies.left = request
        try:
            sync_registry(workspace, silent, compare=True)
        except KeyboardInterrupt:
            finished = False
        else:
            finished = True
        dies.left = 0
        with connected(mlflow_server.url) as client:
            for version in client.search_model_versions(f"name = '{name}'"):
                assert version.tags["ratchet.digest"] in (first.digest, second.digest)
                model = client.get_logged_model(version.source.removeprefix("models:/"))
                assert model.status == "READY"
                assert version.tags.items() <= model.tags.items()
        if finished:
            break
    assert finished
    assert request > 5
    assert aliases(workspace) == {"champion": first.digest, "challenger": second.digest}
    with connected(mlflow_server.url) as client:
        assert len(client.search_model_versions(f"name = '{name}'")) == 2


def test_a_release_loads_as_a_model_and_answers(workspace, releases, project, monkeypatch):
    sync_registry(workspace, silent)
    service = workspace.project.services.mlflow
    monkeypatch.setenv("MLFLOW_TRACKING_URI", service.tracking_uri)
    with connected(service.tracking_uri):
        import mlflow

        champion = mlflow.pyfunc.load_model(f"models:/{service.model}@champion")
        cases = [case for case in project.cases if case.answerable]
        # The first release answers a third of its suite, and its double knows which.
        answered = champion.predict([cases[0].question, "What is nobody's question?"])
    assert [each.release for each in answered] == [releases[0].label] * 2
    assert answered[0].answer == cases[0].reference
    assert answered[1].answer == "Nobody has asked that before."
    assert len(answered[0].sources) == 4


def test_a_release_is_served_by_mlflow(workspace, releases, project):
    sync_registry(workspace, silent)
    service, port = workspace.project.services.mlflow, free_port()
    log = project.home.path("serve.log")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", f"models:/{service.model}@champion", "--port", str(port)]
    environment = project.environment | {"MLFLOW_TRACKING_URI": service.tracking_uri}
    with log.open("wb") as file:
        server = subprocess.Popen(
            command, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        wait_until_served(f"http://127.0.0.1:{port}/ping", server, log)
        case = next(case for case in project.cases if case.answerable)
        answer = httpx.post(
            f"http://127.0.0.1:{port}/invocations", json={"inputs": [case.question]}, timeout=60
        )
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)
    assert answer.status_code == 200, log.read_text()
    (found,) = answer.json()["predictions"]
    assert found["answer"] == case.reference
    assert found["release"] == releases[0].label


def wait_until_served(url, server, log):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise TimeoutError(log.read_text())


def test_a_release_whose_index_is_elsewhere_says_so(workspace, releases):
    release = releases[0].model_copy(update={"index_digest": "0" * 64})
    with pytest.raises(RegistryError, match="which isn't in"):
        AnsweringRelease(workspace, release, silent)


@pytest.mark.usefixtures("prefect_api")
def test_promotion_and_rollback_move_the_aliases_and_need_no_mlflow(
    workspace, releases, project, stopped_mlflow_server
):
    first, second = releases
    promote(second.digest, why="better", override=True)
    assert aliases(workspace) == {"champion": second.digest, "previous": first.digest}

    shown = workspace.project.services.mlflow.tracking_uri
    project.edit("configs/services.yaml", mlflow={"tracking_uri": stopped_mlflow_server.url})
    rollback(why="worse")
    with workspace.registry() as registry:
        assert registry.champion_digest() == first.digest
    with pytest.raises(ServerUnavailable):
        sync_registry(open_workspace(), silent)
    assert aliases(workspace)["champion"] == second.digest

    project.edit("configs/services.yaml", mlflow={"tracking_uri": shown})
    sync_registry(open_workspace(), silent)
    assert aliases(workspace)["champion"] == first.digest


def test_the_numbers_of_an_evaluation_are_on_the_page_of_its_release(workspace, releases):
    log = make_log(releases[0])
    save_log(log, workspace.home.room("evals"))
    run_id = track(workspace, silent).evaluations[log.digest]
    service = workspace.project.services.mlflow
    with connected(service.tracking_uri) as client:
        version = client.get_model_version_by_alias(service.model, "champion")
        model = client.get_logged_model(version.source.removeprefix("models:/"))
        numbers = {metric.key: metric for metric in model.metrics}
        assert numbers["answer_correct"].value == pytest.approx(8 / 11)
        assert numbers["answer_correct"].run_id == run_id
        assert client.get_run(run_id).inputs.model_inputs[0].model_id == model.model_id
