"""How fast an embedding model was here the last time, kept beside its embedding cache."""

from math import isfinite
from pathlib import Path

from tasks.store import read_json, write_json

RATE = ".rate.json"
_FIELD = "tokens_per_second"


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
