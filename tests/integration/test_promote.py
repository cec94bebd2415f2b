"""Promotions and rollbacks by flow and by command on a real Prefect server: files and events."""
# ruff: noqa: F811  (fixtures of another room's tests, which pytest finds by their names)

import os
import re
import subprocess
import sys
import time

import httpx
import pytest
from ruamel.yaml import YAML

from flows.promote import promote, rollback
from tasks.errors import RegistryError
from tests.unit.flows.conftest import project as small  # noqa: F401  (a fixture)
from tests.unit.flows.conftest import ratchet, workspace  # noqa: F401  (fixtures)
from tests.unit.flows.evaluations import registered
from tests.unit.flows.test_events import DOCS

pytestmark = pytest.mark.integration


@pytest.fixture
def project(small, prefect_api):
    small.edit("services", prefect={"api_url": prefect_api})
    return small


@pytest.fixture
def two(workspace):
    return registered(workspace), registered(workspace, 1)


def events(api: str, digest: str, count: int) -> list[dict]:
    """What the server has about a release, oldest first, when it has so many."""
    body = {
        "filter": {"resource": {"id": [f"ratchet.release.{digest}"]}, "order": "ASC"},
        "limit": 50,
    }
    deadline = time.monotonic() + 60
    while True:
        found = httpx.post(f"{api}/events/filter", json=body).raise_for_status().json()["events"]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def what(event: dict) -> tuple:
    """All of an event but who sent it when."""
    payload = {key: value for key, value in event["payload"].items() if key != "why"}
    return event["event"], event["resource"], payload


def test_a_command_and_a_flow_send_the_same_events(project, prefect_api, ratchet, two):
    first, second = two
    for release in two:
        promote(release=release.label, why="by flow", override=True)
    rollback(why="by flow")
    for arguments in (
        ("promote", second.label, "--override", "by command"),
        ("rollback", "--why", "by command"),
    ):
        shown = ratchet(*arguments)
        assert (shown.exit_code, shown.stderr) == (0, ""), shown.output
    by_flow, by_command = events(prefect_api, second.digest, 2)
    assert what(by_flow) == what(by_command)
    assert by_flow["event"] == "ratchet.release.promoted"
    assert [event["payload"]["why"] for event in (by_flow, by_command)] == ["by flow", "by command"]
    _, by_flow, by_command = events(prefect_api, first.digest, 3)
    assert what(by_flow) == what(by_command)
    assert by_flow["event"] == "ratchet.release.rolled_back"
    # Only a run is something that an event can be related to.
    assert by_flow["related"]
    assert not by_command["related"]


def test_the_promote_and_rollback_flows_write_the_tracked_file(project, two):
    project.edit("services", registry={"champion_file": "deploy/champion.yaml"})
    path = project.root / "deploy" / "champion.yaml"
    git = ["git", "-C", str(project.root), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    for release in two:
        promote(release=release.label, why="a reason", override=True)
        found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        assert (found["digest"], found["how"]) == (release.digest, "promoted")
        subprocess.run([*git, "add", "deploy"], check=True)
        subprocess.run([*git, "commit", "-qm", release.label], check=True)
    before = path.read_bytes()
    promote(release=two[0].label, why="try", override=True, channel="staging")
    assert path.read_bytes() == before
    rollback(why="slower")
    found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    assert (found["digest"], found["how"], found["why"]) == (two[0].digest, "rolled back", "slower")
    status = subprocess.run([*git, "status", "--short"], capture_output=True, text=True, check=True)
    assert " M deploy/champion.yaml" in status.stdout.splitlines()


def test_a_tracked_file_that_cannot_be_written_fails_the_run_and_not_the_promotion(
    project, workspace, two
):
    project.edit("services", registry={"champion_file": "deploy/champion.yaml"})
    (project.root / "deploy").write_text("a file where the directory should be")
    with pytest.raises(RegistryError, match="changed in the ledger"):
        promote(release=two[0].label, why="a reason", override=True)
    with workspace.registry() as registry:
        assert registry.champion() == two[0]
    (project.root / "deploy").unlink()
    # The same again changes nothing, and writes the file.
    promote(release=two[0].label, why="a reason", override=True)
    assert two[0].digest in (project.root / "deploy" / "champion.yaml").read_text()


def test_prefect_creates_the_documented_automation(project, prefect_api, tmp_path):
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    block = CustomWebhookNotificationBlock(name="trouble", url="http://127.0.0.1:9/")
    block_id = str(block.save("release-trouble", overwrite=True))
    [text] = re.findall(r"```yaml\n(name: .*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "automation.yaml"
    path.write_text(text.replace("00000000-0000-0000-0000-000000000000", block_id))
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "automation", "create", "--from-file", str(path)],
        env=os.environ | {"PREFECT_API_URL": prefect_api, "PREFECT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = httpx.post(f"{prefect_api}/automations/filter", json={}).raise_for_status().json()
    [made] = [each for each in found if each["name"] == "release trouble"]
    assert made["enabled"]
    assert set(made["trigger"]["expect"]) == {
        "ratchet.release.rejected",
        "ratchet.release.rolled_back",
    }
    [action] = made["actions"]
    assert (action["type"], action["block_document_id"]) == ("send-notification", block_id)
