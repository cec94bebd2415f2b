"""Token ids -> vectors with ONNX Runtime on the processor; weights are converted once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.digest import Digest
from tasks.index.embed_batches import Tokens
from tasks.index.embed_torch import load_model, quiet
from tasks.index.identity import ONNX_VERSION
from tasks.store import locked, new_directory

_FILE = "model.onnx"


class OnnxBackend:
    """A graph from token ids to sentence vectors; made by `load_onnx`."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def vectors(self, tokens: Tokens) -> NDArray[np.float32]:
        """One vector a text, not yet of length 1."""
        given = {"input_ids": tokens.ids, "attention_mask": tokens.mask}
        found: NDArray[np.float32] = self._session.run(None, given)[0]
        return found


def load_onnx(
    directory: Path, *, sha256: Digest, dtype: str, max_tokens: int, room: Path
) -> OnnxBackend:
    """Open the converted model, converting it first if that wasn't done yet.

    Args:
        directory: the sentence-transformers model.
        sha256: of its weights; names the conversion.
        dtype: float32 or int8.
        max_tokens: what the model reads of a text.
        room: directory of all models.

    Raises:
        OSError, ValueError: the model can't be loaded.
    """
    import onnxruntime

    final = room / f"{sha256}-onnx-{dtype}-v{ONNX_VERSION}"
    with locked(room / f".{final.name}.lock"):
        if not final.is_dir():
            with new_directory(final) as partial:
                _convert(directory, partial / _FILE, dtype=dtype, max_tokens=max_tokens)
    session = onnxruntime.InferenceSession(final / _FILE, providers=["CPUExecutionProvider"])
    return OnnxBackend(session)


def _convert(directory: Path, target: Path, *, dtype: str, max_tokens: int) -> None:
    """Write the whole model, pooling included, as one graph."""
    if dtype == "float32":
        _export(directory, target, max_tokens=max_tokens)
        return
    whole = target.with_name("float32.onnx")
    _export(directory, whole, max_tokens=max_tokens)
    with _silent():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # One scale for each output channel: a scale for a whole matrix loses far more.
        quantize_dynamic(
            whole,
            target,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
        )
    whole.unlink()


def _export(directory: Path, target: Path, *, max_tokens: int) -> None:
    import torch

    model = load_model(directory, dtype="float32", device="cpu", max_tokens=max_tokens)

    class Sentence(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            found: torch.Tensor = model(features)["sentence_embedding"]
            return found

    # Two texts of which one is padded: a mask of ones would be left out of the graph.
    ids = torch.arange(1, 33).reshape(2, 16)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    shape = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with quiet(), _silent():
        torch.onnx.export(
            Sentence().eval(),
            (ids, mask),
            target,
            input_names=["input_ids", "attention_mask"],
            output_names=["sentence_embedding"],
            dynamic_shapes={"input_ids": shape, "attention_mask": shape},
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Without the converters' advice to their own developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
