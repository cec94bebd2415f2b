"""Texts -> vectors of a served model, through the one door."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tasks.config import RemoteEmbedding, Sampling
from tasks.errors import SetupError, WrongModel
from tasks.index.embed import Vectors, load_tokenizer
from tasks.index.identity import embedder_digest
from tasks.serve.budget import Budget
from tasks.serve.client import ModelClient
from tasks.serve.meter import Meter
from tasks.serve.together import together
from tasks.serve.transport import Backoff
from tasks.serve.version import ModelVersion

PURPOSE = "embedding"

_WINDOW = 4096
"""Texts whose requests are on their way or waiting at a time."""
_MOST_TEXTS = 256


class RemoteEmbedder:
    """An embedding model behind `/v1/embeddings`; keeps the `Embedder` protocol.

    Args:
        name: the model's name in configs/models.yaml.
        model: its settings.
        tokenizer: the model's `tokenizer.json`.
        api_key: sent as a bearer token, and written nowhere.
        backoff: waits between attempts.
        budget: what may be spent.

    Attributes:
        meter: every call, with its tokens and cost.

    Raises:
        SetupError: there is no such tokenizer.
    """

    def __init__(
        self,
        name: str,
        model: RemoteEmbedding,
        *,
        tokenizer: Path,
        api_key: str | None,
        backoff: Backoff | None = None,
        budget: Budget | None = None,
    ) -> None:
        if not tokenizer.is_file():
            raise SetupError(
                f"The embedding model {name!r} has no tokenizer at {str(tokenizer)!r}.",
                next_step="Put the model's tokenizer.json there, or correct tokenizer in "
                "configs/models.yaml.",
            )
        self.name = name
        self.digest = embedder_digest(model)
        self.dimensions = model.dimensions
        self.meter = Meter()
        self._settings = model
        self._path = tokenizer
        self._key = api_key
        self._backoff = backoff
        self._budget = budget

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None
    ) -> Vectors:
        """Embed texts, in their order.

        Args:
            texts: what to embed; what is longer than the model's `max_tokens` is cut off here, as
                servers refuse it.
            progress: called with (done, total) after every few thousand texts.

        Returns:
            float32 of shape (len(texts), dimensions), rows of length 1.

        Raises:
            CallFailed: a request failed after its retries.
            TooManyFailures: so many failed that none is sent any more.
            WrongModel: the vectors have another length than configs/models.yaml says, or none.
        """
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        # A flow may have an event loop of its own in this thread.
        with ThreadPoolExecutor(1) as thread:
            # With the label of who asks, so that an evaluation counts these calls, too.
            within = copy_context()
            work = thread.submit(within.run, asyncio.run, self._encode(texts, progress))
            return work.result()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without the special ones that the model adds."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    async def _encode(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None
    ) -> Vectors:
        parts: list[Vectors] = []
        async with self._client() as client:
            for start in range(0, len(texts), _WINDOW):
                batches = self._batches(texts[start : start + _WINDOW])
                rows = await together([client.embed(batch, purpose=PURPOSE) for batch in batches])
                parts += [self._checked(found) for found in rows]
                if progress is not None:
                    progress(min(start + _WINDOW, len(texts)), len(texts))
        return np.concatenate(parts)

    def _batches(self, texts: Sequence[str]) -> list[list[str]]:
        """Consecutive texts, each cut to what the model reads."""
        batches: list[list[str]] = [[]]
        total = 0
        for text, encoded in zip(texts, self._tokenizer.encode_batch(list(texts)), strict=True):
            tokens = min(len(encoded), self._settings.max_tokens)
            full = total + tokens > self._settings.batch_tokens or len(batches[-1]) == _MOST_TEXTS
            if batches[-1] and full:
                batches.append([])
                total = 0
            batches[-1].append(self._cut(text, encoded))
            total += tokens
        return batches

    def _cut(self, text: str, encoded: Any) -> str:
        """What the model can read of a text, beside its special tokens."""
        over = len(encoded) - self._settings.max_tokens
        if over <= 0:
            return text
        special = encoded.special_tokens_mask
        ends = [end for (_, end), skip in zip(encoded.offsets, special, strict=True) if not skip]
        return text[: ends[-over - 1]]

    def _checked(self, rows: list[list[float]]) -> Vectors:
        lengths = {len(row) for row in rows}
        if lengths != {self.dimensions}:
            raise WrongModel(
                f"{self.name!r} at {self._settings.url} gives vectors of {sorted(lengths)} "
                f"numbers; configs/models.yaml says dimensions: {self.dimensions}.",
                next_step="Correct dimensions or served_name in configs/models.yaml.",
            )
        vectors = np.array(rows, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.all(np.isfinite(norms) & (norms > 0)):
            raise WrongModel(
                f"{self.name!r} at {self._settings.url} gives vectors without a direction: "
                "zeros, or numbers that aren't finite.",
                next_step="Look at the embedding server's log.",
            )
        found: Vectors = vectors / norms
        return found

    def _client(self) -> ModelClient:
        model = self._settings
        version = ModelVersion(
            name=self.name,
            sha256=model.sha256,
            form="endpoint",
            context_length=model.max_tokens,
            server_flags={},
            sampling=Sampling(),
        )
        return ModelClient(
            model.url,
            version,
            model.price,
            cache=None,
            in_flight=model.in_flight,
            timeout_s=model.timeout_s,
            attempts=model.attempts,
            stop_failure_rate=model.stop_failure_rate,
            api_key=self._key,
            model_name=model.served_name,
            meter=self.meter,
            backoff=self._backoff,
            budget=self._budget,
        )

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = load_tokenizer(self._path)
        tokenizer.no_truncation()
        return tokenizer
