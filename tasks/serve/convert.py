"""One GGUF file -> a directory that vLLM serves; a script for the serving environment's Python.

The main environment never imports this file: the libraries are those of the serving environment, so
that what is written is read by the same versions.
"""

import argparse
from pathlib import Path

CONVERTER_VERSION = 1
"""Bumped when equal input would give other files."""


def convert(source: Path, target: Path) -> None:
    """Write the weights of `source`, unpacked to bfloat16, and its tokenizer into `target`.

    Args:
        source: a GGUF file whose architecture transformers knows.
        target: an existing directory, filled with config, safetensors and tokenizer files.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    print("reading the GGUF file", flush=True)
    folder, name = str(source.parent), source.name
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    # The weights are unpacked now, but both still say that they are quantised, and saving refuses.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    setattr(model, "hf_quantizer", None)  # noqa: B010  (a field that its class doesn't declare)
    print("writing the weights", flush=True)
    model.save_pretrained(target)
    print("writing the tokenizer", flush=True)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    convert(arguments.source, arguments.target)
