"""How fast an embedding model was here the last time, kept beside its embedding cache."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path

from tasks.store import read_json, write_json

RATE = ".rate.json"
_FIELD = "tokens_per_second"

TRIAL = 64
"""Texts by which a model is timed that was never timed here; so few aren't worth an estimate."""


def read_rate(directory: Path) -> float | None:
    """Tokens a second; None for a model that wasn't timed here.

    Args:
        directory: of the model's embedding cache.
    """
    found = read_json(directory / RATE)
    rate = found.get(_FIELD) if isinstance(found, dict) else None
    return rate if isinstance(rate, float) and isfinite(rate) and rate > 0 else None


def write_rate(directory: Path, rate: float) -> None:
    """Remember tokens a second."""
    write_json(directory / RATE, {_FIELD: rate})


class RateMeter:
    """Times batches of texts.

    The first one isn't counted: it loads the model.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: float | None = None
        self._ended = 0.0
        self._texts = 0

    def saw(self, texts: int) -> None:
        """Some texts more are embedded."""
        self._ended = self._clock()
        if self._began is None:
            self._began = self._ended
        else:
            self._texts += texts

    def remember(self, directory: Path, tokens: float) -> None:
        """Keep the rate, where there were enough texts for one.

        Args:
            directory: of the model's embedding cache.
            tokens: of a text, on average.
        """
        if self._began is not None and self._texts >= TRIAL - 1 and self._ended > self._began:
            write_rate(directory, self._texts * tokens / (self._ended - self._began))
