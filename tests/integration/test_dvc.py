"""`dvc repro` in a clone of the repository: the nightly run's steps without Prefect."""

import json
import shutil
import subprocess

import pytest

from registry import Registry
from tests.projects import SHIPPED, write_prompt

pytestmark = pytest.mark.integration


class Clone:
    """A git clone with the small project's settings, in which DVC runs."""

    def __init__(self, project, directory):
        self.project, self.root = project, directory
        self.git("clone", "-q", str(SHIPPED), str(directory), cwd=directory.parent)
        for name in ("configs", "data"):
            shutil.rmtree(directory / name)
            shutil.copytree(project.root / name, directory / name)
        self.commit("small")
        project.root = directory

    def run(self, *command, cwd=None):
        environment = self.project.environment
        del environment["RATCHET_PROJECT"]
        done = subprocess.run(
            command, cwd=cwd or self.root, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def git(self, *arguments, cwd=None):
        who = ("-c", "user.name=tester", "-c", "user.email=tester@example.invalid")
        return self.run("git", *who, *arguments, cwd=cwd)

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def dvc(self, *arguments):
        return self.run("dvc", *arguments)

    def result(self, name):
        return json.loads((self.root / "results" / f"{name}.json").read_text(encoding="utf-8"))


def stages_run(said):
    """Names of the stages that DVC says it ran."""
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage '")]


@pytest.fixture
def clone(project, tmp_path):
    return Clone(project, tmp_path / "clone")


def test_dvc_repro_compares_repeats_nothing_and_promotes_nothing(clone, double):
    cases = len(clone.project.cases)
    assert stages_run(clone.dvc("repro")) == [
        "corpus",
        "index",
        "evaluate@baseline",
        "evaluate@candidate",
        "decide",
    ]
    assert clone.result("decision")["verdict"] == "PROMOTE"
    assert clone.result("decision")["delta"]["answer_correct"] > 0.5
    assert len(double.requests) == 2 * cases
    clone.commit("first")

    assert stages_run(clone.dvc("repro")) == []
    assert clone.git("status", "--porcelain") == ""
    assert len(double.requests) == 2 * cases

    # Promoting is no stage: nothing is live.
    with Registry(None, clone.project.home) as registry:
        assert registry.champion_digest() is None
        assert len(registry.releases()) == 2

    write_prompt(clone.project, "answer", "Hurry.")
    double.respond.skills["Hurry."] = 0.5
    baseline = clone.result("baseline")
    ran = stages_run(clone.dvc("repro"))
    assert "corpus" not in ran
    assert "index" not in ran
    assert ran[-2:] == ["evaluate@candidate", "decide"]
    # The baseline's prompt didn't change: its evaluation was found, not made again.
    assert len(double.requests) == 3 * cases
    assert clone.result("baseline") == baseline
    assert clone.result("decision")["delta"]["answer_correct"] < 0.5

    shown = json.loads(clone.dvc("metrics", "show", "--json"))[""]["data"]
    means = shown["results/candidate.json"]["data"]["measures"]
    assert means["answer_correct"] == pytest.approx(0.5)
    difference = json.loads(clone.dvc("metrics", "diff", "--json", "HEAD"))
    change = difference["results/candidate.json"]["measures.answer_correct"]
    assert (change["old"], change["new"]) == (1.0, 0.5)
    clone.dvc("plots", "show", "-o", "plots")
    clone.dvc("plots", "diff", "HEAD", "-o", "changed")
    for folder in ("plots", "changed"):
        page = (clone.root / folder / "index.html").read_text(encoding="utf-8")
        assert "answer_correct" in page
        assert '"type": "bar"' in page
