"""A latency probe -> its rows for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.report import numbers
from tasks.serve.latency import LatencyReport, Quantile

_TIMES = (
    ("first_token_s", "first token"),
    ("per_token_s", "each further token"),
    ("total_s", "whole answer"),
)


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One kind of time of one side."""

    side: str
    what: str
    quantiles: tuple[str, str, str]
    """Median, 95 % and 99 %, each with its interval."""
    n: int
    failures: int


def latency_rows(found: LatencyReport) -> tuple[LatencyRow, ...]:
    """By kind of time, then by side, so that what is compared stands together."""
    return tuple(
        LatencyRow(name, words, _cells(getattr(side, field)), side.requests, side.failures)
        for field, words in _TIMES
        for name, side in found.sides.items()
    )


def _cells(values: Sequence[Quantile]) -> tuple[str, str, str]:
    if not values:
        return (numbers.UNKNOWN,) * 3
    median, high, highest = (_cell(each) for each in values)
    return median, high, highest


def _cell(value: Quantile) -> str:
    # Too few requests can't bound it: then no time is too short, or too long.
    low = "0" if value.low is None else numbers.duration(value.low)
    high = "∞" if value.high is None else numbers.duration(value.high)
    return f"{numbers.duration(value.value)} [{low}, {high}]"
