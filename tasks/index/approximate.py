"""Vectors -> a FAISS index of compressed codes, tuned until it finds what exact search finds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.config import IndexKind
from tasks.index.embed import Vectors
from tasks.index.scan import Rows, Scores, nearest
from tasks.index.segment import MeasuredRecall, SegmentKind, blocks, release

FLAT_BELOW = 100_000
"""Chunks of a version that are compared one by one."""
PQ_ABOVE = 10_000_000
"""Chunks above which codes of a byte a dimension take too much memory."""
SMALLEST = 4_096
"""Rows of a segment below which comparing all is about as fast as anything else."""

_K = 10
_QUERIES = 200
_TRAIN_PER_LIST = 64
_TRAIN_ITERATIONS = 6
_HNSW_LINKS = 32
_HNSW_CONSTRUCTION = 80
_PQ_DIMENSIONS = 8
_REFINE: dict[SegmentKind, int] = {"hnsw": 4, "ivf": 4, "ivfpq": 10}
_TIE = 1e-6


def segment_kind(asked: IndexKind, *, rows: int, chunks: int) -> SegmentKind:
    """How a new segment is searched.

    Args:
        asked: by the release.
        rows: of the segment.
        chunks: of the whole version.
    """
    if rows < SMALLEST:
        return "flat"
    if asked != "auto":
        return asked
    if chunks <= FLAT_BELOW:
        return "flat"
    return "ivf" if chunks <= PQ_ABOVE else "ivfpq"


class ApproximateSearch:
    """A FAISS index of codes; what it finds is scored again by whole vectors.

    Attributes:
        kind: of the index.
        effort: `nprobe` or `efSearch`.
    """

    def __init__(self, kind: SegmentKind, index: Any, effort: int) -> None:
        self.kind = kind
        self.effort = effort
        self._index = index

    @classmethod
    def read(cls, path: Path, kind: SegmentKind, effort: int) -> "ApproximateSearch":
        """Open what `build_codes` wrote; its digest has been checked."""
        return cls(kind, _faiss().read_index(str(path)), effort)

    @property
    def limit(self) -> int:
        """Effort that can't be exceeded."""
        return int(self._index.ntotal if self.kind == "hnsw" else self._index.nlist)

    def add(self, vectors: Vectors) -> None:
        """Add rows of another segment after those that are there; the file stays as it is."""
        self._index.add(np.ascontiguousarray(vectors))

    def selector(self, live: NDArray[np.bool_]) -> Any:
        """What `candidates` takes as `among`; `live` is shape (rows,): which may be found."""
        return _faiss().IDSelectorBitmap(np.packbits(live, bitorder="little"))

    def candidates(self, queries: Vectors, k: int, *, among: Any = None) -> tuple[Scores, Rows]:
        """Rows that are probably the best, with scores of their codes; -1 where there are fewer.

        Args:
            queries: shape (queries, dimensions).
            k: how many shall be right; several times as many come back, as codes are coarse.
            among: a `selector`, which takes longer to make than a query takes; None: all rows.
        """
        faiss = _faiss()
        wanted = min(k * _REFINE[self.kind], int(self._index.ntotal))
        options = {} if among is None else {"sel": among}
        if self.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(efSearch=max(self.effort, wanted), **options)
        else:
            parameters = faiss.SearchParametersIVF(nprobe=self.effort, **options)
        scores, rows = self._index.search(queries, wanted, params=parameters)
        return scores, rows


def build_codes(
    kind: SegmentKind, vectors: Vectors, path: Path, *, recall: float
) -> tuple[dict[str, int], MeasuredRecall] | None:
    """Write the FAISS index of a segment with the least effort that reaches a recall.

    Args:
        kind: not `flat`.
        vectors: memory-mapped, shape (rows, dimensions).
        path: the file to write.
        recall: what must be found of the exact nearest 10.

    Returns:
        Parameters and what was measured; None, and no file, when no effort reaches the recall.
    """
    index, built = _trained(kind, vectors)
    for part in blocks(len(vectors), 32_768):
        index.add(vectors[part])
        release(vectors)
    search = ApproximateSearch(kind, index, 1)
    measured = _tune(search, vectors, recall)
    if measured is None:
        return None
    _faiss().write_index(index, str(path))
    return built | {effort_name(kind): search.effort}, measured


