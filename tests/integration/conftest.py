"""Real servers for the tests that need one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.config import ModelsSettings, load_settings
from tasks.serve.weights import ensure_embedding
from tasks.store import Home
from tests.projects import PROMPTS, Oracle, SmallProject, make_project
from tests.servers import OpenAIServer
from tests.tracking import MlflowServer


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prefect's own test server; its URL."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    quiet = {
        PREFECT_HOME: tmp_path_factory.mktemp("prefect"),
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with temporary_settings(updates=quiet), prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def stopped_mlflow_server(tmp_path: Path) -> Iterator[MlflowServer]:
    """A server of its own for one test, not started yet."""
    server = MlflowServer(tmp_path / "mlflow")
    yield server
    server.stop()


EMBEDDING = "all-minilm-l6-v2"


@pytest.fixture(scope="session")
def models() -> Path:
    """The developer's own weights, so that they are fetched once and not at every run."""
    room = Home.find().room("models")
    settings = load_settings(Path("configs/models.yaml"), ModelsSettings)
    ensure_embedding(EMBEDDING, settings.embedding(EMBEDDING), room=room)
    return room


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory, models: Path) -> tuple[tuple[Path, str], ...]:
    """The small project's snapshot and index with its parts: where they are stored.

    They stay beside the weights: embedding is the slowest step of all, and an index that is there
    under its digest is what this code would build.
    """
    from flows.steps.index import ensure_index, snapshot_corpus, wanted_release
    from flows.workspace import Workspace
    from tasks.config import load_project
    from tasks.index.cache import EMBEDDINGS
    from tasks.index.manifest import SEGMENTS, load_version

    made = make_project(
        tmp_path_factory.mktemp("indexed"), endpoint="http://127.0.0.1:9/v1", models=models
    )
    home = Home(models.parent / "tests")
    if not home.path("models").exists():
        home.root.mkdir(exist_ok=True)
        home.path("models").symlink_to(models)
    workspace = Workspace(load_project(made.root), home)
    snapshot = snapshot_corpus(workspace, _silent)
    index = ensure_index(workspace, wanted_release(workspace, snapshot.digest), _silent)
    version = load_version(home.path("index", index.digest))
    places = [
        f"corpus/{snapshot.digest}",
        f"index/{index.digest}",
        f"index/{EMBEDDINGS}/{version.embedding_digest}",
        *(f"index/{SEGMENTS}/{use.digest}" for use in version.segments),
    ]
    return tuple((home.root, place) for place in places)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


@pytest.fixture
def double() -> Iterator[OpenAIServer]:
    """A model server under the test's control; it knows nothing until a project is made."""
    with OpenAIServer(models=("double",)) as server:
        yield server


@pytest.fixture
def project(
    tmp_path: Path,
    models: Path,
    indexed: tuple[tuple[Path, str], ...],
    double: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
) -> SmallProject:
    """A small project; the prompt `baseline` answers a third of its suite, `answer` all of it."""
    made = make_project(tmp_path, endpoint=double.url, models=models, stored=indexed)
    double.respond = Oracle(made.cases, {PROMPTS["baseline"]: 1 / 3, PROMPTS["answer"]: 1.0})
    for name in ("RATCHET_PROJECT", "RATCHET_HOME", "RATCHET_ACTOR"):
        monkeypatch.setenv(name, made.environment[name])
    return made
