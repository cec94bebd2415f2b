"""A small corpus, its index and a suite, for a real model server that the tests control."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.answer.release import Release
from tasks.config import Chunking, EvaluateSettings, Retrieval
from tasks.corpus.document import Document
from tasks.evaluate.run import EvaluationPlan, plan_evaluation
from tasks.evaluate.suite import Case, Span, Suite
from tasks.index.build import build_index
from tasks.index.search import Index, open_index
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder
from tests.evaluations import make_release
from tests.servers import OpenAIServer

WORDS = ("apple", "bread", "cheese", "dates", "eggs", "figs", "grapes", "honey")
MakePlan = Callable[..., EvaluationPlan]


def text_of(word: str) -> str:
    return f"To store {word}, keep the {word} cool. It lasts {len(word)} days."


@pytest.fixture(scope="session")
def index_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents = [Document(word, f"About {word}", text_of(word), {}) for word in WORDS]
    report = build_index(
        MemorySnapshot(documents),
        Chunking(max_tokens=40, overlap_tokens=0),
        HashingEmbedder(),
        room=tmp_path_factory.mktemp("index"),
        previous=None,
    )
    return report.directory


@pytest.fixture(scope="session")
def index(index_directory: Path) -> Index:
    return open_index(index_directory, HashingEmbedder())


@pytest.fixture(scope="session")
def suite() -> Suite:
    """One case a document, and one that no document answers."""
    cases = [
        Case(
            case_id=f"store-{word}",
            question=f"How long can I store {word}?",
            reference=f"{len(word)} days",
            gold=(Span(word, 0, len(text_of(word)), text_of(word)),),
            cluster=word,
            tags=(),
            must_pass=word == "apple",
            aliases=(),
        )
        for word in WORDS
    ]
    none = replace(cases[0], case_id="none", question="Who won?", gold=(), must_pass=False)
    return Suite("storing", (*cases, none))


@pytest.fixture(scope="session")
def release(index: Index) -> Release:
    return make_release(top_k=2).model_copy(
        update={
            "index_digest": index.version.digest,
            "corpus_digest": index.version.corpus_digest,
            "retrieval": Retrieval(top_k=2),
        }
    )


@pytest.fixture
def plan(release: Release, suite: Suite) -> MakePlan:
    """Plans with the settings that a test cares about."""

    def make(**changes: Any) -> EvaluationPlan:
        values = {
            "suite": Path("storing.jsonl"),
            "measures": ("R@2", "contains", "token_f1", "judge_accuracy", "latency_s", "cost"),
            "judge": {"model": "tiny"},
        }
        return plan_evaluation(
            changes.pop("release", release),
            changes.pop("suite", suite),
            EvaluateSettings.model_validate(values | changes),
            judge=release.model,
            judge_prompt=release.prompt.model_validate(
                {
                    "name": "judge",
                    "messages": [
                        {"role": "user", "content": "{{ question }} {{ reference }} {{ answer }}"}
                    ],
                }
            ),
        )

    return make


def say(body: dict[str, Any]) -> str:
    """Right for every document; the judge gives a four."""
    if "response_format" in body:
        return '{"accuracy": 4, "completeness": 4, "clarity": 4}'
    asked = body["messages"][-1]["content"].split("\n\n")[-1]
    word = next((word for word in WORDS if word in asked), None)
    return f"It lasts {len(word)} days." if word else "I don't know."


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(say) as running:
        yield running
