"""python -m benchmarks [NAME]: run one benchmark, or list what there is."""

import sys
from importlib import import_module

BENCHMARKS = {
    "P3": ("benchmarks.reindex_deletes", "upserts and deletes on a million vectors, then queries"),
    "P8": ("benchmarks.gate_speed", "seconds a decision takes, beside scipy and the peers"),
    "P14": ("benchmarks.reindex_sizes", "what a night costs as the corpus grows"),
    "E1": ("benchmarks.error_rates", "how often each gate promotes what is no better"),
    "E2": ("benchmarks.gate_sizes", "20,000 nulls through every test of the gate"),
}


def main() -> int:
    """Run the command line; the exit code: 0, or 1 when the goal was missed."""
    if len(sys.argv) != 2 or sys.argv[1] not in BENCHMARKS:
        for name, (_, what) in BENCHMARKS.items():
            print(f"  make bench NAME={name}  {what}")
        return 0 if len(sys.argv) == 1 else 2
    met: bool = import_module(BENCHMARKS[sys.argv[1]][0]).main()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
