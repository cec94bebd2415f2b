"""configs/release.yaml: the release that is wanted."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tasks.config.base import Settings


class Chunking(Settings):
    """How documents become passages; sizes in tokens of the embedding model."""

    max_tokens: int = Field(default=200, gt=0)
    overlap_tokens: int = Field(default=20, ge=0)

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if self.overlap_tokens * 2 > self.max_tokens:
            raise ValueError(
                f"overlap_tokens {self.overlap_tokens} is more than half of "
                f"max_tokens {self.max_tokens}"
            )
        return self


IndexKind = Literal["auto", "flat", "hnsw", "ivf", "ivfpq"]


class IndexSettings(Settings):
    """How vectors are searched; part of a release, as an approximate search may miss passages."""

    kind: IndexKind = "auto"
    """`flat` compares with every vector; `auto` does up to 100,000 chunks, takes `ivf` above and
    `ivfpq` above ten million."""
    recall: float = Field(default=0.98, gt=0, lt=1)
    """Share of the exact nearest 10 that an approximate search must find on held-out queries."""


class Retrieval(Settings):
    """How passages are found; part of a release."""

    kind: Literal["dense", "lexical", "hybrid"] = "dense"
    """By cosine of embeddings, by shared words (BM25), or by both, fused by reciprocal rank."""
    top_k: int = Field(default=4, gt=0, le=100)
    rrf_k: int = Field(default=60, gt=0)
    """Of reciprocal rank fusion: the larger, the less the first places count."""
    candidates: int = Field(default=50, gt=0, le=1000)
    """Passages of each search that are fused or reranked; `dense` or `lexical` alone need none."""
    rerank: str | None = None
    """A reranker in configs/models.yaml; None: the order of the search."""
    filters: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Allowed values by name of a document's metadata; all of them must hold."""

    @model_validator(mode="after")
    def _filters_allow_something(self) -> Self:
        empty = sorted(name for name, allowed in self.filters.items() if not allowed)
        if empty:
            raise ValueError(f"filters {empty} allow no value; leave them out or name some")
        return self

    def parameters(self) -> dict[str, Any]:
        """What decides which passages are found, without settings that this kind doesn't use."""
        used = {"kind", "top_k"}
        if self.kind == "hybrid":
            used |= {"rrf_k", "candidates"}
        if self.rerank is not None:
            used |= {"rerank", "candidates"}
        if self.filters:
            used.add("filters")
        return self.model_dump(mode="json", include=used)


class ReleaseSettings(Settings):
    """The release that is wanted: names of its parts."""

    prompt: str
    """A file in configs/prompts/, without `.yaml`."""
    model: str
    embedding: str
    chunking: Chunking = Chunking()
    index: IndexSettings = IndexSettings()
    retrieval: Retrieval = Retrieval()
