"""`ratchet promote` and `rollback` without servers, and with ones that don't do their part."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from tests.unit.flows.evaluations import registered


@pytest.fixture
def two(workspace, ratchet):
    """Two releases, the second of which is live."""
    made = registered(workspace), registered(workspace, 1)
    for release in made:
        assert ratchet("promote", release.label, "--override", "first").exit_code == 0
    return made


def champion(workspace):
    with workspace.registry() as registry:
        return registry.champion()


@contextmanager
def prefect(project, status: int) -> Iterator[list]:
    """A server where Prefect should be; every request that it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Stay quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        project.edit("services", prefect={"port": server.server_address[1]})
        thread = threading.Thread(target=lambda: server.serve_forever(0.01))
        thread.start()
        try:
            yield got
        finally:
            server.shutdown()
            thread.join()


def test_a_rollback_needs_nothing_up(ratchet, project, workspace, two):
    # Every server of this project has a port that nobody listens on.
    for service in ("vllm", "mlflow", "prefect"):
        port = getattr(workspace.project.services, service).port
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
    project.edit("services", registry={"champion_file": "deploy/champion.yaml"})
    shown = ratchet("rollback", "--why", "slower", "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout) == {"changed": True, "champion": two[0].digest}
    assert shown.stderr == ""
    assert champion(workspace) == two[0]
    assert two[0].digest in (project.root / "deploy" / "champion.yaml").read_text()
    assert json.loads((project.home / "champion.json").read_text())["digest"] == two[0].digest


def test_a_server_that_is_there_is_told_once(ratchet, project, two, monkeypatch):
    monkeypatch.setenv("PREFECT_API_KEY", "a-key")
    with prefect(project, 204) as got:
        assert ratchet("rollback", "--why", "slower").stderr == ""
        again = ratchet("rollback", "--to", two[0].label, "--why", "slower")
        assert "nothing was changed" in again.stdout
    [(path, headers, [event])] = got
    assert path == "/api/events"
    assert headers["Authorization"] == "Bearer a-key"
    assert event["event"] == "ratchet.release.rolled_back"
    assert event["payload"]["replaced"] == two[1].digest


def test_a_server_that_refuses_the_event_changes_nothing_of_what_was_done(
    ratchet, project, workspace, two
):
    with prefect(project, 500):
        shown = ratchet("rollback", "--why", "slower")
    assert shown.exit_code == 0
    assert "champion again" in shown.stdout
    assert "No event in Prefect" in shown.stderr
    assert "500" in shown.stderr
    assert champion(workspace) == two[0]


def test_a_server_that_never_answers_is_not_waited_for(
    ratchet, project, workspace, two, monkeypatch
):
    monkeypatch.setattr("flows.events._TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        project.edit("services", prefect={"port": silent.getsockname()[1]})
        shown = ratchet("rollback", "--why", "slower")
    assert shown.exit_code == 0
    assert "ReadTimeout" in shown.stderr
    assert champion(workspace) == two[0]


def test_a_server_of_ones_own_that_is_down_is_named(ratchet, project, workspace, two):
    port = workspace.project.services.prefect.port
    project.edit("services", prefect={"api_url": f"http://127.0.0.1:{port}/api"})
    shown = ratchet("rollback", "--why", "slower")
    assert shown.exit_code == 0
    assert f"127.0.0.1:{port}/api/events doesn't answer" in shown.stderr
    assert champion(workspace) == two[0]


def test_what_is_refused_is_told_to_nobody(ratchet, project, two):
    with prefect(project, 204) as got:
        assert ratchet("rollback", "--to", "nothing", "--why", "x").exit_code == 2
        assert ratchet("promote", two[0].label, "--why", "x").exit_code == 2
    assert got == []
