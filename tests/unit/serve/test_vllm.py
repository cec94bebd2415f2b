import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.config import GeneratorModel, Price, VllmService
from tasks.errors import ConfigError, ServerUnavailable, SetupError, WrongModel
from tasks.serve.version import ModelVersion, model_version
from tasks.serve.vllm import VllmServer, check_served, vllm_command
from tasks.store import Home
from tests.servers import OpenAIServer
from tests.unit.serve.test_process import free_port

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

print("Starting to load model", flush=True)
port = int(sys.argv[sys.argv.index("--port") + 1])
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def version(name: str = "tiny", **changes: Any) -> ModelVersion:
    settings: dict[str, Any] = {
        "sha256": "a" * 64,
        "format": "directory",
        "context_length": 128,
        "price": Price(machine_hour=1.0),
    }
    return model_version(name, GeneratorModel(**settings | changes))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Stands for the serving environment's Python: whatever module is asked for, it listens."""
    (tmp_path / "server.py").write_text(SERVER)
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/server.py "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture
def server(tmp_path: Path) -> Iterator[VllmServer]:
    service = VllmService(port=free_port(), environment={"VLLM_CPU_KVCACHE_SPACE": "0.001"})
    server = VllmServer(service, Home(tmp_path / "home"))
    yield server
    server.daemon.stop(grace_s=2.0)


def test_flags_become_the_command_line(tmp_path: Path) -> None:
    flags: dict[str, Any] = {"max-model-len": 128, "enforce-eager": True, "async-scheduling": False}
    served = version(server_flags=flags)

    command = vllm_command(
        served, tmp_path, Path("/serve/python"), ("--host", "127.0.0.1", "--port", "8001")
    )

    text = " ".join(command)
    assert f"--served-model-name tiny {served.served_name}" in text
    assert "--host 127.0.0.1 --port 8001" in text
    assert "--max-model-len 128 --enforce-eager --no-async-scheduling" in text


def test_a_server_is_started_once_and_replaced_for_another_model(
    server: VllmServer, weights: Path, python: Path
) -> None:
    said: list[str] = []

    first = server.start(version(), weights, progress=said.append, python=python)
    again = server.start(version(), weights, python=python)
    other = server.start(version("other"), weights, python=python)

    assert first == again
    assert other.pid != first.pid
    assert other.details["name"] == "other"
    assert any("ready" in line for line in said)
    assert server.healthy()
    assert server.stop()
    assert not server.healthy()


def test_a_taken_port_stops_the_start(server: VllmServer, weights: Path, python: Path) -> None:
    with OpenAIServer() as stranger:
        service = server.service.model_copy(update={"port": stranger.port})

        with pytest.raises(SetupError, match=f"127.0.0.1:{stranger.port}"):
            VllmServer(service, server.home).start(version(), weights, python=python)


def test_too_little_memory_is_found_before_the_start(
    server: VllmServer, weights: Path, python: Path
) -> None:
    cache = psutil.virtual_memory().total / 2**30 + 1
    environment = {"VLLM_CPU_KVCACHE_SPACE": str(cache)}
    service = server.service.model_copy(update={"environment": environment})

    with pytest.raises(SetupError, match="GiB of memory"):
        VllmServer(service, server.home).start(version(), weights, python=python)

    assert server.daemon.running() is None


def test_without_a_serving_environment_setup_is_the_next_step(
    server: VllmServer, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_SERVING_PYTHON", "/nowhere/python")

    with pytest.raises(SetupError, match="/nowhere/python") as caught:
        server.start(version(), weights)

    assert "make setup" in caught.value.next_step


def test_the_right_model_passes_by_its_full_name() -> None:
    with OpenAIServer(models=("tiny", version().served_name)) as endpoint:
        check_served(endpoint.url, version())


def test_the_name_alone_is_not_enough_when_the_weights_are_known() -> None:
    with OpenAIServer(models=("tiny",)) as endpoint:
        with pytest.raises(WrongModel) as caught:
            check_served(endpoint.url, version())
        assert caught.value.served == ["tiny"]
        assert caught.value.expected == version().served_name
        check_served(endpoint.url, version(sha256=None, format="endpoint"))


def test_silence_is_unavailable_and_may_be_tried_again() -> None:
    with pytest.raises(ServerUnavailable):
        check_served(f"http://127.0.0.1:{free_port()}/v1", version())


def test_a_url_that_is_no_model_server_is_a_wrong_setting() -> None:
    with OpenAIServer() as endpoint, pytest.raises(ConfigError, match="doesn't list models"):
        check_served(endpoint.url.removesuffix("/v1"), version())


def test_a_version_is_named_by_all_that_changes_its_answers() -> None:
    changes: list[dict[str, Any]] = [
        {"sha256": "b" * 64},
        {"format": "gguf"},
        {"context_length": 64},
        {"server_flags": {"seed": 1}},
        {"sampling": {"temperature": 0.5}},
    ]
    names = {version().served_name, version("other").served_name}
    names |= {version(**change).served_name for change in changes}

    assert len(names) == 2 + len(changes)
    assert version(price=Price(machine_hour=9.0)).digest == version().digest
    assert version().served_name == f"tiny@{version().digest[:12]}"
