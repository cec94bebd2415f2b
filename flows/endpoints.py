"""A model version -> the open door to a server that serves exactly it."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path

from flows.addresses import served_elsewhere, vllm_url
from flows.workspace import Workspace
from tasks.errors import ConfigError, ServerUnavailable, WrongModel
from tasks.evaluate.run import Progress
from tasks.serve.cache import GIGABYTE, CallCache
from tasks.serve.client import ModelClient
from tasks.serve.offline import OFFLINE_URL, offline_engine
from tasks.serve.version import ModelVersion
from tasks.serve.vllm import VllmServer, check_any_served, check_served
from tasks.serve.weights import ensure_weights


@asynccontextmanager
async def open_door(
    workspace: Workspace,
    version: ModelVersion,
    *,
    endpoint: str | None = None,
    progress: Progress,
) -> AsyncIterator[ModelClient]:
    """Open the metered client; a local vLLM is started, or changed to this model, when needed.

    A model with `base_urls` in configs/models.yaml is asked there, any other at `vllm.endpoint`.

    Args:
        workspace: settings and state.
        version: the model; the server must serve exactly this one.
        endpoint: another URL than the settings name.
        progress: told what is waited for.

    Raises:
        WrongModel: the configured endpoint serves something else.
        ServerUnavailable: it doesn't answer.
        SetupError: the local vLLM can't be started.
    """
    project = workspace.project
    service, settings = project.services.vllm, project.evaluate
    outside = (endpoint,) if endpoint else served_elsewhere(project, version.name)
    key = os.environ.get(service.api_key_env)
    offline = service.offline and not outside
    if outside:
        check_any_served(outside, version, key, lambda text: progress(text, 0, 0))
    elif not offline:
        serve_locally(workspace, version, progress)
    price = project.models.generator(version.name).price
    with (
        CallCache(
            workspace.home.room("cache"), max_bytes=int(settings.cache_gb * GIGABYTE)
        ) as cache,
        _engine(workspace, version, progress) if offline else nullcontext() as socket,
    ):
        async with ModelClient(
            OFFLINE_URL if offline else outside or vllm_url(project),
            version,
            price,
            cache=cache,
            in_flight=settings.in_flight,
            in_flight_cap=settings.in_flight_cap,
            server_wait_s=settings.server_wait_s,
            budget=workspace.budget(price.currency),
            timeout_s=settings.timeout_s,
            attempts=settings.attempts,
            stop_failure_rate=settings.stop_failure_rate,
            api_key=key,
            socket=socket,
        ) as client:
            yield client


def serve_locally(workspace: Workspace, version: ModelVersion, progress: Progress) -> None:
    """Make the local vLLM serve this version; it goes on running afterwards.

    Raises:
        ConfigError: configs/models.yaml describes another version by now.
        SetupError: it can't be started.
    """
    project = workspace.project
    url = vllm_url(project)
    try:
        check_served(url, version)
    except (ServerUnavailable, WrongModel):
        pass
    else:
        return
    weights = _weights(workspace, version, progress)
    VllmServer(project.services.vllm, workspace.home).start(
        version, weights, progress=lambda text: progress(text, 0, 0)
    )


def _engine(
    workspace: Workspace, version: ModelVersion, progress: Progress
) -> AbstractContextManager[Path]:
    return offline_engine(
        version,
        _weights(workspace, version, progress),
        workspace.project.services.vllm,
        workspace.home,
        progress=lambda text: progress(text, 0, 0),
    )


def _weights(workspace: Workspace, version: ModelVersion, progress: Progress) -> Path:
    """The directory with a version's weights.

    Raises:
        ConfigError: configs/models.yaml describes another version by now.
    """
    model = workspace.project.models.generator(version.name)
    if version.sha256 != model.sha256:
        raise ConfigError(
            f"The release names weights {version.sha256!r} of {version.name!r}, but "
            f"configs/models.yaml has {model.sha256!r}.",
            next_step="Give the new weights a name of their own in configs/models.yaml.",
        )
    return ensure_weights(
        version.name,
        model,
        room=workspace.home.room("models"),
        progress=lambda text: progress(text, 0, 0),
    )
