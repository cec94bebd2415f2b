"""P1-read: reading a corpus of 100,000 files again when nothing was changed, beside a stat walk.

The part of P1 before the index: from process start to a snapshot whose digest is known. The limit
is another process that walks the same folder and asks for the status of every file, which nobody
who wants to notice changes can avoid. The files hold passages of a BEIR corpus.
"""

import gzip
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import ROOT, Result, process_environment, save, show

FILES, A_FOLDER, RUNS = 100_000, 100, 5
GOAL = 3.0
_SETTLE_S = 2.5

WALK = """
import os, sys
n = 0
for where, folders, files in os.walk(sys.argv[1]):
    for name in files:
        n += os.stat(os.path.join(where, name)).st_size > 0
print(n)
"""
"""Program that asks for the status of every file below a folder, and for nothing else."""
_READ = """
import sys
from pathlib import Path
from tasks.config import CorpusSettings, FolderSource
from tasks.corpus.update import update_corpus
home = Path(sys.argv[1])
source = FolderSource(kind="folder", name="docs", path=home / "docs")
found = update_corpus(
    CorpusSettings(sources=(source,)), root=home, room=home / "room", readings=home / "readings"
)
print(found.opened, found.snapshot.n_documents)
heavy = {"torch", "faiss", "pyarrow", "datasets", "numpy"} & set(sys.modules)
assert not (found.opened == 0 and heavy), heavy
"""


def main(data: Path) -> bool:
    """Run the benchmark; whether its goal was met.

    Args:
        data: a BEIR corpus: `corpus.jsonl`, or `corpus.jsonl.gz`, or a directory that holds
            `scale_docs/corpus.jsonl.gz`.
    """
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        _write_files(home / "docs", data)
        # A file that was written this moment is read twice: it might change unseen.
        time.sleep(_SETTLE_S)
        first, said = _run(_READ, home)
        print(f"first reading: {first:.1f} s; files opened, documents: {said}", flush=True)
        own, limit = [], []
        for _ in range(RUNS):
            limit.append(_run(WALK, home / "docs")[0])
            seconds, said = _run(_READ, home)
            own.append(seconds)
            if not said.startswith("0 "):
                raise RuntimeError(f"expected no file to be opened, found {said!r}")
        changed = _change_one_percent(home / "docs")
        time.sleep(_SETTLE_S)
        edited, said = _run(_READ, home)
        print(f"after {changed} edits: {edited:.1f} s; files opened, documents: {said}")
        shutil.rmtree(home / "docs")
    ratio = statistics.median(own) / statistics.median(limit)
    result = Result(
        id="P1-read",
        work=f"{FILES:,} files in {FILES // A_FOLDER:,} folders, none of them changed",
        own={
            "median_s": statistics.median(own),
            "seconds": own,
            "first_s": first,
            "one_percent_changed_s": edited,
        },
        peers={},
        limit={"stat walk": {"median_s": statistics.median(limit), "seconds": limit}},
        ratios={"own / stat walk": ratio},
        goal=f"at most {GOAL:.0f} x the stat walk, process start to exit",
        met=ratio <= GOAL,
        versions={},
    )
    rows = [
        ("ratchet, nothing changed", statistics.median(own)),
        ("stat walk", statistics.median(limit)),
        ("ratchet, 1 % changed", edited),
        ("ratchet, first reading", first),
    ]
    show(
        result,
        [
            {
                "who": name,
                "seconds": f"{seconds:.2f}",
                "x the walk": f"{seconds / statistics.median(limit):.2f}",
            }
            for name, seconds in rows
        ],
    )
    save(result)
    return result.met


def _run(code: str, argument: Path) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(argument)],
        cwd=ROOT,
        env=process_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - began, done.stdout.strip()


def _passages(data: Path) -> Iterator[str]:
    path = data if data.is_file() else data / "scale_docs" / "corpus.jsonl.gz"
    open_file = gzip.open if path.suffix == ".gz" else open
    with open_file(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


def _write_files(folder: Path, data: Path) -> None:
    for number, text in enumerate(itertools.islice(itertools.cycle(_passages(data)), FILES)):
        if number % A_FOLDER == 0:
            inside = folder / f"{number // A_FOLDER:04d}"
            inside.mkdir(parents=True)
        # Passages may repeat; texts that repeat would be left out as duplicates.
        (inside / f"{number:06d}.txt").write_text(f"Number {number}.\n\n{text}", encoding="utf-8")


def _change_one_percent(folder: Path) -> int:
    paths = sorted(folder.rglob("*.txt"))[::100]
    for path in paths:
        with path.open("a", encoding="utf-8") as file:
            file.write(" One more sentence.")
    return len(paths)
