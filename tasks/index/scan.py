"""Exact nearest neighbours in memory-mapped vectors, block by block."""

import numpy as np
from numpy.typing import NDArray

from tasks.index.embed import Vectors
from tasks.index.segment import release

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]

_BLOCK_ROWS = 32_768
_BLOCK_SCORES = 8_000_000


def nearest(
    queries: Vectors,
    vectors: Vectors,
    k: int,
    *,
    live: NDArray[np.bool_] | None = None,
    once: bool = False,
) -> tuple[Scores, Rows]:
    """The `k` rows with the largest inner product with each query.

    Memory doesn't grow with the number of vectors. Which of several rows with an equal score
    are among the `k` isn't said.

    Args:
        queries: shape (queries, dimensions).
        vectors: shape (rows, dimensions).
        k: at most the number of live rows.
        live: shape (rows,): which rows may be found; None: all.
        once: whether nothing else will read the vectors soon, so that their pages can go.

    Returns:
        Scores and rows, each of shape (queries, k), best first.
    """
    best = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    size = max(1, min(_BLOCK_ROWS, _BLOCK_SCORES // max(1, len(queries))))
    for start in range(0, len(vectors), size):
        block = vectors[start : start + size]
        scores = queries @ block.T
        if once:
            release(vectors)
        if live is not None:
            scores[:, ~live[start : start + size]] = -np.inf
        found = np.broadcast_to(np.arange(start, start + len(block)), scores.shape)
        if scores.shape[1] > k:
            top = np.argpartition(scores, -k, axis=1)[:, -k:]
            scores, found = np.take_along_axis(scores, top, 1), top + start
        best, rows = np.hstack([best, scores]), np.hstack([rows, found])
        if best.shape[1] > k:
            top = np.argpartition(best, -k, axis=1)[:, -k:]
            best, rows = np.take_along_axis(best, top, 1), np.take_along_axis(rows, top, 1)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1)


def scores_of_one(query: Vectors, vectors: Vectors) -> Scores:
    """Inner products of one query with few rows, shape (rows,), on one thread.

    A matrix product wakes BLAS's threads: for a few thousand rows on busy cores, waiting for them
    takes ten times as long as the products.

    Args:
        query: shape (dimensions,).
        vectors: shape (rows, dimensions).
    """
    scores: Scores = np.vecdot(vectors, query)
    return scores


def exact_scores(query: Vectors, vectors: Vectors) -> NDArray[np.float64]:
    """Inner products in double precision, each summed in the same order.

    A matrix product rounds by where a row lies in its block, so the same vector could score
    differently in two segments; here equal vectors have equal scores everywhere.

    Args:
        query: shape (dimensions,).
        vectors: shape (rows, dimensions).
    """
    products = np.multiply(vectors, query, dtype=np.float64)
    total: NDArray[np.float64] = np.ascontiguousarray(products).sum(axis=1)
    return total
