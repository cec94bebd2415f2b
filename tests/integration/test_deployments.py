"""The servers of `ratchet up`: Prefect, its worker, MLflow, and the deployments of prefect.yaml."""

import os
import time
from dataclasses import dataclass

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from flows.services import down, prefect_url, status, up
from registry import Registry
from tasks.config import Project, load_project
from tests.projects import PROMPTS, Oracle, SmallProject, make_project
from tests.servers import OpenAIServer

pytestmark = pytest.mark.integration

OURS = ("mlflow", "prefect", "worker")


@dataclass
class Running:
    """A project whose servers are up."""

    small: SmallProject
    project: Project
    double: OpenAIServer

    def processes(self):
        """Every living process of this project, by its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("RATCHET_HOME") == str(self.small.home.root):
                    found.append(process)
            except psutil.Error:
                continue
        return [each for each in found if each.pid != os.getpid()]

    def champion(self):
        with Registry(None, self.small.home) as registry:
            return registry.champion()


@pytest.fixture(scope="module")
def running(tmp_path_factory, models, indexed):
    with OpenAIServer(models=("double",)) as double:
        directory = tmp_path_factory.mktemp("deployed")
        small = make_project(directory, endpoint=double.url, models=models, stored=indexed)
        double.respond = Oracle(small.cases, {PROMPTS["baseline"]: 1 / 3, PROMPTS["answer"]: 1.0})
        project = load_project(small.root)
        said = []
        try:
            rows = up(project, small.home, said.append, only=OURS)
            assert [row.state for row in rows] == ["running"] * 3
            with temporary_settings({PREFECT_API_URL: prefect_url(project)}):
                yield Running(small, project, double)
        finally:
            down(project, small.home, said.append, only=OURS)


def wait_for(run, wanted, *, seconds=120):
    """Follow a flow run until `wanted` says so."""
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = client.read_flow_run(run.id)
            if wanted(run):
                return run
            time.sleep(0.3)
    raise TimeoutError(f"{run.name} is {run.state}")


def finished(run):
    return run.state is not None and run.state.is_final()


def test_every_deployment_is_registered_with_described_parameters_and_one_schedule(running):
    with get_client(sync_client=True) as client:
        deployments = {each.name: each for each in client.read_deployments()}
    assert deployments.keys() == {"nightly", "reindex", "evaluate", "promote", "rollback"}
    for deployment in deployments.values():
        schema = deployment.parameter_openapi_schema["properties"]
        assert schema
        assert all(field.get("description") for field in schema.values()), schema
        assert deployment.work_pool_name == "ratchet"
    (schedule,) = deployments["nightly"].schedules
    assert (schedule.active, schedule.schedule.cron) == (True, "30 2 * * *")
    assert not any(deployments[name].schedules for name in deployments.keys() - {"nightly"})
    schema = deployments["nightly"].parameter_openapi_schema["properties"]
    assert schema["top_k"]["anyOf"][0] == {
        "exclusiveMinimum": 0,
        "maximum": 100,
        "type": "integer",
    }


def test_the_nightly_deployment_runs_on_the_worker_and_says_what_it_came_to(running):
    parameters = {"release": "configs/baseline.yaml"}
    run = run_deployment("nightly/nightly", parameters=parameters, timeout=0)
    run = wait_for(run, finished)
    assert run.state.name == "Promoted", run.state.message
    assert run.name.startswith("nightly promoted: baseline@")
    assert running.champion().prompt.name == "baseline"
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    with get_client(sync_client=True) as client:
        keys = {artifact.key for artifact in client.read_artifacts(artifact_filter=chosen)}
    assert "decision" in keys
    # MLflow is up: the evaluation is there as well.
    assert list(running.small.home.path("evals").glob("*/mlflow.json"))


def test_a_run_with_a_parameter_out_of_range_never_starts(running):
    sent = len(running.double.requests)
    run = run_deployment("nightly/nightly", parameters={"top_k": 3}, timeout=0)
    with get_client(sync_client=True) as client:
        client.delete_flow_run(run.id)
    with pytest.raises(Exception, match="top_k"):
        run_deployment("nightly/nightly", parameters={"top_k": 0}, timeout=0)
    assert len(running.double.requests) == sent


def test_a_cancelled_run_leaves_no_process_and_the_next_run_works(running):
    running.small.edit("configs/evaluate.yaml", in_flight=1)
    servers = {process.pid for process in running.processes()}
    before = len(running.double.requests)
    running.double.delay_s = 1.0
    run = run_deployment("nightly/nightly", timeout=0)
    wait_for(run, lambda _: len(running.double.requests) > before + 2)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    run = wait_for(run, finished)
    assert run.state.name == "Cancelled"
    deadline = time.monotonic() + 30
    while left := [each for each in running.processes() if each.pid not in servers]:
        assert time.monotonic() < deadline, [each.cmdline() for each in left]
        time.sleep(0.3)
    assert running.champion().prompt.name == "baseline"

    running.double.delay_s = 0.0
    made = len(running.double.requests)
    run = wait_for(run_deployment("nightly/nightly", timeout=0), finished, seconds=180)
    assert run.state.name == "Promoted", run.state.message
    assert len(running.double.requests) - made < len(running.small.cases)
    assert running.champion().prompt.name == "answer"


def test_down_leaves_no_process(running):
    assert down(running.project, running.small.home, lambda _: None, only=OURS) == [
        "worker",
        "prefect",
        "mlflow",
    ]
    assert running.processes() == []
    states = {row.service: row.state for row in status(running.project, running.small.home)}
    assert states == {
        "vllm": "external",
        "mlflow": "stopped",
        "prefect": "stopped",
        "worker": "stopped",
    }
