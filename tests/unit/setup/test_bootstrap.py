"""`setup/bootstrap.py` in small projects of its own, with wheels that the test makes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.serve.test_weights import make_wheel

ROOT = Path(__file__).resolve().parents[3]


class SmallProject:
    """A project whose serving lock names one tiny wheel."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv-serve"
        self.lock = root / "requirements" / "serving-cpu.txt"
        self.wheels = root / "wheels"
        for folder in ("requirements", "configs", "wheels"):
            (root / folder).mkdir(parents=True)
        shutil.copytree(ROOT / "setup", root / "setup")
        (root / "configs" / "services.yaml").write_text("vllm:\n  device: cpu\n")
        (root / "pyproject.toml").write_text("")
        (root / "requirements" / "main.txt").write_text("")
        make_wheel(self.wheels, "tiny-package", {"tiny_package/data.txt": b"data"})
        self.lock.write_text("# a comment\ntiny-package==1.0\n")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self.root / "setup" / "bootstrap.py"), *arguments]

    def environment(self, **changes: str) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PIP_", "RATCHET_"))
        }
        settings = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }
        return kept | settings | changes

    def setup(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*(arguments or ("--only", "serving"))),
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def has_package(self) -> bool:
        return bool(list(self.venv.glob("lib/python*/site-packages/tiny_package/data.txt")))


@pytest.fixture
def small(tmp_path: Path) -> SmallProject:
    return SmallProject(tmp_path / "project")


def test_an_environment_is_made_checked_and_then_left_alone(small: SmallProject) -> None:
    first = small.setup()
    assert first.returncode == 0, first.stderr
    assert small.has_package()
    assert small.setup("--check", "serving").returncode == 0
    stamp = small.venv / "ratchet-stamp.json"
    written = stamp.stat().st_mtime_ns

    again = small.setup()

    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert stamp.stat().st_mtime_ns == written


def test_another_lock_makes_the_environment_anew(small: SmallProject) -> None:
    assert small.setup().returncode == 0
    make_wheel(small.wheels, "other-package", {"other_package/data.txt": b"data"})
    small.lock.write_text("other-package==1.0\n")
    assert small.setup("--check", "serving").returncode == 1

    assert small.setup().returncode == 0

    assert not small.has_package()
    assert list(small.venv.glob("lib/python*/site-packages/other_package/data.txt"))


def test_a_wrong_line_in_the_lock_is_explained_and_nothing_is_trusted(small: SmallProject) -> None:
    small.lock.write_text("no-such-package==9.9\n")

    result = small.setup()

    assert result.returncode == 1
    assert "no-such-package==9.9" in result.stderr
    assert "Correct that line" in result.stderr
    assert "setup-serving.log" in result.stderr
    assert not (small.venv / "ratchet-stamp.json").exists()
    small.lock.write_text("tiny-package==1.0\n")
    assert small.setup().returncode == 0


def test_a_missing_cpu_build_of_torch_names_the_extra_index(small: SmallProject) -> None:
    small.lock.write_text("torch==2.13.0+cpu\n")

    result = small.setup()

    assert result.returncode == 1
    assert "PIP_EXTRA_INDEX_URL" in result.stderr


def test_an_unreachable_registry_is_told_apart_from_a_wrong_line(small: SmallProject) -> None:
    # Nothing answers on this port of this machine; no retries, so that the test is quick.
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    environment = small.environment(**nowhere)
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        del environment[name]

    result = subprocess.run(
        small.command("--only", "serving"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 1
    assert "can't be reached" in result.stderr
    assert "PIP_INDEX_URL" in result.stderr


def test_after_a_kill_in_the_middle_the_environment_is_made_anew(small: SmallProject) -> None:
    log = small.root / ".ratchet" / "logs" / "setup-serving.log"
    with subprocess.Popen(
        small.command("--only", "serving"),
        env=small.environment(),
        stdout=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while not (log.exists() and "pip install" in log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (small.venv / "ratchet-stamp.json").exists()

    assert small.setup().returncode == 0

    assert small.has_package()


def test_an_environment_that_setup_did_not_make_is_never_removed(small: SmallProject) -> None:
    small.venv.mkdir()
    (small.venv / "mine").write_text("mine")

    result = small.setup()

    assert result.returncode == 1
    assert "didn't make it" in result.stderr
    assert (small.venv / "mine").read_text() == "mine"


def test_a_moved_project_gets_a_new_environment(small: SmallProject, tmp_path: Path) -> None:
    assert small.setup().returncode == 0
    moved = small.root.rename(tmp_path / "moved")

    result = subprocess.run(
        [sys.executable, str(moved / "setup" / "bootstrap.py"), "--check", "serving"],
        env=small.environment(),
        check=False,
    )

    assert result.returncode == 1


def test_freeze_writes_the_versions_below_the_comments(small: SmallProject) -> None:
    assert small.setup().returncode == 0
    small.lock.write_text("# a comment\n")

    assert small.setup("--freeze", "serving").returncode == 0

    lines = small.lock.read_text().splitlines()
    assert lines[0] == "# a comment"
    assert "tiny-package==1.0" in lines


def test_the_stamp_says_what_the_environment_was_made_from(small: SmallProject) -> None:
    assert small.setup().returncode == 0

    stamp = json.loads((small.venv / "ratchet-stamp.json").read_text())

    assert set(stamp) == {"lock", "python", "machine", "directory"}


def test_the_shipped_locks_name_exact_versions() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        lines = [line for line in lock.read_text().splitlines() if line and line[0] != "#"]
        assert all("==" in line for line in lines), lock
