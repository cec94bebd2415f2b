"""A small project with the shipped models and its own vLLM, one for all tests."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.config import load_project
from tasks.serve.vllm import VllmServer
from tasks.serve.weights import ensure_embedding, ensure_weights
from tasks.store import Home
from tests.projects import MEASURES, SmallProject, make_project

# What every run of the real model shows whatever the processor rounds: the better prompt's answers
# are several times shorter. Whether they are right needs more cases than a test can afford.
POLICY: dict[str, Any] = {
    "must_pass": None,
    "measures": {
        "output_tokens": {
            "kind": "positive",
            "role": "primary",
            "direction": "lower",
            "margin": 0.5,
        },
        "token_f1": {
            "kind": "bounded",
            "role": "guardrail",
            "direction": "higher",
            "margin": 0.4,
            "floor": 0.0,
        },
    },
}


@dataclass(frozen=True)
class Ratchet:
    """The command line of a project, as a process."""

    project: SmallProject

    @property
    def vllm(self) -> VllmServer:
        return VllmServer(load_project(self.project.root).services.vllm, self.project.home)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.project.ratchet), *arguments],
            env=self.project.environment,
            cwd=self.project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --json; the document that it prints."""
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=900)
        assert process.returncode == code, f"{arguments} gave {process.returncode}:\n{out}\n{err}"
        return json.loads(out)


@pytest.fixture(scope="session")
def ratchet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ratchet]:
    models = Home.find().room("models")
    shipped = load_project(Path.cwd())
    names = shipped.release
    ensure_embedding(names.embedding, shipped.models.embedding(names.embedding), room=models)
    ensure_weights(names.model, shipped.models.generator(names.model), room=models)
    project = make_project(tmp_path_factory.mktemp("real"), endpoint=None, models=models)
    (project.root / "configs" / "gate.yaml").unlink()
    project.edit("configs/gate.yaml", **POLICY)
    project.edit(
        "configs/evaluate.yaml",
        measures=[*MEASURES, "output_tokens", "faithfulness", "judge_accuracy"],
        judge={"sample": 2},
    )
    made = Ratchet(project)
    yield made
    made.vllm.stop()
