"""Questions -> vectors, each question embedded once although several indexes are asked."""

from collections.abc import Callable, Sequence

import numpy as np

from tasks.digest import Digest
from tasks.index.embed import Embedder, Vectors


class RememberingEmbedder:
    """An embedder that keeps the vectors of all texts it was given: for a limited set of questions.

    That saves half of the work, and two indexes get the same vector to the last bit, which the
    same text in another batch may not have.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Vectors] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self._embedder.name

    @property
    def digest(self) -> Digest:
        """The model's identity."""
        return self._embedder.digest

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._embedder.dimensions

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None
    ) -> Vectors:
        """Embed the texts that weren't seen before; give all of them in their order."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if fresh:
            vectors = self._embedder.encode(fresh, progress=progress)
            self._known.update(zip(fresh, vectors, strict=True))
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        return np.stack([self._known[text] for text in texts])

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return self._embedder.count_tokens(text)
