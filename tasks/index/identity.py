"""What an embedding model is named by, known without loading it or NumPy."""

from tasks.config import EmbeddingModel, RemoteEmbedding
from tasks.digest import Digest, digest

EMBEDDING_VERSION = 2
"""Bumped when an equal model and text give another vector."""

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
