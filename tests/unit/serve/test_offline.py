import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.config import GeneratorModel, Price, VllmService
from tasks.errors import SetupError
from tasks.serve.client import ModelClient
from tasks.serve.offline import OFFLINE_URL, offline_engine, stop_offline_engines
from tasks.serve.process import Daemon
from tasks.serve.version import model_version
from tasks.store import Home

PRICE = Price(machine_hour=1.0)
VERSION = model_version(
    "tiny",
    GeneratorModel(
        sha256="a" * 64,
        format="directory",
        context_length=128,
        server_flags={"max-num-seqs": 2},
        price=PRICE,
    ),
)
# Speaks as much of the protocol as a run needs, where --uds says, and nowhere else.
ENGINE = """
import sys
from aiohttp import web

async def health(request):
    return web.Response()

async def chat(request):
    body = await request.json()
    said = f"{body['model']}: {body['messages'][-1]['content']}"
    return web.json_response({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})

assert "--port" not in sys.argv and sys.argv[sys.argv.index("--max-num-seqs") + 1] == "2"
app = web.Application()
app.router.add_get("/health", health)
app.router.add_post("/v1/chat/completions", chat)
web.run_app(app, path=sys.argv[sys.argv.index("--uds") + 1], print=None)
"""


@pytest.fixture
def engine(tmp_path: Path) -> dict[str, Any]:
    """What starts the double of the engine."""
    (tmp_path / "engine.py").write_text(ENGINE)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/engine.py "$@"\n')
    python.chmod(0o755)
    weights = tmp_path / "weights"
    weights.mkdir()
    return {
        "version": VERSION,
        "weights": weights,
        "service": VllmService(environment={"VLLM_CPU_KVCACHE_SPACE": "0"}),
        "home": Home(tmp_path / "home"),
        "python": python,
    }


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.serve.vllm._PROCESSES_BYTES", 0)


def daemon(home: Home) -> Daemon:
    [file] = home.path("run").glob("vllm-offline-*.json")
    return Daemon(file.stem, home)


async def test_a_run_asks_its_own_engine_which_is_gone_afterwards(engine: dict[str, Any]):
    with offline_engine(**engine) as socket:
        running = daemon(engine["home"])
        assert running.running() is not None
        async with ModelClient(OFFLINE_URL, VERSION, PRICE, cache=None, socket=socket) as door:
            said = await door.chat([{"role": "user", "content": "hello"}], purpose="answer")
        assert said.text == f"{VERSION.served_name}: hello"
    assert running.running() is None
    assert not socket.parent.exists()


def test_what_a_killed_run_left_behind_is_stopped_by_the_next_one(engine: dict[str, Any]):
    child = os.fork()
    if not child:
        with offline_engine(**engine):
            # As by kill -9: nothing of what should follow is done.
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    left = daemon(engine["home"]).running()
    assert left is not None
    with offline_engine(**engine):
        now = daemon(engine["home"]).running()
        assert now is not None
        assert now.pid != left.pid
        assert not Path(left.url.removeprefix("unix:")).parent.exists()
        assert stop_offline_engines(engine["home"])
        assert not stop_offline_engines(engine["home"])


def test_an_engine_that_dies_says_why(engine: dict[str, Any], tmp_path: Path):
    (tmp_path / "engine.py").write_text("raise SystemExit('no such device')")
    with pytest.raises(SetupError, match="no such device"), offline_engine(**engine):
        pass
