"""Question -> the passages that share its words: BM25 over all segments of an index version.

Statistics of the whole collection (how many chunks hold a word, how long chunks are) are summed
over the chunks that the version has, at the time of the question. So they are those of an index
that was built from scratch, whatever was deleted since and however the segments are cut.
"""

from collections.abc import Sequence
from math import log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.index.postings import Postings, ensure_postings, words_of
from tasks.index.search import Hit, Retrieved, read_ranked
from tasks.index.version import StoredIndex

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

K1, B = 1.2, 0.75
"""Lucene's defaults: how soon more of a word stops counting, and how much long chunks lose."""


class LexicalIndex:
    """The words of an index version; made by `open_lexical`."""

    def __init__(
        self,
        stored: StoredIndex,
        parts: Sequence[Postings],
        *,
        among: Sequence[Mask] | None,
        k1: float = K1,
        b: float = B,
    ) -> None:
        self._stored = stored
        self._words = Bm25(parts, stored.live, k1=k1, b=b)
        self._among = stored.live if among is None else among

    def search(self, queries: Sequence[str], *, top_k: int) -> list[list[Retrieved]]:
        """Find the best passages for each question.

        Returns:
            A list for each question, best first, of passages that share a word with it; equal
            scores are ordered by chunk id.
        """
        hits = [_best(self._words.scores(words), self._among, top_k) for words in words_of(queries)]
        return read_ranked(self._stored, hits, top_k=top_k)


class Bm25:
    """BM25 as Lucene computes it (Kamphuis et al. 2020, "Which BM25 do you mean?", eq. Lucene).

    Args:
        parts: postings of each segment.
        live: for each segment shape (rows,): which rows count.
        k1: see `K1`.
        b: see `B`.
    """

    def __init__(
        self, parts: Sequence[Postings], live: Sequence[Mask], *, k1: float, b: float
    ) -> None:
        self._parts = parts
        self._live = live
        self._n = sum(int(mask.sum()) for mask in live)
        words = sum(
            int(part.lengths[mask].sum(dtype=np.int64))
            for part, mask in zip(parts, live, strict=True)
        )
        average = words / self._n if words else 1.0
        self._damping = [k1 * (1 - b + b * part.lengths / average) for part in parts]

    def scores(self, words: Sequence[str]) -> list[Floats]:
        """For each segment shape (rows,): the score of each row; 0 where no word is shared.

        A word that a question has twice counts twice.
        """
        found = [np.zeros(len(part.lengths)) for part in self._parts]
        # One order for all, so that a row's sum is the same in whatever segment it lies.
        for word in sorted(set(words)):
            postings = [part.find(word) for part in self._parts]
            holding = sum(
                int(mask[rows].sum()) for mask, (rows, _) in zip(self._live, postings, strict=True)
            )
            if not holding:
                continue
            weight = words.count(word) * log(1 + (self._n - holding + 0.5) / (holding + 0.5))
            for scores, damping, (rows, counts) in zip(found, self._damping, postings, strict=True):
                scores[rows] += weight * counts / (counts + damping[rows])
        return found


def open_lexical(stored: StoredIndex, *, among: Sequence[Mask] | None = None) -> LexicalIndex:
    """Open the words of a version; those of a segment that nobody asked yet are collected first.

    Args:
        stored: the version.
        among: for each segment which rows may be found; None: all that the version has. The
            statistics are of the whole version in any case.

    Raises:
        CorruptArtifact: a file isn't what was written.
    """
    room: Path = stored.directory.parent
    parts = [ensure_postings(segment, room) for segment in stored.segments]
    return LexicalIndex(stored, parts, among=among)


def _best(scores: Sequence[Floats], among: Sequence[Mask], top_k: int) -> list[Hit]:
    """The best rows, and all that equal the last of them."""
    allowed = [np.where(mask, part, 0.0) for part, mask in zip(scores, among, strict=True)]
    together = np.concatenate(allowed) if allowed else np.empty(0)
    together = together[together > 0]
    if not len(together):
        return []
    least = np.partition(together, -top_k)[-top_k] if len(together) > top_k else 0.0
    return [
        Hit(number, int(row), float(part[row]))
        for number, part in enumerate(allowed)
        for row in np.flatnonzero((part >= least) & (part > 0))
    ]
