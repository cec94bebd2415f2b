from pathlib import Path

import httpx
import pytest

from flows.addresses import mlflow_url, prefect_url, service_environment, vllm_url
from flows.services import SERVICES, down, status, up
from tasks.config import Project, load_project
from tasks.errors import ServerUnavailable, SetupError
from tasks.serve.version import model_version
from tasks.store import Home
from tests.servers import OpenAIServer
from tests.unit.serve.test_process import free_port

ROOT = Path(__file__).resolve().parents[3]


def project(**changes: dict[str, object]) -> Project:
    """The shipped settings with other values for some services, checked again."""
    shipped = load_project(ROOT)
    services = shipped.services.model_dump()
    for name, values in changes.items():
        services[name] |= values
    checked = type(shipped.services).model_validate(services)
    return shipped.model_copy(update={"services": checked})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_nothing_runs_in_a_new_home(home: Home) -> None:
    rows = status(project(), home)

    assert [row.service for row in rows] == list(SERVICES)
    assert {row.state for row in rows} == {"stopped"}
    assert down(project(), home, print) == []
    assert not home.path("mlflow").exists()


def test_an_external_endpoint_is_used_and_never_stopped(home: Home) -> None:
    shipped = load_project(ROOT)
    name = shipped.release.model
    served = model_version(name, shipped.models.generator(name)).served_name
    with OpenAIServer(models=(served,)) as endpoint:
        settings = project(vllm={"endpoint": endpoint.url})

        (row,) = up(settings, home, print, only=["vllm"])

        assert (row.state, row.url, row.pid) == ("external", endpoint.url, None)
        assert down(settings, home, print, only=["vllm"]) == []
        assert httpx.get(f"{endpoint.url}/models").is_success


def test_external_servers_that_do_not_answer_are_all_named(home: Home) -> None:
    mlflow, prefect = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    settings = project(mlflow={"tracking_uri": mlflow}, prefect={"api_url": f"{prefect}/api"})

    with pytest.raises(ServerUnavailable) as caught:
        up(settings, home, print, only=["mlflow", "prefect"])

    assert mlflow in caught.value.message
    assert prefect in caught.value.message
    states = {row.service: row.state for row in status(settings, home)}
    assert states["mlflow"] == states["prefect"] == "unreachable"


def test_a_taken_port_is_reported_and_nothing_is_started(home: Home) -> None:
    with OpenAIServer() as stranger, pytest.raises(SetupError, match=str(stranger.port)) as caught:
        up(project(mlflow={"port": stranger.port}), home, print, only=["mlflow"])

    assert "mlflow.port" in caught.value.next_step


def test_the_environment_keeps_all_state_in_the_home_and_calls_nobody(home: Home) -> None:
    environment = service_environment(project(), home)

    assert environment["PREFECT_HOME"].startswith(str(home.root))
    assert environment["RATCHET_HOME"] == str(home.root)
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_urls_are_built_from_ports_or_taken_as_they_are() -> None:
    own = project(vllm={"port": 1}, mlflow={"port": 2}, prefect={"port": 3})
    assert vllm_url(own) == "http://127.0.0.1:1/v1"
    assert mlflow_url(own) == "http://127.0.0.1:2"
    assert prefect_url(own) == "http://127.0.0.1:3/api"

    other = project(
        vllm={"endpoint": "http://v/v1/"},
        mlflow={"tracking_uri": "http://m/"},
        prefect={"api_url": "http://p/api/"},
    )
    assert vllm_url(other) == "http://v/v1"
    assert mlflow_url(other) == "http://m"
    assert prefect_url(other) == "http://p/api"
