"""Real MLflow, Prefect and worker processes, from nothing and back to nothing."""

from pathlib import Path

import pytest

from flows.services import down, status, up
from tasks.store import Home
from tests.unit.flows.test_services import project
from tests.unit.serve.test_process import free_port

pytestmark = pytest.mark.integration


def test_servers_come_up_together_stay_up_and_go_down(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    # A directory without prefect.yaml: deployments are tested where flows are.
    settings = project(mlflow={"port": free_port()}, prefect={"port": free_port()}).model_copy(
        update={"root": tmp_path}
    )
    said: list[str] = []
    try:
        rows = up(settings, home, said.append, only=["mlflow", "prefect", "worker"])
        assert {row.state for row in rows} == {"running"}
        first = {row.service: row.pid for row in rows}
        # A worker that has run for a night has its first lines far behind it.
        with (home.root / "logs" / "worker.log").open("a", encoding="utf-8") as log:
            log.writelines(f"line {number}\n" for number in range(100))

        again = up(settings, home, said.append, only=["mlflow", "prefect", "worker"])
        assert {row.service: row.pid for row in again} == first
    finally:
        stopped = down(settings, home, said.append)

    assert set(stopped) == {"worker", "prefect", "mlflow"}
    assert {row.state for row in status(settings, home)} == {"stopped"}
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
    assert (home.root / "mlflow" / "mlflow.db").exists()
    assert (home.root / "prefect" / "prefect.db").exists()
