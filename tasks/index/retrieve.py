"""Question -> passages, by the search, fusion, reranking and filters that a release names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.config import Retrieval
from tasks.index.embed import Embedder
from tasks.index.fuse import reciprocal_rank
from tasks.index.lexical import LexicalIndex, open_lexical
from tasks.index.rerank import Reranker
from tasks.index.search import Index, Retrieved, open_index


class Searcher(Protocol):
    """Finds passages for questions."""

    def search(self, queries: Sequence[str], *, top_k: int) -> list[list[Retrieved]]:
        """A list of at most `top_k` passages for each question, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Explained:
    """A passage that was found, and its place in each ranking that led there.

    A rank is None where that ranking doesn't have the passage, or there is no such ranking.
    """

    passage: Retrieved
    dense_rank: int | None
    lexical_rank: int | None
    fused_rank: int | None
    """Among both searches together; its passage may stand elsewhere after reranking."""


class Retriever:
    """All of a release's retrieval; made by `open_retriever`."""

    def __init__(
        self,
        retrieval: Retrieval,
        *,
        dense: Index | None,
        lexical: LexicalIndex | None,
        reranker: Reranker | None,
    ) -> None:
        self._retrieval = retrieval
        both: dict[str, Searcher | None] = {"dense": dense, "lexical": lexical}
        self._searches = {name: way for name, way in both.items() if way is not None}
        self._reranker = reranker

    def search(self, queries: Sequence[str], *, top_k: int) -> list[list[Retrieved]]:
        """Find the best passages for each question.

        Args:
            queries: questions; many at once cost less than one by one.
            top_k: passages for each; fewer come back where fewer are found.

        Returns:
            A list for each question, best first. A score is a cosine (dense), BM25 (lexical), the
            sum of reciprocal ranks (hybrid) or the reranker's.
        """
        return [[row.passage for row in rows] for rows in self.explain(queries, top_k=top_k)]

    def explain(self, queries: Sequence[str], *, top_k: int) -> list[list[Explained]]:
        """`search` that says which part found what."""
        several = len(self._searches) > 1
        depth = top_k
        if several or self._reranker is not None:
            depth = max(top_k, self._retrieval.candidates)
        rankings = [way.search(queries, top_k=depth) for way in self._searches.values()]
        found = []
        for query, ranked in zip(queries, zip(*rankings, strict=True), strict=True):
            fused = reciprocal_rank(ranked, k=self._retrieval.rrf_k) if several else ranked[0]
            best = fused
            if self._reranker is not None:
                best = self._reranker.rerank(query, fused[:depth])
            ranks = {
                name: _ranks(ranking) for name, ranking in zip(self._searches, ranked, strict=True)
            }
            together = _ranks(fused) if several else {}
            found.append(
                [
                    Explained(
                        passage=passage,
                        dense_rank=ranks.get("dense", {}).get(passage.chunk_id),
                        lexical_rank=ranks.get("lexical", {}).get(passage.chunk_id),
                        fused_rank=together.get(passage.chunk_id),
                    )
                    for passage in best[:top_k]
                ]
            )
        return found


def _ranks(ranking: Sequence[Retrieved]) -> dict[str, int]:
    return {passage.chunk_id: passage.rank for passage in ranking}


def open_retriever(
    directory: Path,
    embedder: Embedder,
    retrieval: Retrieval,
    *,
    reranker: Reranker | None = None,
    among: Sequence[NDArray[np.bool_]] | None = None,
) -> Retriever:
    """Open what a release retrieves with, after checking every byte of it.

    Args:
        directory: `room/<digest>` of the index version.
        embedder: the model that the version was built with.
        retrieval: the release's parameters.
        reranker: the model that `retrieval.rerank` names.
        among: for each segment which rows pass `retrieval.filters`; None: all.

    Raises:
        CorruptArtifact: a file is missing or its bytes aren't those that were built.
        ConfigError: the embedder is another model than the version's.
    """
    index = open_index(directory, embedder, among=among)
    lexical = None
    if retrieval.kind != "dense":
        lexical = open_lexical(index.stored, among=among)
    dense = None if retrieval.kind == "lexical" else index
    return Retriever(retrieval, dense=dense, lexical=lexical, reranker=reranker)
