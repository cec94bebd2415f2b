"""Several rankings of passages -> one."""

from collections.abc import Sequence
from dataclasses import replace

from tasks.index.search import Retrieved


def reciprocal_rank(rankings: Sequence[Sequence[Retrieved]], *, k: int) -> list[Retrieved]:
    """Fuse rankings by the sum of 1 / (k + rank).

    Scores of different searches have no common unit; ranks have. Source: Cormack, Clarke and
    Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
    SIGIR 2009, who set k = 60.

    Args:
        rankings: best first, ranks from 1; a passage may be missing from some.
        k: the larger, the less the first places count.

    Returns:
        Every passage once, best first, with the fused score; equal scores by chunk id.
    """
    passages: dict[str, Retrieved] = {}
    scores: dict[str, float] = {}
    for ranking in rankings:
        for passage in ranking:
            passages.setdefault(passage.chunk_id, passage)
            share = 1 / (k + passage.rank)
            scores[passage.chunk_id] = scores.get(passage.chunk_id, 0.0) + share
    return in_order(list(passages.values()), [scores[name] for name in passages])


def in_order(passages: Sequence[Retrieved], scores: Sequence[float]) -> list[Retrieved]:
    """Passages with new scores, best first; equal scores by chunk id."""
    pairs = sorted(
        zip(scores, passages, strict=True), key=lambda pair: (-pair[0], pair[1].chunk_id)
    )
    return [
        replace(passage, score=float(score), rank=rank)
        for rank, (score, passage) in enumerate(pairs, start=1)
    ]
