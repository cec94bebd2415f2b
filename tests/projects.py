"""A whole small Ratchet project in a directory of its own, and a model that knows its suite."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks.evaluate.suite import Case, load_suite
from tasks.store import Home
from tests.servers import free_port

SHIPPED = Path(__file__).resolve().parents[1]
PACKAGES = ("heapq", "bisect", "json", "statistics", "textwrap", "html", "shlex", "fnmatch")
UNANSWERABLE = ("none-pdf", "none-ssh")
NOTE = "data/corpus/pickling.md"

MEASURES = ("R@4", "answer_correct", "token_f1", "latency_s", "cost")
POLICY: dict[str, Any] = {
    "clusters": False,
    # Twenty cases leave little room for a second look.
    "spending": "none",
    "noise": {"refresh": False},
    "resamples": 999,
    "must_pass": "answer_correct",
    # Margins that twenty cases can show.
    "measures": {
        "answer_correct": {
            "kind": "binary",
            "role": "primary",
            "direction": "higher",
            "margin": 0.3,
            "floor": 0.0,
        },
        "token_f1": {"kind": "bounded", "role": "guardrail", "direction": "higher", "margin": 0.4},
        "R@4": {"kind": "bounded", "role": "guardrail", "direction": "higher", "margin": 0.3},
    },
}


class Oracle:
    """Answers the questions of a suite; how many of them rightly depends on the system prompt.

    Args:
        cases: of the suite, in its order.
        skills: text of a system prompt -> share of the cases, from the first one, that it gets
            right. The first text that is in the prompt counts.
    """

    def __init__(self, cases: Sequence[Case], skills: Mapping[str, float]) -> None:
        self.cases = cases
        self.skills = dict(skills)
        self.marks = '{"accuracy": 4, "completeness": 4, "clarity": 4}'

    def __call__(self, body: dict[str, Any]) -> str:
        if "response_format" in body:
            return self.marks
        asked = body["messages"][-1]["content"]
        position, case = next(
            ((number, case) for number, case in enumerate(self.cases) if case.question in asked),
            (len(self.cases), None),
        )
        system = body["messages"][0]["content"]
        share = next(share for text, share in self.skills.items() if text in system)
        if case is None:
            return "Nobody has asked that before."
        if position >= share * len(self.cases):
            return "Probably the walrus."
        return case.reference if case.answerable else "I don't know."


PROMPTS = {"baseline": "Give it a try.", "answer": "Be exact."}
"""System prompts that the double's projects have under the shipped prompts' names."""


@dataclass
class SmallProject:
    """The shipped project with few documents, few cases and free ports.

    The model is the generator `double`, an endpoint; the embedding model is the real one.
    """

    root: Path
    home: Home
    cases: tuple[Case, ...] = field(default=())

    def edit(self, name: str, **changes: Any) -> None:
        """Change top-level fields of a YAML file; a mapping is merged into the one there."""
        yaml = YAML()
        path = self.root / name
        tree = yaml.load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for key, value in changes.items():
            if isinstance(value, dict) and isinstance(tree.get(key), dict):
                tree[key].update(value)
            else:
                tree[key] = value
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(tree, file)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    @property
    def ratchet(self) -> Path:
        """The command, of the environment in which the tests run."""
        return Path(sys.executable).with_name("ratchet")

    @property
    def environment(self) -> dict[str, str]:
        """For processes that work on this project."""
        path = f"{self.ratchet.parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {
            "RATCHET_PROJECT": str(self.root),
            "RATCHET_HOME": str(self.home.root),
            "RATCHET_ACTOR": "tester",
            "PATH": path,
            # What is printed is read by people and by tests: no line breaks in the middle.
            "COLUMNS": "200",
        }


def make_project(
    directory: Path, *, endpoint: str | None, models: Path, stored: Sequence[tuple[Path, str]] = ()
) -> SmallProject:
    """Make a project.

    Args:
        directory: gets `project/` and `home/`.
        endpoint: the model server's URL; None leaves the shipped models and their own vLLM.
        models: directory with fetched weights, shared.
        stored: another state directory, and a place below it that is taken over.
    """
    project = SmallProject(directory / "project", Home(directory / "home"))
    shutil.copytree(SHIPPED / "configs", project.root / "configs")
    for name in ("dvc.yaml", "prefect.yaml", "pyproject.toml"):
        shutil.copy(SHIPPED / name, project.root / name)
    # Deployments and DVC's dependencies name files of the project.
    for name in ("flows", "tasks", "registry"):
        (project.root / name).symlink_to(SHIPPED / name)
    project.home.root.mkdir(parents=True)
    project.home.path("models").symlink_to(models)
    for root, place in stored:
        shutil.copytree(root / place, project.home.path(place))
    project.cases = _write_suite(project)
    project.write(NOTE, "# Pickling\n\nA pickle remembers the class of an object by its name.\n")
    _configure(project, endpoint)
    return project


def write_prompt(project: SmallProject, name: str, system: str) -> None:
    """Write configs/prompts/<name>.yaml with this system prompt."""
    user = "{{ passages }}\n\nQuestion: {{ question }}"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    project.edit(f"configs/prompts/{name}.yaml", description="For tests.", messages=messages)


def _write_suite(project: SmallProject) -> tuple[Case, ...]:
    path = project.root / "data" / "suites" / "small.jsonl"
    path.parent.mkdir(parents=True)
    shipped = SHIPPED / "data" / "suites" / "stdlib.jsonl"
    lines = shipped.read_text(encoding="utf-8").splitlines()
    wanted = [
        case.case_id in UNANSWERABLE
        or bool(case.gold and all(s.doc_id.split(".")[0] in PACKAGES for s in case.gold))
        for case in load_suite(shipped).cases
    ]
    chosen = [line for line, keep in zip(lines, wanted, strict=True) if keep]
    path.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return load_suite(path).cases


def _configure(project: SmallProject, endpoint: str | None) -> None:
    corpus = [
        {"kind": "python", "name": "stdlib", "packages": list(PACKAGES)},
        {"kind": "folder", "name": "notes", "path": "data/corpus"},
    ]
    project.edit("configs/corpus.yaml", sources=corpus)
    project.edit(
        "configs/evaluate.yaml",
        suite="data/suites/small.jsonl",
        measures=list(MEASURES),
        # An evaluation without a server ends soon.
        attempts=2,
        server_wait_s=0,
        canary="off",
    )
    (project.root / "configs" / "gate.yaml").unlink()
    project.edit("configs/gate.yaml", **POLICY)
    services = {name: {"port": free_port()} for name in ("vllm", "mlflow", "prefect")}
    # The project is in no git repository.
    project.edit("configs/services.yaml", registry={"require_clean": False}, **services)
    if endpoint is None:
        return
    project.edit("configs/services.yaml", vllm={"endpoint": endpoint})
    price = {"currency": "USD", "input_per_million": 1.0, "output_per_million": 2.0}
    double = {"format": "endpoint", "context_length": 8192, "price": price}
    project.edit("configs/models.yaml", generators={"double": double})
    project.edit("configs/evaluate.yaml", judge={"model": "double"})
    for name in ("release", "baseline"):
        project.edit(
            f"configs/{name}.yaml", model="double", prompt="answer" if name == "release" else name
        )
    for name, system in PROMPTS.items():
        write_prompt(project, name, system)
