"""A corpus of any size that takes no memory, and a model that embeds it at the speed of an array.

What these benchmarks measure is everything around the model: real embedding takes minutes for what
takes milliseconds here, and would hide it.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from tasks.corpus.digests import DocumentDigests
from tasks.corpus.document import Document, Problem
from tasks.digest import Digest, digest
from tasks.index.embed import Vectors

DIMENSIONS = 384
_CLUSTERS = 2_000
_NOISES = 50_021
_SPREAD = 0.6


class SyntheticEmbedder:
    """The vector of the text `n`: a cluster's centre and a noise, both chosen by the number."""

    name = "synthetic"
    dimensions = DIMENSIONS
    digest = digest("synthetic-embedder", 1, DIMENSIONS)

    def __init__(self) -> None:
        chance = np.random.default_rng(0)
        self._centres = _unit(chance.normal(size=(_CLUSTERS, DIMENSIONS)))
        self._noises = _unit(chance.normal(size=(_NOISES, DIMENSIONS)))
        self.embedded = 0

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None
    ) -> Vectors:
        """Shape (texts, 384)."""
        self.embedded += len(texts)
        if progress is not None:
            progress(len(texts), len(texts))
        return self.vectors(np.array([int(text.rsplit("\n", 1)[-1]) for text in texts]))

    def vectors(self, numbers: np.ndarray) -> Vectors:
        """The vectors of these numbers."""
        centres = self._centres[numbers * 7919 % _CLUSTERS]
        noise = self._noises[numbers % _NOISES] + self._noises[numbers * 31 % _NOISES]
        return _unit(centres + _SPREAD * noise)

    def count_tokens(self, text: str) -> int:
        """One."""
        return 1


@dataclass(frozen=True)
class SyntheticCorpus:
    """Documents of one passage each; `numbers` holds what each says, -1 where it is gone."""

    numbers: np.ndarray
    problems: tuple[Problem, ...] = field(default=())

    @classmethod
    def of(cls, size: int) -> "SyntheticCorpus":
        """As many documents, each of which says something else."""
        return cls(np.arange(size))

    def changed(self, *, upserts: int, deletes: int, night: int = 1) -> "SyntheticCorpus":
        """So many documents say something new, so many others are gone."""
        numbers = self.numbers.copy()
        chosen = np.random.default_rng(night).choice(
            np.flatnonzero(numbers >= 0), upserts + deletes, replace=False
        )
        numbers[chosen[:upserts]] = night * 100_000_000 + np.arange(upserts)
        numbers[chosen[upserts:]] = -1
        return replace(self, numbers=numbers)

    @property
    def digest(self) -> Digest:
        """Of all numbers."""
        return hashlib.sha256(self.numbers.tobytes()).hexdigest()

    @property
    def n_documents(self) -> int:
        """Those that aren't gone."""
        return int((self.numbers >= 0).sum())

    @cached_property
    def digests(self) -> DocumentDigests:
        """Each is the number itself, in as many characters as a digest has."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = np.flatnonzero(self.numbers >= 0)
        ids, numbers = (
            pc.utf8_lpad(pa.array(values).cast(pa.large_string()), width=width, padding="0")
            for values, width in ((rows, 8), (self.numbers[rows], 64))
        )
        return DocumentDigests(ids, numbers)

    def read(self, ids: Collection[str] | None = None) -> Iterator[Document]:
        """Made when they are asked for."""
        rows = range(len(self.numbers)) if ids is None else sorted(map(int, ids))
        for row in rows:
            if (number := int(self.numbers[row])) >= 0:
                yield Document(f"{row:08d}", "", str(number), {"source": "synthetic"})

    def metadata(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """All have the same."""
        return ((document.doc_id, document.metadata) for document in self.read())


def _unit(rows: np.ndarray) -> Vectors:
    rows = rows.astype(np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
