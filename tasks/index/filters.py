"""Conditions on a document's metadata -> which chunks of an index version may be found."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.index.version import StoredIndex

Filters = Mapping[str, Sequence[str]]
"""Allowed values by name of the metadata; a document must satisfy all of them."""


def passes(metadata: Mapping[str, str], filters: Filters) -> bool:
    """Whether a document may be found: each name has one of its allowed values, exactly."""
    return all(metadata.get(name) in allowed for name, allowed in filters.items())


def allowed_rows(
    stored: StoredIndex, metadata: Iterable[tuple[str, Mapping[str, str]]], filters: Filters
) -> list[NDArray[np.bool_]]:
    """For each segment shape (rows,): the chunks of the version whose document passes.

    Args:
        stored: the index version.
        metadata: id and metadata of each document of the snapshot that it was built from.
        filters: may be empty.
    """
    names = [doc_id for doc_id, values in metadata if passes(values, filters)]
    return [
        live & segment.chunks.rows_of(names)
        for segment, live in zip(stored.segments, stored.live, strict=True)
    ]
