from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.answer.release import Release
from tasks.config import Chunking, GeneratorModel, Price, Retrieval
from tasks.digest import text_digest
from tasks.serve.version import model_version
from tests.evaluations import make_release

NAMES = st.text(min_size=1)


def change(release: Release, **changes: Any) -> Release:
    return Release.model_validate(release.model_dump() | changes)


def renamed(release: Release, *, prompt: str, embedding: str) -> Release:
    return change(
        release,
        prompt=release.prompt.model_copy(update={"name": prompt}).model_dump(),
        embedding=embedding,
    )


@given(prompt=NAMES, embedding=NAMES)
def test_names_of_files_are_no_part_of_the_digest(prompt, embedding):
    release = make_release()
    same = renamed(release, prompt=prompt, embedding=embedding)
    assert same.digest == release.digest
    assert same.differences(release) == ()
    assert same.label == f"{prompt}@{release.digest[:12]}"


def test_a_reranker_is_part_of_the_retrieval_and_goes_with_it():
    reranked = change(
        make_release(),
        retrieval=Retrieval(rerank="small").model_dump(),
        reranker_digest=text_digest("weights"),
    )
    other = change(reranked, reranker_digest=text_digest("other weights"))
    assert other.digest != reranked.digest
    assert other.differences(reranked) == ("retrieval",)
    assert make_release().with_part("retrieval", other) == other


def test_a_parameter_that_the_kind_of_retrieval_does_not_use_makes_no_other_release():
    dense = make_release()
    same = change(dense, retrieval=dense.retrieval.model_copy(update={"rrf_k": 9}).model_dump())
    assert same.digest == dense.digest
    assert same.differences(dense) == ()


def test_a_price_is_no_part_of_the_digest():
    settings = GeneratorModel(format="endpoint", context_length=2048, price=Price(machine_hour=1))
    dearer = settings.model_copy(update={"price": Price(machine_hour=9)})
    cheap, dear = (
        change(make_release(), model=model_version("tiny", model).model_dump())
        for model in (settings, dearer)
    )
    assert cheap.digest == dear.digest


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        (make_release(content="{{ question }} {{ passages }}"), ("prompt",)),
        (make_release(temperature=0.5), ("model",)),
        (make_release(top_k=5), ("retrieval",)),
        (make_release(index="newer"), ("index",)),
        (make_release(1), ("prompt", "index")),
    ],
)
def test_each_part_changes_the_digest_and_is_named(other, parts):
    release = make_release()
    assert other.differences(release) == release.differences(other) == parts
    assert other.digest != release.digest
    assert release.differences(release) == ()


PARTS: dict[str, dict[str, Any]] = {
    "corpus": {"index_digest": text_digest("i"), "corpus_digest": text_digest("c")},
    "retrieval": {"retrieval": Retrieval(top_k=9).model_dump()},
    # Another chunking or embedding makes another index, too.
    "chunking": {
        "index_digest": text_digest("j"),
        "chunking": Chunking(max_tokens=99).model_dump(),
    },
    "embedding": {"index_digest": text_digest("k"), "embedding_digest": text_digest("e")},
    "prompt": {"prompt": make_release(3).prompt.model_dump()},
    "model": {"model": make_release(temperature=1.0).model.model_dump()},
}


@given(st.sets(st.sampled_from(sorted(PARTS))))
def test_a_release_is_a_refresh_exactly_when_nothing_but_the_corpus_differs(parts):
    changes: dict[str, Any] = {}
    for part in sorted(parts):
        changes |= PARTS[part]
    live, wanted = make_release(), change(make_release(), **changes)
    assert wanted.refreshes(live) == live.refreshes(wanted) == (parts == {"corpus"})


def test_a_release_is_the_same_after_it_was_stored():
    release = make_release()
    assert Release.model_validate_json(release.model_dump_json()) == release
