"""A real vLLM server on this machine, for benchmarks: the smallest model, a port of its own."""

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.harness import ROOT
from tasks.config import VllmService, load_project
from tasks.serve.environment import serving_environment, serving_python
from tasks.serve.version import ModelVersion, model_version
from tasks.serve.vllm import VllmServer
from tasks.serve.weights import ensure_weights
from tasks.store import Home

MODEL = "smollm2-135m-instruct"
"""Of configs/models.yaml: two cores compute it in seconds where the 0.5B model takes minutes."""


@dataclass(frozen=True)
class RealServer:
    """A server that answers."""

    url: str
    """Up to `/v1`."""
    version: ModelVersion
    weights: Path
    environment: Mapping[str, str]
    """What its processes, and others of the serving environment, are started with."""

    def vllm_version(self) -> str:
        """What it calls its own version."""
        said = httpx.get(f"{self.url.removesuffix('/v1')}/version", timeout=10)
        return str(said.json()["version"])

    def forget(self) -> None:
        """Empty its prefix cache."""
        url = f"{self.url.removesuffix('/v1')}/reset_prefix_cache"
        httpx.post(url, timeout=30).raise_for_status()


def real_version(flags: Mapping[str, str | int | float | bool] | None = None) -> ModelVersion:
    """The model as configs/models.yaml serves it, with some server flags changed."""
    model = load_project(ROOT).models.generator(MODEL)
    changed = model.model_copy(update={"server_flags": {**model.server_flags, **(flags or {})}})
    return model_version(MODEL, changed)


def real_weights() -> Path:
    """Its weights, fetched and converted on the first call."""
    model = load_project(ROOT).models.generator(MODEL)
    return ensure_weights(MODEL, model, room=Home.find(ROOT).room("models"), progress=print)


def vllm_environment() -> dict[str, str]:
    """What a process of the serving environment is started with."""
    service = load_project(ROOT).services.vllm
    path = os.pathsep.join([str(serving_python().parent), os.environ.get("PATH", "")])
    return serving_environment({"PATH": path, **service.environment})


@contextmanager
def real_server(
    flags: Mapping[str, str | int | float | bool] | None = None,
) -> Iterator[RealServer]:
    """Serve the model while the block runs, beside a server that a user has.

    Args:
        flags: of the server, instead of those in configs/models.yaml.
    """
    version, weights = real_version(flags), real_weights()
    configured = load_project(ROOT).services.vllm
    service = VllmService(
        device=configured.device,
        port=_free_port(),
        # A route that empties the prefix cache exists only in this mode.
        environment={**configured.environment, "VLLM_SERVER_DEV_MODE": "1"},
    )
    with tempfile.TemporaryDirectory() as directory:
        server = VllmServer(service, Home(Path(directory)))
        try:
            server.start(version, weights, progress=print)
            yield RealServer(server.url, version, weights, vllm_environment())
        finally:
            server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
