"""P3: upserts and deletes on a large index, then queries, beside a rebuild and beside faiss alone.

One percent of the passages say something new and one percent are gone. Own: the next index
version, with its text, digests, tombstones and checks, on disk. Rebuild: the same version from
nothing, every vector taken from the cache, so that no model is timed. Peer: faiss on the same kind
of index, which removes and adds rows in memory and writes the file; it stores no text and checks
nothing. The limit is faiss adding the new rows and nothing else.
Documents are made when they are asked for: neither reading a corpus nor a model is timed.

    python -m benchmarks.reindex_deletes [ROWS] [DIRECTORY]
"""

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.harness import Result, save, show, versions
from benchmarks.reindex_synthetic import SyntheticCorpus, SyntheticEmbedder
from tasks.config import Chunking
from tasks.index.build import BuildReport, build_index
from tasks.index.embed import Vectors
from tasks.index.scan import nearest
from tasks.index.search import Index, open_index
from tasks.index.segment import FAISS
from tasks.index.version import open_version

ROWS, SHARE, QUERIES, TURN, K = 1_000_000, 0.01, 2_000, 50, 10
GOAL = "20 x as fast as a rebuild, recall@10 within .005 of it, query p95 at most 1.15 x its"


def main(rows: int = ROWS, directory: Path | None = None) -> bool:
    """Run the benchmark; whether its goal was met."""
    room = Path(tempfile.mkdtemp(dir=directory, prefix="ratchet-p3-"))
    try:
        return _run(rows, room)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _run(rows: int, room: Path) -> bool:
    model = SyntheticEmbedder()
    above = psutil.Process().memory_info().rss / 2**20
    changes = int(rows * SHARE)
    before = SyntheticCorpus.of(rows)
    after = before.changed(upserts=changes, deletes=changes)
    first, first_s = _timed(lambda: build(before, model, room, None))
    memory = _resident_mb() - above
    own, own_s = _timed(lambda: build(after, model, room, first.directory))
    queries = model.vectors(np.random.default_rng(1).integers(rows, size=QUERIES))
    live = model.vectors(after.numbers[after.numbers >= 0])
    exact, _ = nearest(queries, live, K)
    after_night = open_index(own.directory, model)
    faiss_s, add_s = _faiss(first.directory, own.directory, room, changes)
    shutil.rmtree(own.directory)
    fresh, fresh_s = _timed(lambda: build(after, model, room, None))
    found, found_fresh = _searched(
        [after_night, open_index(fresh.directory, model)], queries, exact
    )
    ratios = {
        "rebuild": fresh_s / own_s,
        "faiss remove_ids + add": faiss_s / own_s,
        "query p50": found.p50_ms / found_fresh.p50_ms,
        "query p95": found.p95_ms / found_fresh.p95_ms,
        "recall difference": found.recall - found_fresh.recall,
    }
    result = Result(
        id="P3",
        work=f"{changes:,} upserts, {changes:,} deletes on {rows:,} x {model.dimensions} vectors",
        own={
            "seconds": own_s,
            "first_build_s": first_s,
            "resident_mb_above_the_model": memory,
            **found.figures(),
            "written": own.written,
        },
        peers={
            "rebuild": {"seconds": fresh_s, **found_fresh.figures()},
            "faiss remove_ids + add": {"seconds": faiss_s},
        },
        limit={"faiss add": {"seconds": add_s}},
        ratios=ratios,
        goal=GOAL,
        met=ratios["rebuild"] >= 20
        and abs(ratios["recall difference"]) <= 0.005
        and ratios["query p95"] <= 1.15,
        versions=versions("faiss-cpu", "numpy", "pyarrow"),
    )
    show(
        result,
        [
            _row("ratchet, next version", own_s, found),
            _row("rebuild, nothing embedded", fresh_s, found_fresh),
            _row("faiss remove_ids + add", faiss_s),
            _row("limit: faiss add", add_s),
        ],
    )
    print(f"First build {first_s:.0f} s, {memory:,.0f} MB resident above the model.")
    save(result)
    return result.met


def build(
    corpus: SyntheticCorpus, model: SyntheticEmbedder, room: Path, previous: Path | None
) -> BuildReport:
    """Build a version of a synthetic corpus."""
    return build_index(corpus, Chunking(), model, room=room, previous=previous)


def _timed(work: Callable[[], BuildReport]) -> tuple[BuildReport, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


@dataclass
class _Found:
    """What one index found, and in which time."""

    seconds: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """By score, as equal vectors stand for each other."""
        return float(np.mean(self.shares))

    @property
    def p50_ms(self) -> float:
        """The query in the middle."""
        return float(np.percentile(self.seconds, 50)) * 1000

    @property
    def p95_ms(self) -> float:
        """What one query in twenty exceeds."""
        return float(np.percentile(self.seconds, 95)) * 1000

    def figures(self) -> dict[str, float]:
        """For the result file."""
        return {
            "recall@10": self.recall,
            "query_p50_ms": self.p50_ms,
            "query_p95_ms": self.p95_ms,
        }


def _searched(indexes: Sequence[Index], queries: Vectors, exact: Any) -> list[_Found]:
    """One query after the other, as a service gets them; the indexes take turns of `TURN`.

    Whatever else the machine does then slows all of them.
    """
    for index in indexes:
        for query in queries[:20]:
            index.search_vectors(query[None], top_k=K)
    found = [_Found() for _ in indexes]
    for start in range(0, len(queries), TURN):
        turn = slice(start, start + TURN)
        for index, of_index in zip(indexes, found, strict=True):
            for query, best in zip(queries[turn], exact[turn], strict=True):
                began = time.perf_counter()
                (hits,) = index.search_vectors(query[None], top_k=K)
                of_index.seconds.append(time.perf_counter() - began)
                of_index.shares.append(sum(hit.score >= best[-1] - 1e-6 for hit in hits) / K)
    return found


def _faiss(first: Path, own: Path, room: Path, changes: int) -> tuple[float, float]:
    """Seconds of removing and adding with a file written, and of adding alone."""
    import faiss as untyped

    faiss: Any = untyped
    base, new = open_version(first).segments[0], open_version(own).segments[-1]
    if base.manifest.kind == "flat":
        index = faiss.IndexFlatIP(base.manifest.dimensions)
        index.add(np.asarray(base.vectors))
    else:
        index = faiss.read_index(str(base.directory / FAISS))
    vectors = np.asarray(new.vectors)
    gone = np.random.default_rng(2).choice(len(base), 2 * changes, replace=False)
    began = time.perf_counter()
    index.remove_ids(faiss.IDSelectorBatch(gone))
    middle = time.perf_counter()
    index.add(vectors)
    added = time.perf_counter()
    faiss.write_index(index, str(room / "peer.faiss"))
    return time.perf_counter() - began, added - middle


def _row(name: str, seconds: float, found: _Found | None = None) -> Any:
    return {
        "implementation": name,
        "seconds": f"{seconds:.2f}",
        "recall@10": f"{found.recall:.4f}" if found else "",
        "query p50, ms": f"{found.p50_ms:.2f}" if found else "",
        "query p95, ms": f"{found.p95_ms:.2f}" if found else "",
    }


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    sys.exit(0 if main(size, place) else 1)
