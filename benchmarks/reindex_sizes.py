"""P14: what a night costs as the corpus grows: nothing changed, one percent changed, and memory.

Each size runs in a process of its own, so that its peak of resident memory is its own. Vectors are
synthetic (`benchmarks/reindex_synthetic.py`): what is measured is everything but the model.

    python -m benchmarks.reindex_sizes [SIZE ...]
"""

import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import Result, save, show, versions
from benchmarks.reindex_deletes import build
from benchmarks.reindex_synthetic import SyntheticCorpus, SyntheticEmbedder

SIZES = (10_000, 100_000, 1_000_000)
CHANGED = 100
MEMORY_MB = 2_000
GOAL = "written and embedded is what changed; at most 2 GB resident above the model"


def main(sizes: Sequence[int] = SIZES, directory: Path | None = None) -> bool:
    """Run the benchmark; whether its goal was met."""
    spawn = multiprocessing.get_context("spawn")
    own = {}
    for size in sizes:
        room = tempfile.mkdtemp(dir=directory, prefix="ratchet-p14-")
        child = spawn.Process(target=_measure, args=(size, room))
        child.start()
        child.join()
        own[str(size)] = json.loads((Path(room) / "figures.json").read_text())
        shutil.rmtree(room)
    result = Result(
        id="P14",
        work=f"a night with {CHANGED} changed, {CHANGED} removed documents, by size",
        own=own,
        peers={},
        limit={},
        ratios={
            f"seconds, {size} to {sizes[0]}": own[str(size)]["changed_s"]
            / own[str(sizes[0])]["changed_s"]
            for size in sizes[1:]
        },
        goal=GOAL,
        met=all(
            row["embedded"] == row["written"] == CHANGED and row["resident_mb"] <= MEMORY_MB
            for row in own.values()
        ),
        versions=versions("faiss-cpu", "numpy", "pyarrow"),
    )
    show(
        result,
        [
            {
                "chunks": f"{int(size):,}",
                "first build, s": f"{row['first_s']:.1f}",
                "nothing changed, s": f"{row['unchanged_s']:.2f}",
                f"{CHANGED} changed, s": f"{row['changed_s']:.2f}",
                "chunks written": f"{row['written']:,}",
                "resident above the model, MB": f"{row['resident_mb']:,.0f}",
            }
            for size, row in own.items()
        ],
    )
    save(result)
    return result.met


def _measure(size: int, room: str) -> None:
    model, place = SyntheticEmbedder(), Path(room)
    above = psutil.Process().memory_info().rss / 2**20
    before = SyntheticCorpus.of(size)
    first, first_s = _timed(before, model, place, None)
    _, unchanged_s = _timed(before, model, place, first.directory)
    after = before.changed(upserts=CHANGED, deletes=CHANGED)
    embedded = model.embedded
    night, changed_s = _timed(after, model, place, first.directory)
    figures = {
        "first_s": first_s,
        "unchanged_s": unchanged_s,
        "changed_s": changed_s,
        "written": night.written,
        "embedded": model.embedded - embedded,
        "resident_mb": _resident_mb() - above,
    }
    (place / "figures.json").write_text(json.dumps(figures))


def _timed(
    corpus: SyntheticCorpus, model: SyntheticEmbedder, room: Path, previous: Path | None
) -> tuple[Any, float]:
    began = time.perf_counter()
    return build(corpus, model, room, previous), time.perf_counter() - began


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(0 if main([int(size) for size in sys.argv[1:]] or SIZES) else 1)
