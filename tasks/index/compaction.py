"""Sizes of segments -> which of them are merged, so that a search reads few."""

from collections.abc import Sequence

from tasks.config import Compaction


def smallest_to_merge(sizes: Sequence[int]) -> list[int]:
    """Positions of the smallest parts, as many as are no larger than those before together.

    At least two. What is left grows like powers of two, so each row is copied a few times however
    long it lives (O'Neil et al. 1996, the log-structured merge tree).
    """
    chosen: list[int] = []
    rows = 0
    for position in sorted(range(len(sizes)), key=lambda position: sizes[position]):
        if len(chosen) > 1 and sizes[position] > rows:
            break
        chosen.append(position)
        rows += sizes[position]
    return sorted(chosen)


def segments_to_merge(
    segments: Sequence[tuple[int, int]], new: int, limits: Compaction
) -> list[int]:
    """Positions of the segments whose rows are copied into the new one.

    Args:
        segments: (live rows, all rows) of each.
        new: rows of the new segment before merging.
        limits: when it is worth it.
    """
    deleted = {
        position
        for position, (live, rows) in enumerate(segments)
        if rows - live > limits.max_deleted * rows
    }
    left = [
        position
        for position, (live, _) in enumerate(segments)
        # What is merged would be cut into segments of this size again.
        if position not in deleted and 2 * live < limits.max_segment_chunks
    ]
    if len(left) + bool(new or deleted) <= limits.max_segments:
        return sorted(deleted)
    sizes = [segments[position][0] for position in left]
    small = {left[position] for position in smallest_to_merge(sizes)}
    return sorted(deleted | small)
