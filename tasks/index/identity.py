"""What the models of a search are named by, known without loading them or NumPy."""

from tasks.config import EmbeddingModel, RemoteEmbedding, RerankerModel
from tasks.digest import Digest, digest

EMBEDDING_VERSION = 2
"""Bumped when an equal model and text give another vector."""

RERANKER_VERSION = 1
"""Bumped when an equal model and text give another score."""

ONNX_VERSION = 1
"""Bumped when equal weights are converted to another graph."""


def embedder_digest(model: EmbeddingModel | RemoteEmbedding) -> Digest:
    """Identity of an embedding model, known without loading it.

    Where it runs, in how many processes and in which batches isn't part of it.
    """
    if isinstance(model, RemoteEmbedding):
        return digest(
            "embedding",
            EMBEDDING_VERSION,
            model.model_dump(
                include={"backend", "served_name", "sha256", "max_tokens", "dimensions"}
            ),
        )
    return digest(
        "embedding",
        EMBEDDING_VERSION,
        {
            "sha256": model.sha256,
            "backend": model.backend,
            "conversion": ONNX_VERSION if model.backend == "onnx" else None,
            "dtype": model.dtype,
            "max_tokens": model.max_tokens,
            "dimensions": model.dimensions,
        },
    )


def reranker_digest(model: RerankerModel) -> Digest:
    """Identity of a reranking model, known without loading it."""
    return digest(
        "reranker", RERANKER_VERSION, {"sha256": model.sha256, "max_tokens": model.max_tokens}
    )
