"""Texts -> vectors: the embedding model behind a protocol."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.config import EmbeddingModel
from tasks.digest import Digest
from tasks.errors import SetupError
from tasks.index.embed_batches import token_batches
from tasks.index.embed_onnx import OnnxBackend, load_onnx
from tasks.index.embed_torch import TorchBackend, load_torch
from tasks.index.identity import embedder_digest

Vectors = NDArray[np.float32]
"""Shape (texts, dimensions); every row has length 1, so an inner product is a cosine."""

_REPORT_EVERY = 512
_WINDOW = 4096
"""Texts that are tokenised and sorted together; more of them would need more memory."""
_CPU_TOKENS, _GPU_TOKENS = 2048, 65_536
_POOL_FROM = 256
"""Fewer texts, such as questions, aren't worth sending to other processes."""


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


def load_embedder(
    name: str, model: EmbeddingModel, directory: Path, *, room: Path
) -> "SentenceEmbedder":
    """Prepare a sentence-transformers model; weights load at the first `encode`.

    Args:
        name: the model's name in configs/models.yaml.
        model: its settings.
        directory: where its files lie.
        room: directory of all models; what a backend converts the weights to is kept there.

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
    return SentenceEmbedder(name, model, directory, room)


class SentenceEmbedder:
    """A sentence-transformers model on PyTorch or ONNX Runtime.

    Batches are made of texts of nearly one length and hold a number of tokens, not of texts. The
    last bits of a vector depend on which texts share a batch, as padding changes the order of
    sums; equal texts in equal order give equal bytes.
    """

    def __init__(self, name: str, model: EmbeddingModel, directory: Path, room: Path) -> None:
        self.name = name
        self.digest = embedder_digest(model)
        self.dimensions = model.dimensions
        self._settings = model
        self._directory = directory
        self._room = room

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
        pooled = len(self._settings.devices) > 1 and len(texts) >= _POOL_FROM
        done = reported = 0
        for rows, found in self._pool(texts) if pooled else self._batches(texts):
            if found.shape[1] != self.dimensions:
                raise SetupError(
                    f"The embedding model {self.name!r} gives vectors of {found.shape[1]} numbers; "
                    f"configs/models.yaml says dimensions: {self.dimensions}.",
                    next_step=f"Set dimensions: {found.shape[1]} in configs/models.yaml.",
                )
            vectors[rows] = found
            done += len(rows)
            if progress is not None and (done - reported >= _REPORT_EVERY or done == len(texts)):
                progress(done, len(texts))
                reported = done
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without the special ones that the model adds."""
        return len(self._counter.encode(text, add_special_tokens=False))

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
        on_cpu = self._settings.devices[0] == "cpu"
        batches = token_batches(
            self._tokenizer,
            texts,
            budget=self._settings.batch_tokens or (_CPU_TOKENS if on_cpu else _GPU_TOKENS),
            window=_WINDOW,
            pad_id=self._pad_id,
        )
        for tokens in batches:
            yield tokens.rows, self._backend.vectors(tokens)

    def _pool(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
        backend: Any = self._backend
        yield list(range(len(texts))), backend.pooled(texts, self._settings.devices)

    @cached_property
    def _counter(self) -> Any:
        tokenizer = load_tokenizer(self._directory / "tokenizer.json")
        # The file may tell it to cut and pad for the model; counting wants the whole text.
        tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = load_tokenizer(self._directory / "tokenizer.json")
        tokenizer.enable_truncation(self._settings.max_tokens)
        return tokenizer

    @cached_property
    def _pad_id(self) -> int:
        config = json.loads((self._directory / "config.json").read_text(encoding="utf-8"))
        return int(config.get("pad_token_id") or 0)

    @cached_property
    def _backend(self) -> TorchBackend | OnnxBackend:
        model = self._settings
        try:
            if model.backend == "onnx":
                return load_onnx(
                    self._directory,
                    sha256=model.sha256,
                    dtype=model.dtype,
                    max_tokens=model.max_tokens,
                    room=self._room,
                )
            return load_torch(
                self._directory,
                dtype=model.dtype,
                device=model.devices[0],
                max_tokens=model.max_tokens,
            )
        # PyTorch says with the last two that it can't use the device.
        except (OSError, ValueError, RuntimeError, AssertionError) as error:
            raise SetupError(
                f"The embedding model {self.name!r} in {self._directory} can't be loaded on "
                f"{model.devices[0]!r} by {model.backend}: {error}.",
                next_step="Correct devices in configs/models.yaml, or fetch it: ratchet setup",
                directory=str(self._directory),
            ) from error


def load_tokenizer(path: Path) -> Any:
    """The `tokenizers.Tokenizer` of a file, without padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    return tokenizer
