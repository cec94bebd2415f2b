"""Releases to promote, and a state directory in which their indexes exist."""

from collections.abc import Callable
from pathlib import Path

import pytest

from registry import Registry
from tasks.answer.prompt import PromptMessage, PromptVersion
from tasks.answer.release import Release
from tasks.config import Chunking, GeneratorModel, Price, Retrieval, Sampling
from tasks.digest import text_digest
from tasks.serve.version import model_version
from tasks.store import Home

MakeRelease = Callable[..., Release]


def make_release(
    number: int = 0,
    *,
    content: str = "{{ passages }}\n\n{{ question }}",
    top_k: int = 4,
    temperature: float = 0.0,
    index: str | None = None,
) -> Release:
    """A release that differs from that of another number in its prompt and its index."""
    return Release(
        prompt=PromptVersion(
            name="answer",
            messages=(
                PromptMessage(role="system", content=f"Answer in {number + 3} words."),
                PromptMessage(role="user", content=content),
            ),
        ),
        model=model_version(
            "tiny",
            GeneratorModel(
                format="endpoint",
                context_length=2048,
                sampling=Sampling(temperature=temperature),
                price=Price(machine_hour=1.0),
            ),
        ),
        retrieval=Retrieval(top_k=top_k),
        index_digest=text_digest(index or f"index {number}"),
        corpus_digest=text_digest(index or f"corpus {number}"),
        chunking=Chunking(),
        embedding="mini",
        embedding_digest=text_digest("mini"),
    )


@pytest.fixture(name="make_release", scope="session")
def make_release_fixture() -> MakeRelease:
    return make_release


@pytest.fixture
def releases() -> list[Release]:
    return [make_release(number) for number in range(4)]


@pytest.fixture
def home(tmp_path: Path, releases: list[Release]) -> Home:
    home = Home(tmp_path / "state")
    for release in releases:
        home.path("index", release.index_digest).mkdir(parents=True)
    return home


@pytest.fixture
def registry(home: Home, releases: list[Release]) -> Registry:
    """Four registered releases, none of them live."""
    registry = Registry(None, home)
    for release in releases:
        registry.register(release, who="test")
    return registry
