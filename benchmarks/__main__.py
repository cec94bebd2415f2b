"""python -m benchmarks [NAME [DIRECTORY]]: run one benchmark, or list what there is.

Those that work on a corpus take its directory, in BEIR layout.
"""

import sys
from importlib import import_module
from pathlib import Path

BENCHMARKS = {
    "P3": ("benchmarks.reindex_deletes", "upserts and deletes on a million vectors, then queries"),
    "P4": ("benchmarks.embedding_speed", "embedding backends and what they find: DATA=directory"),
    "P8": ("benchmarks.gate_speed", "seconds a decision takes, beside scipy and the peers"),
    "P14": ("benchmarks.reindex_sizes", "what a night costs as the corpus grows"),
    "S1": ("benchmarks.retrieval_quality", "SciFact by meaning, by words, by both: DATA=directory"),
    "E1": ("benchmarks.error_rates", "how often each gate promotes what is no better"),
    "E2": ("benchmarks.gate_sizes", "20,000 nulls through every test of the gate"),
}
ON_A_CORPUS = {"P4", "S1"}


def main() -> int:
    """Run the command line; the exit code: 0, or 1 when the goal was missed."""
    given = [Path(argument) for argument in sys.argv[2:]]
    if not set(sys.argv[1:2]) & set(BENCHMARKS) or len(given) != (sys.argv[1] in ON_A_CORPUS):
        for name, (_, what) in BENCHMARKS.items():
            print(f"  make bench NAME={name}  {what}")
        return 0 if len(sys.argv) == 1 else 2
    met: bool = import_module(BENCHMARKS[sys.argv[1]][0]).main(*given)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
