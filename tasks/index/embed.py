"""Texts -> vectors: the embedding model behind a protocol."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.config import EmbeddingModel
from tasks.digest import Digest, digest
from tasks.errors import SetupError

Vectors = NDArray[np.float32]
"""Shape (texts, dimensions); every row has length 1, so an inner product is a cosine."""

EMBEDDING_VERSION = 1
"""Bumped when an equal model and text give another vector."""

_BATCH = 32
_REPORT_EVERY = 512


class Embedder(Protocol):
    """Turns texts into vectors of length 1."""

    @property
    def name(self) -> str:
        """The model's name in configs/models.yaml."""
        ...

    @property
    def digest(self) -> Digest:
        """Identity of weights and settings: an equal digest means equal vectors."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None
    ) -> Vectors:
        """Embed texts, in their order; `progress` gets how many of how many are done."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without the special ones that the model adds."""
        ...


def embedder_digest(model: EmbeddingModel) -> Digest:
    """Identity of an embedding model, known without loading it."""
    return digest(
        "embedding",
        EMBEDDING_VERSION,
        {
            "sha256": model.sha256,
            "dtype": model.dtype,
            "max_tokens": model.max_tokens,
            "dimensions": model.dimensions,
        },
    )


def load_embedder(name: str, model: EmbeddingModel, directory: Path) -> "SentenceEmbedder":
    """Prepare a sentence-transformers model for the CPU; weights load at the first `encode`.

    Args:
        name: the model's name in configs/models.yaml.
        model: its settings.
        directory: where its files lie.

    Raises:
        SetupError: the directory isn't a sentence-transformers model.
    """
    for file in ("modules.json", "config.json", "tokenizer.json"):
        if not (directory / file).is_file():
            raise SetupError(
                f"The embedding model {name!r} has no {file} in {directory}.",
                next_step="Fetch it again with: ratchet setup",
                directory=str(directory),
            )
    return SentenceEmbedder(name, model, directory)


class SentenceEmbedder:
    """A sentence-transformers model on the CPU.

    The last bits of a vector depend on which texts share a batch, as padding changes the order of
    sums; equal texts in equal order give equal bytes.
    """

    def __init__(self, name: str, model: EmbeddingModel, directory: Path) -> None:
        self.name = name
        self.digest = embedder_digest(model)
        self.dimensions = model.dimensions
        self._settings = model
        self._directory = directory

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None
    ) -> Vectors:
        """Embed texts, in their order.

        Args:
            texts: what to embed; what is longer than the model's `max_tokens` is cut off.
            progress: called with (done, total) after every few hundred texts.

        Returns:
            float32 of shape (len(texts), dimensions), rows of length 1.

        Raises:
            SetupError: the weights can't be loaded, or give vectors of another length.
        """
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        # Texts of one length side by side: a batch is padded to its longest.
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        for start in range(0, len(order), _REPORT_EVERY):
            rows = order[start : start + _REPORT_EVERY]
            found = self._model.encode(
                [texts[row] for row in rows],
                batch_size=_BATCH,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
            if found.shape[1] != self.dimensions:
                raise SetupError(
                    f"The embedding model {self.name!r} gives vectors of {found.shape[1]} numbers; "
                    f"configs/models.yaml says dimensions: {self.dimensions}.",
                    next_step=f"Set dimensions: {found.shape[1]} in configs/models.yaml.",
                )
            vectors[rows] = found
            if progress is not None:
                progress(start + len(rows), len(texts))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without the special ones that the model adds."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._directory / "tokenizer.json"))
        # The file may tell it to cut and pad for the model; counting wants the whole text.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        with _quiet():
            from sentence_transformers import SentenceTransformer

            try:
                model = SentenceTransformer(
                    str(self._directory),
                    device="cpu",
                    local_files_only=True,
                    model_kwargs={"dtype": self._settings.dtype},
                )
            except (OSError, ValueError) as error:
                raise SetupError(
                    f"The embedding model {self.name!r} in {self._directory} can't be loaded: "
                    f"{error}.",
                    next_step="Fetch it again with: ratchet setup",
                    directory=str(self._directory),
                ) from error
        model.max_seq_length = self._settings.max_tokens
        return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Load without a progress bar and without other libraries' deprecation warnings."""
    from transformers.utils import logging

    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            bars.enable_progress_bar()
