"""`LLM.generate` on prompts in the order they have; a script for the serving environment's Python.

python -P benchmarks/vllm_offline.py ORDER.json SECONDS.json
"""

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    """Read engine arguments and prompts, write how long each run took."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # Exists only in the serving environment.
    vllm: Any = import_module("vllm")
    engine = vllm.LLM(**order["engine"])
    sampling = vllm.SamplingParams(
        temperature=0, max_tokens=order["output_tokens"], ignore_eos=True
    )
    talks = [[{"role": "user", "content": prompt}] for prompt in order["prompts"]]
    tokenizer = engine.get_tokenizer()
    texts = [
        tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        for talk in talks
    ]
    # What is compiled or allocated at first use belongs to no figure.
    engine.generate(texts[:1], sampling, use_tqdm=False)
    seconds = []
    for _ in range(order["runs"]):
        engine.reset_prefix_cache()
        began = time.perf_counter()
        engine.generate(texts, sampling, use_tqdm=False)
        seconds.append(time.perf_counter() - began)
    Path(sys.argv[2]).write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
