"""Model version + weights -> a vLLM engine for one run: no port, and gone when the run is over."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.config import VllmService
from tasks.digest import SHORT
from tasks.serve.environment import serving_environment, serving_python
from tasks.serve.process import Daemon, Progress
from tasks.serve.version import ModelVersion
from tasks.serve.vllm import STAGES, check_memory, vllm_command
from tasks.store import Home, locked

OFFLINE_URL = "http://vllm-offline/v1"
"""What requests to the engine are addressed to; they go through its socket."""
_PREFIX, _SCHEME = "vllm-offline-", "unix:"
_STOP_S, _ANSWER_S = 10.0, 5.0


@contextmanager
def offline_engine(
    version: ModelVersion,
    weights: Path,
    service: VllmService,
    home: Home,
    *,
    progress: Progress | None = None,
    python: Path | None = None,
) -> Iterator[Path]:
    """Run an engine while the block runs; the socket at which it speaks the server's protocol.

    A second run with the same model waits for the first one's end. What a killed run left behind is
    stopped by the next run or by `ratchet down`.

    Args:
        version: what it serves; its flags are those of a server.
        weights: directory of `ensure_weights`.
        service: device, environment and patience; host and port are of no matter.
        home: the state directory.
        progress: told each stage.
        python: the serving environment's Python; default: `.venv-serve`.

    Raises:
        SetupError: no serving environment, too little memory, or it died or wasn't ready in time.
    """
    interpreter = python or serving_python()
    daemon = Daemon(f"{_PREFIX}{version.digest[:SHORT]}", home)
    with locked(daemon.pid_file.with_suffix(".run")):
        _stop(daemon)
        if service.device == "cpu":
            check_memory(weights, service)
        # A socket's path is short, and only this user may enter its directory.
        at = Path(tempfile.mkdtemp(prefix="ratchet-")) / "vllm.sock"
        path = os.pathsep.join([str(interpreter.parent), os.environ.get("PATH", "")])
        try:
            daemon.start(
                vllm_command(version, weights, interpreter, ("--uds", str(at))),
                url=f"{_SCHEME}{at}",
                environment=serving_environment({"PATH": path, **service.environment}),
                directory=home.root,
                details={"name": version.name, "served_name": version.served_name},
            )
            daemon.wait(
                lambda: _healthy(at),
                timeout_s=service.start_timeout_s,
                stages=STAGES,
                progress=progress,
            )
            yield at
        finally:
            _stop(daemon)
            shutil.rmtree(at.parent, ignore_errors=True)


def stop_offline_engines(home: Home) -> bool:
    """Stop what killed runs, or running ones, have started; whether there was anything."""
    files = sorted(home.path("run").glob(f"{_PREFIX}*.json"))
    stopped = [_stop(Daemon(file.stem, home)) for file in files]
    return any(stopped)


def _stop(daemon: Daemon) -> bool:
    running = daemon.running()
    stopped = daemon.stop(grace_s=_STOP_S)
    if running is not None:
        shutil.rmtree(Path(running.url.removeprefix(_SCHEME)).parent, ignore_errors=True)
    return stopped


def _healthy(path: Path) -> bool:
    # By hand: httpcore leaves a socket open when nobody listens at the other end.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_S)
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False