def _faiss() -> Any:
    """The library, whose own type hints leave out half of it."""
    import faiss

    return faiss


def effort_name(kind: SegmentKind) -> str:
    """Name of the parameter that was tuned."""
    return "efSearch" if kind == "hnsw" else "nprobe"


def _trained(kind: SegmentKind, vectors: Vectors) -> tuple[Any, dict[str, int]]:
    faiss = _faiss()
    rows, dimensions = vectors.shape
    metric, byte = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_8bit
    lists = max(1, min(int(2 * rows**0.5), rows // 39))
    chance = np.random.default_rng(0)
    sample = chance.choice(rows, min(rows, lists * _TRAIN_PER_LIST), replace=False)
    training = _rows(vectors, np.sort(sample))
    if kind == "hnsw":
        index = faiss.IndexHNSWSQ(dimensions, byte, _HNSW_LINKS, metric)
        index.hnsw.efConstruction = _HNSW_CONSTRUCTION
        built = {"M": _HNSW_LINKS, "efConstruction": _HNSW_CONSTRUCTION}
    else:
        quantizer = faiss.IndexFlatIP(dimensions)
        built = {"nlist": lists}
        if kind == "ivf":
            index = faiss.IndexIVFScalarQuantizer(quantizer, dimensions, lists, byte, metric)
        else:
            codes = _code_bytes(dimensions)
            index = faiss.IndexIVFPQ(quantizer, dimensions, lists, codes, 8, metric)
            built["m"] = codes
        index.cp.niter = _TRAIN_ITERATIONS
    index.train(training)
    return index, built


def _rows(vectors: Vectors, wanted: NDArray[np.int64]) -> Vectors:
    """Some rows, in rising order, without keeping what lies between them in memory."""
    found = np.empty((len(wanted), vectors.shape[1]), dtype=np.float32)
    for part in blocks(len(wanted)):
        found[part] = vectors[wanted[part]]
        release(vectors)
    return found


def _code_bytes(dimensions: int) -> int:
    """Bytes of a product code: about one for eight dimensions, which must be cut evenly."""
    wanted = max(1, dimensions // _PQ_DIMENSIONS)
    return next(size for size in range(wanted, 0, -1) if dimensions % size == 0)


def _tune(search: ApproximateSearch, vectors: Vectors, target: float) -> MeasuredRecall | None:
    """Raise the effort until the recall of held-out queries is reached."""
    chance = np.random.default_rng(1)
    rows = np.sort(chance.choice(len(vectors), min(_QUERIES, len(vectors)), replace=False))
    queries = _rows(vectors, rows)
    exact, found = nearest(queries, vectors, _K + 1, once=True)
    # A query is one of the vectors, but mustn't be its own result.
    kept = [
        scores[at != row][:_K] for scores, at, row in zip(exact, found, rows.tolist(), strict=True)
    ]
    for effort in _efforts(search):
        search.effort = effort
        _, candidates = search.candidates(queries, _K + 1)
        shares = [
            _share(query, best, vectors, near[(near >= 0) & (near != row)])
            for query, best, near, row in zip(queries, kept, candidates, rows.tolist(), strict=True)
        ]
        recall = float(np.mean(shares))
        if recall >= target:
            return MeasuredRecall(target=target, recall=recall, k=_K, queries=len(rows))
    return None


def _efforts(search: ApproximateSearch) -> Iterator[int]:
    effort = 16 if search.kind == "hnsw" else 1
    while effort < search.limit:
        yield effort
        effort *= 2
    yield search.limit


def _share(
    query: Vectors, best: NDArray[np.float32], vectors: Vectors, rows: NDArray[np.int64]
) -> float:
    """Share of the best scores that were found; equal vectors stand for each other."""
    if not len(rows):
        return 0.0
    # In blocks, although they are few: the system maps what lies around each row too.
    scores = np.sort(_rows(vectors, np.sort(rows)) @ query)[::-1]
    return min(1.0, float(np.sum(scores[: len(best)] >= best[-1] - _TIE)) / len(best))
