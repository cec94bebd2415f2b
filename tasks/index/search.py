"""Question -> the passages that are most like it, from all segments of an index version."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ConfigError
from tasks.index.embed import Embedder, Vectors
from tasks.index.manifest import IndexVersion
from tasks.index.part import Part, Piece, together
from tasks.index.version import StoredIndex

_SLACK = 16
_GROW = 4


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


@dataclass(frozen=True, slots=True)
class Hit:
    """A row of a segment and its score for one query."""

    segment: int
    row: int
    score: float


class Index:
    """An open index version; made by `open_index`.

    Attributes:
        stored: its segments and tombstones, for who wants to read the chunks.
    """

    def __init__(
        self,
        stored: StoredIndex,
        embedder: Embedder,
        *,
        among: Sequence[NDArray[np.bool_]] | None = None,
    ) -> None:
        self.stored = stored
        live = stored.live if among is None else among
        self._embedder = embedder
        pieces = [
            Piece(number, segment, rows)
            for number, (segment, rows) in enumerate(zip(stored.segments, live, strict=True))
            if rows.any()
        ]
        # What the largest has found says how little the others have to give.
        self._parts = sorted(map(Part, together(pieces)), key=lambda part: -part.n_live)

    @property
    def version(self) -> IndexVersion:
        """The manifest."""
        return self.stored.version

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
        return self.search_vectors(self._embedder.encode(queries), top_k=top_k)

    def search_vectors(self, vectors: Vectors, *, top_k: int) -> list[list[Retrieved]]:
        """`search` for questions that are embedded already, shape (queries, dimensions)."""
        if not self._parts:
            return [[] for _ in vectors]
        return read_ranked(self.stored, self._nearest(vectors, top_k), top_k=top_k)

    def _nearest(self, vectors: Vectors, top_k: int) -> list[list[Hit]]:
        """The best `top_k` of all segments for each query, and all that equal the last of them.

        A segment is asked for more as long as one that it hasn't given could be among the best.
        """
        tolerance = 2 * vectors.shape[1] * float(np.finfo(np.float32).eps)
        searches: list[_PartSearch] = []
        worst = np.full(len(vectors), -np.inf)
        for part in self._parts:
            searches.append(_PartSearch(part, vectors, top_k + _SLACK, worst - tolerance))
            worst = _worst(searches, top_k)
        while sum(search.extend(worst - tolerance) for search in searches):
            worst = _worst(searches, top_k)
        return [
            [
                Hit(*search.part.place_of(int(search.rows[query][at])), float(scores[at]))
                for search in searches
                for scores in (search.scores[query],)
                for at in np.flatnonzero(scores >= worst[query])
            ]
            for query in range(len(vectors))
        ]


class _PartSearch:
    """What one segment has given for each query so far."""

    def __init__(self, part: Part, queries: Vectors, k: int, least: NDArray[np.float64]) -> None:
        self.part = part
        self.rows: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(queries)
        self.scores: list[NDArray[np.float64]] = [np.empty(0)] * len(queries)
        self._queries = queries
        self._last = np.full(len(queries), np.inf)
        self._k = min(k, part.n_live)
        self._fill(np.arange(len(queries)), least)

    def extend(self, limit: NDArray[np.float64]) -> bool:
        """Ask for more where what wasn't given could score `limit`; say whether there was any."""
        short = np.flatnonzero((self._last >= limit) & np.isfinite(self._last))
        if not len(short):
            return False
        self._k = min(self._k * _GROW, self.part.n_live)
        self._fill(short, limit)
        return True

    def _fill(self, numbers: NDArray[np.int64], least: NDArray[np.float64]) -> None:
        last, rows = self.part.nearest(self._queries[numbers], self._k, least[numbers])
        # An approximate search isn't asked again: what it hasn't given it doesn't know.
        self._last[numbers] = last if self._k < self.part.n_live else -np.inf
        for number, found in zip(numbers.tolist(), rows, strict=True):
            ordered = np.sort(found)
            self.rows[number] = ordered
            self.scores[number] = self.part.scores(self._queries[number], ordered)


def _worst(searches: Sequence[_PartSearch], k: int) -> NDArray[np.float64]:
    """The k-th best score of each query so far, shape (queries,)."""
    found = zip(*(search.scores for search in searches), strict=True)
    return np.array([_kth(scores, k) for scores in found])


def _kth(scores: Sequence[NDArray[np.float64]], k: int) -> float:
    """The k-th best score; minus infinity where there are fewer."""
    together = np.concatenate(scores)
    if len(together) < k:
        return -np.inf
    return float(np.partition(together, -k)[-k])


def read_ranked(
    stored: StoredIndex, hits: Sequence[Sequence[Hit]], *, top_k: int
) -> list[list[Retrieved]]:
    """Read the passages of each query's hits, best first; equal scores are ordered by chunk id.

    Args:
        stored: the version whose rows they are.
        hits: at least the best `top_k` of each query, and all that equal the last of them.
        top_k: passages for each query.
    """
    wanted = {(hit.segment, hit.row) for found in hits for hit in found}
    chunks: dict[tuple[int, int], dict[str, Any]] = {}
    # One read for all questions: most passages are found by several of them.
    for number, segment in enumerate(stored.segments):
        rows = sorted(row for part, row in wanted if part == number)
        read = segment.chunks.rows(rows)
        chunks.update({(number, row): chunk for row, chunk in zip(rows, read, strict=True)})
    return [_ranked(found, chunks, top_k) for found in hits]


def _ranked(
    hits: Sequence[Hit], chunks: dict[tuple[int, int], dict[str, Any]], top_k: int
) -> list[Retrieved]:
    found = [(hit.score, chunks[hit.segment, hit.row]) for hit in hits]
    ordered = sorted(found, key=lambda pair: (-pair[0], pair[1]["chunk_id"]))[:top_k]
    return [
        Retrieved(**chunk, score=score, rank=rank)
        for rank, (score, chunk) in enumerate(ordered, start=1)
    ]


def open_index(
    directory: Path,
    embedder: Embedder,
    *,
    among: Sequence[NDArray[np.bool_]] | None = None,
) -> Index:
    """Open an index version after checking every byte of it and of its segments.

    Args:
        directory: `room/<digest>` of a version.
        embedder: the model that the version was built with; it embeds the questions.
        among: for each segment shape (rows,): which live rows may be found; None: all.

    Raises:
        CorruptArtifact: a file is missing or its bytes aren't those that were built.
        ConfigError: the embedder is another model than the version's.
    """
    stored = StoredIndex(directory)
    version = stored.version
    if embedder.digest != version.embedding_digest:
        raise ConfigError(
            f"The index {version.digest[:12]} was built with {version.embedding!r} "
            f"({version.embedding_digest[:12]}), not with {embedder.name!r} "
            f"({embedder.digest[:12]}).",
            next_step="Use the embedding model of the release, or build the index anew.",
        )
    stored.check()
    return Index(stored, embedder, among=among)
