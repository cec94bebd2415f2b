"""Question and passages -> the passages in a better order, by a model that reads both together."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from tasks.config import RerankerModel
from tasks.digest import Digest
from tasks.errors import SetupError
from tasks.index.chunks import embedded_text
from tasks.index.embed_torch import quiet
from tasks.index.fuse import in_order
from tasks.index.identity import reranker_digest
from tasks.index.search import Retrieved

_BATCH = 32


class Reranker(Protocol):
    """Orders passages by how well they answer a question."""

    @property
    def digest(self) -> Digest:
        """Identity of weights and settings."""
        ...

    def rerank(self, query: str, passages: Sequence[Retrieved]) -> list[Retrieved]:
        """The passages, best first, with the model's scores."""
        ...


class CrossEncoderReranker:
    """A sentence-transformers cross-encoder; weights load at the first question.

    Args:
        name: the model's name in configs/models.yaml.
        model: its settings.
        directory: where its files lie.
    """

    def __init__(self, name: str, model: RerankerModel, directory: Path) -> None:
        self.name = name
        self.digest = reranker_digest(model)
        self._settings = model
        self._directory = directory

    def rerank(self, query: str, passages: Sequence[Retrieved]) -> list[Retrieved]:
        """The passages, best first, with the model's scores; equal scores by chunk id.

        Raises:
            SetupError: the weights can't be loaded, or give more than one score.
        """
        if not passages:
            return []
        pairs = [(query, embedded_text(passage.title, passage.text)) for passage in passages]
        scores = self._model.predict(pairs, batch_size=_BATCH, show_progress_bar=False)
        if scores.ndim != 1:
            raise SetupError(
                f"The reranker {self.name!r} gives {scores.shape[1]} scores for a passage; "
                "expected one.",
                next_step="Name a cross-encoder for ranking in configs/models.yaml.",
            )
        return in_order(passages, [float(score) for score in scores])

    @cached_property
    def _model(self) -> Any:
        with quiet():
            from sentence_transformers import CrossEncoder

            try:
                return CrossEncoder(
                    str(self._directory),
                    device=self._settings.device,
                    max_length=self._settings.max_tokens,
                    local_files_only=True,
                )
            except (OSError, ValueError, RuntimeError, AssertionError) as error:
                raise SetupError(
                    f"The reranker {self.name!r} in {self._directory} can't be loaded: {error}.",
                    next_step="Fetch it again with: ratchet setup",
                    directory=str(self._directory),
                ) from error
