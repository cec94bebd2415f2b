"""sentence-transformers' own ONNX backend, in a process that has its older libraries.

Its exporter needs a transformers that collides with the environment (docs/decisions/0009). So it is
a peer in a process of its own, whose first import path is a directory of older libraries:

    pip install --no-deps --target DIRECTORY -r requirements/bench-onnx.txt

Lines of JSON come in, each a list of texts; a line with seconds goes out for each, and the vectors
into a file.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.harness import ROOT
from tasks.index.embed import Vectors


class OnnxPeer:
    """The process, asked block by block; a context manager."""

    def __init__(self, weights: Path, libraries: Path, scratch: Path) -> None:
        self._vectors = scratch / "vectors.npy"
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(weights), str(self._vectors)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{libraries}:{ROOT}", "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def encode(self, texts: Sequence[str]) -> tuple[Vectors, float]:
        """Vectors, and the seconds that they took in there."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the peer has no pipes")
        self._process.stdin.write(json.dumps(list(texts)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("sentence-transformers' ONNX backend ended; see what it printed")
        return np.load(self._vectors, allow_pickle=False), float(line)


def _serve(weights: str, path: str) -> None:
    from sentence_transformers import SentenceTransformer

    # What it prints mustn't be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    model: Any = SentenceTransformer(weights, backend="onnx", local_files_only=True)
    model.max_seq_length = 256
    model.encode(["The first call allocates."])
    for line in sys.stdin:
        texts = json.loads(line)
        began = time.perf_counter()
        vectors = model.encode(texts)
        spent = time.perf_counter() - began
        np.save(path, vectors, allow_pickle=False)
        print(spent, file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2])
