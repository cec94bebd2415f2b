from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.config import Chunking, Retrieval
from tasks.corpus.document import Document
from tasks.digest import digest
from tasks.index.build import build_index
from tasks.index.filters import allowed_rows, passes
from tasks.index.fuse import in_order, reciprocal_rank
from tasks.index.retrieve import Retriever, open_retriever
from tasks.index.search import Retrieved
from tasks.index.version import open_version
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder

DOCUMENTS = [
    Document("cats", "Notes", "Cats hunt at night.", {"source": "pets", "year": "2024"}),
    Document("dogs", "Notes", "Dogs bark at the door at night.", {"source": "pets"}),
    Document("owls", "Notes", "Owls hunt mice.", {"source": "wild", "year": "2024"}),
    Document("oaks", "Notes", "Oaks grow slowly.", {"source": "wild", "year": "2025"}),
]


class ByLength:
    """A reranker that prefers long passages."""

    digest = digest("reranker", 1, "by length")

    def rerank(self, query: str, passages: Sequence[Retrieved]) -> list[Retrieved]:
        return in_order(passages, [len(passage.text) for passage in passages])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    snapshot = MemorySnapshot(DOCUMENTS)
    return build_index(
        snapshot, Chunking(), HashingEmbedder(), room=tmp_path, previous=None
    ).directory


def names(retriever: Retriever, query: str, *, top_k: int = 4) -> list[str]:
    (hits,) = retriever.search([query], top_k=top_k)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    return [hit.doc_id for hit in hits]


def passage(name: str, rank: int) -> Retrieved:
    return Retrieved(name, name, "", name, 0, 1, 0.5, rank)


def test_ranks_are_fused_by_the_sum_of_their_reciprocals():
    first = [passage("a", 1), passage("b", 2), passage("c", 3)]
    second = [passage("c", 1), passage("b", 2)]
    fused = reciprocal_rank([first, second], k=60)
    assert [hit.chunk_id for hit in fused] == ["c", "b", "a"]
    assert [hit.rank for hit in fused] == [1, 2, 3]
    assert [hit.score for hit in fused] == pytest.approx([1 / 61 + 1 / 63, 2 / 62, 1 / 61])


def test_a_large_k_prefers_what_both_found_and_a_small_one_the_first_places():
    first = [passage("a", 1), passage("x", 2), passage("b", 3)]
    second = [passage("y", 1), passage("z", 2), passage("b", 3)]
    assert reciprocal_rank([first, second], k=60)[0].chunk_id == "b"
    assert reciprocal_rank([first, second], k=1)[0].chunk_id == "a"


def test_each_kind_searches_as_its_name_says(directory: Path):
    embedder = HashingEmbedder()
    dense, lexical, hybrid = (
        open_retriever(directory, embedder, Retrieval(kind=kind))
        for kind in ("dense", "lexical", "hybrid")
    )
    # Stems are equal, whole words aren't.
    assert names(lexical, "hunting at night")[0] == "cats"
    assert names(lexical, "grows") == ["oaks"]
    assert len(names(dense, "grows")) == 4
    assert names(hybrid, "grows", top_k=1) == ["oaks"]
    assert set(names(hybrid, "grows")) == {"cats", "dogs", "owls", "oaks"}
    assert hybrid.search([], top_k=3) == []


def test_candidates_bound_what_is_reranked(directory: Path):
    embedder = HashingEmbedder()

    def reranked(candidates: int) -> list[str]:
        retrieval = Retrieval(candidates=candidates, rerank="by-length")
        return names(
            open_retriever(directory, embedder, retrieval, reranker=ByLength()),
            "cats hunt at night",
            top_k=1,
        )

    assert reranked(1) == ["cats"]
    assert reranked(4) == ["dogs"]


@pytest.mark.parametrize("kind", ["dense", "lexical", "hybrid"])
def test_only_documents_that_pass_the_filters_are_found(directory: Path, kind: str):
    filters = {"source": ("wild", "zoo"), "year": ("2024",)}
    among = allowed_rows(open_version(directory), MemorySnapshot(DOCUMENTS).metadata(), filters)
    retrieval = Retrieval(kind=kind, filters=filters)
    retriever = open_retriever(directory, HashingEmbedder(), retrieval, among=among)
    assert names(retriever, "what hunts at night") == ["owls"]


@pytest.mark.parametrize("kind", ["dense", "lexical", "hybrid"])
def test_filters_that_no_document_passes_find_nothing(directory: Path, kind: str):
    filters = {"source": ("zoo",)}
    among = allowed_rows(open_version(directory), MemorySnapshot(DOCUMENTS).metadata(), filters)
    retrieval = Retrieval(kind=kind, filters=filters)
    retriever = open_retriever(directory, HashingEmbedder(), retrieval, among=among)
    assert names(retriever, "what hunts at night") == []


def test_a_condition_on_metadata_that_a_document_lacks_is_not_met():
    assert passes({"source": "pets"}, {})
    assert passes({"source": "pets"}, {"source": ["pets", "wild"]})
    assert not passes({"source": "pets"}, {"source": ["pets"], "year": ["2024"]})


def test_each_passage_knows_its_place_in_each_ranking(directory):
    retrieval = Retrieval(kind="hybrid", rerank="long")
    retriever = open_retriever(directory, HashingEmbedder(), retrieval, reranker=ByLength())
    (found,) = retriever.explain(["bark"], top_k=4)
    assert [hit.passage for hit in found] == retriever.search(["bark"], top_k=4)[0]
    dogs = next(hit for hit in found if hit.passage.doc_id == "dogs")
    assert (dogs.dense_rank, dogs.lexical_rank, dogs.fused_rank) == (1, 1, 1)
    assert {hit.lexical_rank for hit in found if hit is not dogs} == {None}
    assert sorted(hit.fused_rank for hit in found) == [1, 2, 3, 4]
    (words,) = open_retriever(directory, HashingEmbedder(), Retrieval(kind="lexical")).explain(
        ["bark"], top_k=4
    )
    (only,) = words
    assert (only.dense_rank, only.lexical_rank, only.fused_rank) == (None, 1, None)
