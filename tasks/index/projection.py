"""Two index versions -> their chunks on a plane, to see where the new and the removed ones lie."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.index.embed import Vectors
from tasks.index.version import StoredIndex

State = Literal["kept", "new", "removed"]

_SHARE_OF_CHANGES = 0.4
"""Of the drawn chunks, for the new and for the removed ones each: a few must be seen among many."""


@dataclass(frozen=True, slots=True)
class Point:
    """One chunk on the plane; `x` and `y` in the vectors' own unit."""

    x: float
    y: float
    doc_id: str
    state: State


@dataclass(frozen=True, slots=True)
class Projection:
    """A sample of the chunks of two versions.

    Attributes:
        points: of every state; kept ones first.
        kept: chunks that both versions have, of which the points are a sample.
        new: chunks that only the newer one has.
        removed: chunks that only the older one has.
        explained: share of the variance that the plane shows, of the vectors it was fitted on.
    """

    points: tuple[Point, ...]
    kept: int
    new: int
    removed: int
    explained: float


def project(
    old: StoredIndex | None, new: StoredIndex, *, limit: int = 5_000, seed: int = 0
) -> Projection:
    """Project chunks onto the first two principal components of the older version's vectors.

    Fitted on the older one, the plane doesn't turn with what is new. An older version of another
    embedding model has no common plane with the newer one, and counts as none.

    Args:
        old: the version to compare with; None: every chunk counts as kept.
        new: the version to show.
        limit: chunks that are drawn, and vectors that the plane is fitted on.
        seed: of both samples.

    Raises:
        CorruptArtifact: a file isn't the one that was written.
    """
    if old is not None and old.version.embedding_digest != new.version.embedding_digest:
        old = None
    generator = np.random.default_rng(seed)
    places, keys = _chunks(new)
    base = new if old is None else old
    old_places, old_keys = (places, keys) if old is None else _chunks(old)
    known = np.isin(keys, old_keys)
    gone = np.flatnonzero(~np.isin(old_keys, keys))
    kept, fresh = np.flatnonzero(known), np.flatnonzero(~known)
    most = int(limit * _SHARE_OF_CHANGES)
    shown_new, shown_gone = (_sample(rows, most, generator) for rows in (fresh, gone))
    shown_kept = _sample(kept, limit - len(shown_new) - len(shown_gone), generator)
    fitted_on = _sample(np.arange(len(old_places)), limit, generator)
    centre, axes, explained = _plane(_vectors(base, old_places[fitted_on]))
    points: list[Point] = []
    groups: tuple[tuple[State, StoredIndex, NDArray[np.int64]], ...] = (
        ("kept", new, places[shown_kept]),
        ("new", new, places[shown_new]),
        ("removed", base, old_places[shown_gone]),
    )
    for state, stored, chosen in groups:
        flat = (_vectors(stored, chosen) - centre) @ axes
        points += [
            Point(float(x), float(y), doc_id, state)
            for (x, y), doc_id in zip(flat, _documents(stored, chosen), strict=True)
        ]
    return Projection(tuple(points), len(kept), len(fresh), len(gone), explained)


def _chunks(stored: StoredIndex) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
    """Segment and row of each chunk, shape (chunks, 2), and the digest of its text."""
    places, keys = [np.empty((0, 2), dtype=np.int64)], [np.empty(0, dtype="S32")]
    for number, rows, batch in stored.batches(["text_digest"]):
        places.append(np.stack([np.full(len(rows), number), rows], axis=1).astype(np.int64))
        keys.append(np.array(batch.column("text_digest").to_pylist(), dtype="S32"))
    return np.concatenate(places), np.concatenate(keys)


def _sample(
    rows: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    if len(rows) <= count:
        return rows
    return np.sort(generator.choice(rows, size=count, replace=False))


def _by_segment(
    places: NDArray[np.int64],
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """For each segment its number, which places are in it, and their rows."""
    for number in np.unique(places[:, 0]):
        where = np.flatnonzero(places[:, 0] == number)
        yield int(number), where, places[where, 1]


def _vectors(stored: StoredIndex, places: NDArray[np.int64]) -> Vectors:
    found = np.empty((len(places), stored.version.dimensions), dtype=np.float32)
    for number, where, rows in _by_segment(places):
        found[where] = stored.segments[number].vectors[rows]
    return found


def _documents(stored: StoredIndex, places: NDArray[np.int64]) -> Sequence[str]:
    found = np.empty(len(places), dtype=object)
    for number, where, rows in _by_segment(places):
        read = stored.segments[number].chunks.rows(rows.tolist(), ["doc_id"])
        found[where] = [chunk["doc_id"] for chunk in read]
    return [str(name) for name in found]


def _plane(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Centre, the two axes of greatest variance as columns, and the share of it they show."""
    centre = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - centre
    values, directions = np.linalg.eigh(centred.T @ centred)
    axes = directions[:, ::-1][:, :2]
    # An axis has no direction of its own: without a rule the picture would be mirrored by chance.
    largest = axes[np.argmax(np.abs(axes), axis=0), [0, 1]]
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    total = float(values.sum())
    return centre, axes, float(values[::-1][:2].sum()) / total if total > 0 else 1.0
