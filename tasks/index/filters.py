"""Conditions on a document's metadata -> which chunks of an index version may be found."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.corpus.document import Document
from tasks.index.version import StoredIndex

Filters = Mapping[str, Sequence[str]]
"""Allowed values by name of the metadata; a document must satisfy all of them."""


def passes(metadata: Mapping[str, str], filters: Filters) -> bool:
    """Whether a document may be found: each name has one of its allowed values, exactly."""
    return all(metadata.get(name) in allowed for name, allowed in filters.items())


def allowed_rows(
    stored: StoredIndex, documents: Iterable[Document], filters: Filters
) -> list[NDArray[np.bool_]]:
    """For each segment shape (rows,): the chunks of the version whose document passes.

    Args:
        stored: the index version.
        documents: of the snapshot that it was built from.
        filters: may be empty.
    """
    names = [document.doc_id for document in documents if passes(document.metadata, filters)]
    return [
        live & segment.chunks.rows_of(names)
        for segment, live in zip(stored.segments, stored.live, strict=True)
    ]
