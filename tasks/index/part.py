"""Segments of a version -> the parts that are searched one after the other."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from tasks.index.approximate import SMALLEST
from tasks.index.embed import Vectors
from tasks.index.scan import Rows, Scores, exact_scores, nearest, scores_of_one
from tasks.index.segment import Segment


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A segment, its number in the version, and which of its rows may be found."""

    number: int
    segment: Segment
    live: NDArray[np.bool_]


def together(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Which segments are searched as one.

    Beside the few lists of a large segment that are read, comparing all of a small one takes as
    long again. So small segments are searched through the lists of the largest one that has some,
    as they would be in a version that is built from nothing.
    """
    listed = [piece for piece in pieces if piece.segment.manifest.kind in ("ivf", "ivfpq")]
    if not listed:
        return [[piece] for piece in pieces]
    first = max(listed, key=lambda piece: int(piece.live.sum()))
    small = [
        piece
        for piece in pieces
        if piece.segment.manifest.kind == "flat" and len(piece.segment) < SMALLEST
    ]
    others = [[piece] for piece in pieces if piece is not first and piece not in small]
    return [[first, *small], *others]


class Part:
    """The live rows of one segment, or of several that are searched as one, counted on."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._numbers = [piece.number for piece in pieces]
        # Plain arrays: each access to a row of a `memmap` makes another one, which takes longer.
        self._vectors = [np.asarray(piece.segment.vectors) for piece in pieces]
        self._starts = list(accumulate(map(len, self._vectors), initial=0))
        live = np.concatenate([piece.live for piece in pieces])
        self.n_live = int(live.sum())
        self._live = None if self.n_live == len(live) else live
        self._codes = pieces[0].segment.open_codes()
        self._among = None
        if self._codes is not None:
            for vectors in self._vectors[1:]:
                self._codes.add(vectors)
            if self._live is not None:
                self._among = self._codes.selector(self._live)

    def place_of(self, row: int) -> tuple[int, int]:
        """Number of the segment, and the row in it."""
        piece = bisect_right(self._starts, row) - 1
        return self._numbers[piece], row - self._starts[piece]

    def scores(self, query: Vectors, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact scores of some rows, whose numbers grow."""
        ends = np.searchsorted(rows, self._starts).tolist()
        found = [
            exact_scores(query, vectors[rows[ends[piece] : ends[piece + 1]] - start])
            for piece, (vectors, start) in enumerate(zip(self._vectors, self._starts, strict=False))
            if ends[piece] < ends[piece + 1]
        ]
        return found[0] if len(found) == 1 else np.concatenate([np.empty(0), *found])

    def nearest(
        self, queries: Vectors, k: int, least: NDArray[np.float64]
    ) -> tuple[Scores, list[Rows]]:
        """The best live rows of each query, and for each what the others score at most.

        Args:
            queries: shape (queries, dimensions).
            k: rows for each; at most the number of live ones.
            least: shape (queries,): nobody asks for rows that score less.
        """
        if self._codes is None:
            (vectors,) = self._vectors
            if len(queries) == 1 and len(vectors) < SMALLEST:
                return self._nearest_to_one(queries[0], k, float(least[0]))
            scores, rows = nearest(queries, vectors, k, live=self._live)
            return scores[:, -1], list(rows)
        _, candidates = self._codes.candidates(queries, k, among=self._among)
        found = [rows[rows >= 0] for rows in candidates]
        for query, rows in enumerate(found):
            if len(rows) < k:
                # Most of what lies near was deleted: rather slow than too few.
                found[query] = self._compared(queries[[query]], k)
        return np.full(len(queries), -np.inf, dtype=np.float32), found

    def _compared(self, query: Vectors, k: int) -> Rows:
        """At least the best `k` live rows of all, whole vectors compared."""
        found = []
        for start, vectors in zip(self._starts, self._vectors, strict=False):
            live = None if self._live is None else self._live[start : start + len(vectors)]
            n_live = len(vectors) if live is None else int(live.sum())
            _, rows = nearest(query, vectors, min(k, n_live), live=live)
            found.append(rows[0] + start)
        return np.concatenate(found)

    def _nearest_to_one(self, query: Vectors, k: int, least: float) -> tuple[Scores, list[Rows]]:
        scores = scores_of_one(query, self._vectors[0])
        rows = np.flatnonzero(scores >= least)
        if self._live is not None:
            rows = rows[self._live[rows]]
        last = -np.inf
        if len(rows) > k:
            rows = rows[np.argpartition(scores[rows], -k)[-k:]]
            last = scores[rows].min()
        return np.array([last], dtype=np.float32), [rows]
