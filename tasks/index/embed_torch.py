"""Token ids -> vectors with PyTorch, on the processor or on GPUs."""

import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.index.embed_batches import Tokens


class TorchBackend:
    """A loaded sentence-transformers model; made by `load_torch`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._pool: Any = None

    def vectors(self, tokens: Tokens) -> NDArray[np.float32]:
        """One vector a text, not yet of length 1."""
        import torch

        with torch.inference_mode():
            features = {
                "input_ids": torch.from_numpy(tokens.ids).to(self._model.device),
                "attention_mask": torch.from_numpy(tokens.mask).to(self._model.device),
            }
            found: NDArray[np.float32] = (
                self._model(features)["sentence_embedding"].float().cpu().numpy()
            )
        return found

    def pooled(self, texts: Sequence[str], devices: Sequence[str]) -> NDArray[np.float32]:
        """Embed in a process for each device, by sentence-transformers' own pool.

        The processes start at the first call, and end with this object or this process.
        """
        if self._pool is None:
            self._pool = self._model.start_multi_process_pool(list(devices))
            weakref.finalize(self, type(self._model).stop_multi_process_pool, self._pool)
        found = self._model.encode(
            list(texts), pool=self._pool, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(found, dtype=np.float32)


def load_torch(directory: Path, *, dtype: str, device: str, max_tokens: int) -> TorchBackend:
    """Load a sentence-transformers directory.

    Raises:
        OSError, ValueError: it can't be loaded.
    """
    return TorchBackend(load_model(directory, dtype=dtype, device=device, max_tokens=max_tokens))


def load_model(directory: Path, *, dtype: str, device: str, max_tokens: int) -> Any:
    """The `SentenceTransformer` of a directory, ready to embed."""
    with quiet():
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(
            str(directory), device=device, local_files_only=True, model_kwargs={"dtype": dtype}
        )
    model.max_seq_length = max_tokens
    return model.eval()


@contextmanager
def quiet() -> Iterator[None]:
    """Load without a progress bar and without other libraries' deprecation warnings."""
    from transformers.utils import logging

    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            bars.enable_progress_bar()
