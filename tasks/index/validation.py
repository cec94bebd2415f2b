"""Segment -> an error, where it isn't fit to be searched; a bad one never gets a name."""

import numpy as np

from tasks.errors import Terminal
from tasks.index.embed import Vectors
from tasks.index.scan import nearest
from tasks.index.segment import Segment, blocks, release

_SAMPLE = 32
_TOLERANCE = 1e-3
_DISK = "Check the disk below the state directory, then run again."


def check_segment(segment: Segment) -> None:
    """Read a new segment back: every vector has length 1 and a sample finds itself.

    Raises:
        Terminal: a vector has another length (zero and NaN too), or isn't found.
        CorruptArtifact: a file has another length than the manifest says.
    """
    vectors = segment.vectors
    if len(segment.chunks) != len(vectors):
        raise Terminal(
            f"The new segment has {len(vectors)} vectors and {len(segment.chunks)} chunks.",
            next_step=_DISK,
        )
    for part in blocks(len(vectors)):
        check_lengths(vectors[part], first=part.start)
        release(vectors)
    sample = np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors)), dtype=np.int64)
    scores, _ = nearest(vectors[sample], vectors, 1, once=True)
    lost = int(np.sum(~(np.abs(scores[:, 0] - 1) <= _TOLERANCE)))
    if lost:
        raise Terminal(
            f"{lost} of {len(sample)} passages of the new segment aren't found by their "
            "own vector.",
            next_step=_DISK,
        )


def check_lengths(vectors: Vectors, *, first: int = 0) -> None:
    """Check that every vector has length 1, which zero and NaN don't.

    Args:
        vectors: shape (rows, dimensions).
        first: number of the first row, for the message.

    Raises:
        Terminal: one hasn't.
    """
    wrong = ~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < _TOLERANCE)
    if wrong.any():
        raise Terminal(
            f"{int(wrong.sum())} of {len(vectors)} vectors don't have length 1; the first is of "
            f"row {first + int(np.argmax(wrong))}.",
            next_step="Check the embedding model; dtype: float32 in configs/models.yaml may help.",
        )
