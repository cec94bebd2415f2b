"""A small project in a directory of its own, its index built, and a model server beside it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.steps.index import snapshot_corpus, wanted_release
from flows.workspace import Workspace, open_workspace
from tasks.answer.release import Release
from tasks.corpus.stored import open_snapshot
from tasks.index.build import build_index
from tests.embedders import HashingEmbedder, served_embedding
from tests.servers import OpenAIServer, free_port

SHIPPED = Path(__file__).resolve().parents[3]
CASE = (
    '{"case_id": "%(word)s", "question": "How long can I store %(word)s?", "reference": "a week", '
    '"gold": [{"doc_id": "%(doc)s", "start": 0, "end": 4, "quote": "Keep"}], "cluster": "%(word)s"}'
)
WORDS = ("apples", "bread", "cheese")


class SmallProject:
    """Files of a project, for a test to change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / ".ratchet"

    def edit(self, name: str, **changes: Any) -> None:
        """Change top-level fields of `configs/<name>.yaml`; a mapping is merged."""
        path = self.root / "configs" / f"{name}.yaml"
        tree = YAML().load(path.read_text(encoding="utf-8"))
        for key, value in changes.items():
            if isinstance(value, dict) and isinstance(tree.get(key), dict):
                tree[key].update(value)
            else:
                tree[key] = value
        with path.open("w", encoding="utf-8") as file:
            YAML().dump(tree, file)

    def note(self, word: str, text: str | None = None) -> None:
        """Write one document."""
        path = self.root / "data" / "notes" / f"{word}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or f"Keep {word} cool. They last a week.\n", encoding="utf-8")

    def suite(self, *lines: str) -> None:
        """Write the suite."""
        path = self.root / "data" / "suites" / "small.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def case_line(word: str) -> str:
    return CASE % {"word": word, "doc": f"notes/{word}.md"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """The shipped settings with three documents, three cases and no server of its own."""
    made = SmallProject(tmp_path / "project")
    shutil.copytree(SHIPPED / "configs", made.root / "configs")
    for word in WORDS:
        made.note(word)
    made.suite(*map(case_line, WORDS))
    made.edit("corpus", sources=[{"kind": "folder", "name": "notes", "path": "data/notes"}])
    made.edit(
        "evaluate",
        suite="data/suites/small.jsonl",
        measures=["R@4", "contains"],
        server_wait_s=0,
        canary="off",
    )
    # Nobody may be told of a test: the developer's own servers may be up. And it is in no git
    # repository.
    services = {name: {"port": free_port()} for name in ("vllm", "mlflow", "prefect")}
    made.edit("services", registry={"require_clean": False}, **services)
    monkeypatch.setenv("RATCHET_PROJECT", str(made.root))
    monkeypatch.setenv("RATCHET_ACTOR", "tester")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("RATCHET_HOME", raising=False)
    return made


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


@pytest.fixture
def served(project: SmallProject) -> Iterator[OpenAIServer]:
    """A server of the embedding model `served`, which hashes words; the release names it."""
    model = HashingEmbedder()
    with OpenAIServer(embed=lambda texts: model.encode(texts).tolist()) as running:
        served = served_embedding(project.root, running.url, model.dimensions)
        project.edit("models", embeddings={"served": served})
        project.edit("release", embedding="served")
        yield running


@pytest.fixture
def workspace(project: SmallProject) -> Workspace:
    return open_workspace()


@pytest.fixture
def release(workspace: Workspace) -> Release:
    """The wanted release, its snapshot stored, its index built, itself registered."""
    return publish(workspace)


def build_wanted(workspace: Workspace, embedder: HashingEmbedder | None = None) -> Release:
    """Store what the settings of a workspace ask for."""
    snapshot = snapshot_corpus(workspace, silent)
    wanted = wanted_release(workspace, snapshot.digest)
    # Which model made the vectors doesn't matter here; that the index has its name does.
    embedder = embedder or HashingEmbedder(wanted.embedding)
    embedder.digest = wanted.embedding_digest
    build_index(
        open_snapshot(snapshot.directory),
        wanted.chunking,
        embedder,
        room=workspace.home.room("index"),
        previous=None,
        index=wanted.index_settings,
    )
    return wanted


def publish(workspace: Workspace) -> Release:
    """Store what the settings of a workspace ask for, and register it."""
    wanted = build_wanted(workspace)
    with workspace.registry() as registry:
        registry.register(wanted, who="tester")
    return wanted


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(models=("tiny",)) as running:
        yield running


Ratchet = Callable[..., Result]


@pytest.fixture
def ratchet() -> Ratchet:
    """The command line, in this process."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return run
