import shutil
from pathlib import Path

import pytest

from flows.doctor import check_machine
from tasks.store import Home
from tests.servers import OpenAIServer
from tests.unit.flows.test_services import project


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_every_problem_has_a_next_step_and_nothing_is_changed(home: Home) -> None:
    rows = check_machine(project(), home)

    assert all(row.next_step for row in rows if row.state == "fail")
    assert {"python", "disk", "memory", "git", "lscpu", "c compiler", ".venv"} <= {
        row.name for row in rows
    }
    assert not home.root.exists()


def test_weights_that_are_not_there_yet_are_no_failure(home: Home) -> None:
    states = {row.name: row.state for row in check_machine(project(), home)}

    assert states["weights of all-minilm-l6-v2"] == "warn"


def test_damaged_weights_are_a_failure(home: Home) -> None:
    settings = project()
    embedding = settings.models.embedding(settings.release.embedding)
    (home.room("models") / embedding.sha256).mkdir()

    (row,) = [
        row
        for row in check_machine(settings, home)
        if row.name == f"weights of {settings.release.embedding}"
    ]

    assert row.state == "fail"
    assert "rm -r" in row.next_step


def test_a_taken_port_is_a_failure_only_for_a_server_that_would_need_it(home: Home) -> None:
    with OpenAIServer() as stranger:
        own = check_machine(project(mlflow={"port": stranger.port}), home)
        elsewhere = project(
            mlflow={"port": stranger.port, "tracking_uri": stranger.url.removesuffix("/v1")}
        )
        external = check_machine(elsewhere, home)

    name = f"port {stranger.port}"
    assert [row.state for row in own if row.name == name] == ["fail"]
    assert [row.state for row in external if row.name == name] == []


def test_a_missing_compiler_is_no_failure(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert shutil.which("cc") is None

    states = {row.name: row.state for row in check_machine(project(), home)}

    assert (states["c compiler"], states["git"], states["lscpu"]) == ("warn", "warn", "fail")
