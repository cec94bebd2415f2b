"""Question -> the passages that are most like it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.index.chunks import load_chunks
from tasks.index.embed import Embedder
from tasks.index.version import FAISS, IndexVersion, check_files, corrupt, load_version

_FIELDS = ("chunk_id", "doc_id", "title", "text", "start", "end")


@dataclass(frozen=True, slots=True)
class Retrieved:
    """One passage that was found for a question.

    Attributes:
        chunk_id: `<doc_id>:<start>-<end>`.
        doc_id: the document it is from.
        title: that document's title.
        text: the passage.
        start: its first character in the document.
        end: one past its last character.
        score: cosine of question and passage; higher is more alike.
        rank: 1 is the best.
    """

    chunk_id: str
    doc_id: str
    title: str
    text: str
    start: int
    end: int
    score: float
    rank: int


class Index:
    """An open index version; made by `open_index`."""

    def __init__(self, version: IndexVersion, embedder: Embedder, faiss: Any, chunks: Any) -> None:
        self.version = version
        self._embedder = embedder
        self._faiss = faiss
        self._chunks = chunks

    def search(self, queries: Sequence[str], *, top_k: int) -> list[list[Retrieved]]:
        """Find the best passages for each question.

        Args:
            queries: questions; many at once cost less than one by one.
            top_k: passages for each; fewer come back only when the index has fewer.

        Returns:
            A list for each question, best first; equal scores are ordered by chunk id.
        """
        if not queries:
            return []
        vectors = self._embedder.encode(queries)
        scores, rows = self._faiss.search(vectors, min(top_k, self.version.n_chunks))
        wanted = sorted({int(row) for row in rows.ravel()})
        # One read for all questions: most passages are found by several of them.
        chunks = dict(zip(wanted, self._chunks.select(wanted).to_list(), strict=True))
        return [
            _ranked([(score, chunks[row]) for score, row in zip(*hits, strict=True)])
            for hits in zip(scores.tolist(), rows.tolist(), strict=True)
        ]


def _ranked(hits: list[tuple[float, dict[str, Any]]]) -> list[Retrieved]:
    ordered = sorted(hits, key=lambda hit: (-hit[0], hit[1]["chunk_id"]))
    return [
        Retrieved(**{field: chunk[field] for field in _FIELDS}, score=score, rank=rank)
        for rank, (score, chunk) in enumerate(ordered, start=1)
    ]


def open_index(directory: Path, embedder: Embedder) -> Index:
    """Open an index version after checking every byte of it.

    Args:
        directory: `room/<digest>` of a version.
        embedder: the model that the version was built with; it embeds the questions.

    Raises:
        CorruptArtifact: a file is missing or its bytes aren't those that were built.
        ConfigError: the embedder is another model than the version's.
    """
    import faiss

    version = load_version(directory)
    if embedder.digest != version.embedding_digest:
        raise ConfigError(
            f"The index {version.digest[:12]} was built with {version.embedding!r} "
            f"({version.embedding_digest[:12]}), not with {embedder.name!r} "
            f"({embedder.digest[:12]}).",
            next_step="Use the embedding model of the release, or build the index anew.",
        )
    check_files(directory, version)
    index = faiss.read_index(str(directory / FAISS))
    chunks = load_chunks(directory)
    if not index.ntotal == chunks.num_rows == version.n_chunks:
        raise corrupt(
            directory,
            f"{index.ntotal} vectors, {chunks.num_rows} chunks, {version.n_chunks} in the manifest",
        )
    return Index(version, embedder, index, chunks)
