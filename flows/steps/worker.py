"""A shard -> its vectors, in a process that begins with nothing but what it is told."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flows.steps.index import open_described
from tasks.config import EmbeddingModel, RemoteEmbedding
from tasks.index.embed import Embedder
from tasks.store import Home

OpenEmbedder = Callable[[], Embedder]
"""Opens an embedding model in whichever process calls it; hashable, and pickled to get there."""


@dataclass(frozen=True)
class WorkerEmbedder:
    """Opens a model of configs/models.yaml; the file itself isn't read again.

    Weights are kept in the state directory of the machine: `RATCHET_HOME`, or `.ratchet` where the
    project lies on the machine that asks.
    """

    name: str
    model: EmbeddingModel | RemoteEmbedding
    root: Path
    """Of the project."""

    def __call__(self) -> Embedder:
        """Open it; weights are fetched where they are missing."""
        return open_described(
            self.name, self.model, root=self.root, home=Home.find(self.root), progress=_silent
        )


@lru_cache(maxsize=1)
def opened(opener: OpenEmbedder) -> Embedder:
    """The model, which stays loaded for the process's next shard."""
    return opener()


def _silent(stage: str, done: int, total: int) -> None:
    """A worker's progress is that its shards are done."""
