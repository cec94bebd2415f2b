"""Where each server of a project answers, whether it does, and what its programs are told."""

import os
from urllib.parse import urlsplit

import httpx

from tasks.config import Project
from tasks.errors import ServerUnavailable
from tasks.serve.vllm import answers
from tasks.store import Home

_EXTERNAL_S = 5.0
_LEASES = "prefect.server.concurrency.lease_storage.filesystem"
_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    # Kept in memory, a restarted server would forget who holds a limit but not that it is taken.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASES,
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Nine more processes, for MLflow's own scheduled judges; here Prefect schedules.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def prefect_url(project: Project) -> str:
    """The Prefect API, up to `/api`."""
    service = project.services.prefect
    return (service.api_url or f"http://{service.host}:{service.port}/api").rstrip("/")


def mlflow_url(project: Project) -> str:
    """The MLflow server."""
    service = project.services.mlflow
    return (service.tracking_uri or f"http://{service.host}:{service.port}").rstrip("/")


def vllm_url(project: Project) -> str:
    """The model server, up to `/v1`."""
    service = project.services.vllm
    return (service.endpoint or f"http://{service.host}:{service.port}/v1").rstrip("/")


def served_elsewhere(project: Project, model: str) -> tuple[str, ...]:
    """Servers of a model that Ratchet doesn't start, up to `/v1`; none: it starts one itself.

    Raises:
        ConfigError: configs/models.yaml has no such model.
    """
    urls = project.models.generator(model).base_urls
    endpoint = project.services.vllm.endpoint
    return urls or ((endpoint.rstrip("/"),) if endpoint else ())


def model_urls(project: Project, model: str) -> tuple[str, ...]:
    """Where a model answers, up to `/v1`: its own servers, or the one that Ratchet starts."""
    return served_elsewhere(project, model) or (vllm_url(project),)


def service_environment(project: Project, home: Home) -> dict[str, str]:
    """The environment in which servers, workers and Prefect's commands run.

    All state is below the home, nothing calls home, and clients find this project's servers.
    """
    return {
        **os.environ,
        **_QUIET,
        "RATCHET_HOME": str(home.root),
        "RATCHET_PROJECT": str(project.root.resolve()),
        "PREFECT_HOME": str(home.path("prefect")),
        "PREFECT_API_URL": prefect_url(project),
        "MLFLOW_TRACKING_URI": mlflow_url(project),
    }


def mlflow_answers(project: Project) -> bool:
    """Whether the MLflow server of this machine answers."""
    return answers(f"{mlflow_url(project)}/health")


def prefect_answers(project: Project) -> bool:
    """Whether the Prefect server of this machine answers."""
    return answers(f"{prefect_url(project)}/health")


def check_mlflow(project: Project) -> None:
    """Make sure that an external MLflow server answers; ServerUnavailable when it doesn't."""
    uri = mlflow_url(project)
    # A database or a directory is a tracking store too, and MLflow opens it without a server.
    if urlsplit(uri).scheme in ("http", "https"):
        _check_outside("MLflow", f"{uri}/health", "mlflow.tracking_uri")


def check_prefect(project: Project) -> None:
    """Make sure that an external Prefect server answers; ServerUnavailable when it doesn't."""
    _check_outside("Prefect", f"{prefect_url(project)}/health", "prefect.api_url")


def _check_outside(what: str, url: str, setting: str) -> None:
    try:
        httpx.get(url, timeout=_EXTERNAL_S).raise_for_status()
    except httpx.HTTPError as error:
        raise ServerUnavailable(
            f"{what} doesn't answer at {url!r}: {error}.",
            next_step=f"Start it, or set {setting} in configs/services.yaml to null, and Ratchet "
            "starts one.",
        ) from error
