"""Comparisons -> positions of a forest plot: one row a measure, better to the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, floor, log, log10

from tasks.gate.decision import Comparison
from tasks.gate.policy import GatePolicy
from tasks.report import numbers

WIDTH = 260.0
"""Units of the drawing's width."""

_EDGE = 14.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One measure's drawing, in units from the left edge."""

    low: float
    high: float
    point: float | None
    """None: beyond the axis."""
    cut_low: bool
    """Whether the interval goes on beyond the axis."""
    cut_high: bool
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position of the axis."""

    x: float
    label: str
    zero: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Measures that share an axis."""

    title: str
    rows: tuple[tuple[Comparison, Mark], ...]
    ticks: tuple[Tick, ...]
    zero: float


def panels(comparisons: Sequence[Comparison], policy: GatePolicy) -> tuple[Panel, ...]:
    """Scores on an axis of points of their range, amounts on an axis of ratios."""
    scores = [row for row in comparisons if row.kind != "positive"]
    amounts = [row for row in comparisons if row.kind == "positive"]
    made = []
    if scores:
        spans = [_span(row, policy) for row in scores]
        made.append(_panel("Quality: points of 100", scores, spans, ratio=False))
    if amounts:
        made.append(
            _panel("Effort: times better or worse", amounts, [1.0] * len(amounts), ratio=True)
        )
    return tuple(made)


def _span(row: Comparison, policy: GatePolicy) -> float:
    low, high = policy.measures[row.measure].range
    return high - low


def _panel(title: str, rows: Sequence[Comparison], spans: Sequence[float], *, ratio: bool) -> Panel:
    values = [
        abs(value) / span
        for row, span in zip(rows, spans, strict=True)
        for value in (row.delta, row.ci_low, row.ci_high, row.threshold or 0.0)
        # A measure of few cases without a vote must not flatten all others: it is cut and marked.
        if row.role != "report" or not any(row.role != "report" for row in rows)
    ]
    reach = min(max(values, default=0.0), log(8.0) if ratio else 1.0) * 1.08
    reach = max(reach, 0.1 if ratio else 0.05)

    def place(value: float) -> float:
        share = (min(max(value, -reach), reach) + reach) / (2 * reach)
        return _EDGE + share * (WIDTH - 2 * _EDGE)

    marks = tuple(
        (
            row,
            Mark(
                low=place(row.ci_low / span),
                high=place(row.ci_high / span),
                point=place(row.delta / span) if abs(row.delta / span) <= reach else None,
                cut_low=row.ci_low / span < -reach,
                cut_high=row.ci_high / span > reach,
                threshold=None if row.threshold is None else place(row.threshold / span),
            ),
        )
        for row, span in zip(rows, spans, strict=True)
    )
    steps = _ratio_ticks(reach) if ratio else _point_ticks(reach)
    ticks = tuple(Tick(place(value), label, value == 0.0) for value, label in steps)
    return Panel(title=title, rows=marks, ticks=ticks, zero=place(0.0))


def _point_ticks(reach: float) -> list[tuple[float, str]]:
    step = _nice(reach / 1.5)
    places = max(0, -floor(log10(step * 100)))
    count = int(reach / step + 1e-9)
    return [
        (i * step, numbers.signed(i * step * 100, places) if i else "0")
        for i in range(-count, count + 1)
    ]


def _ratio_ticks(reach: float) -> list[tuple[float, str]]:
    # Better to the right: the label is how much better, as a factor.
    step = _nice((exp(reach) - 1) / 1.5)
    count = max(1, int((exp(reach) - 1) / step + 1e-9))
    places = max(0, -floor(log10(step)))
    right = [
        (log(1 + i * step), f"×{numbers.fixed(1 + i * step, places)}") for i in range(1, count + 1)
    ]
    left = [(-gain, label) for gain, label in reversed(right)]
    return [*left, (0.0, "×1"), *right]


def _nice(rough: float) -> float:
    """The largest of 1, 2, 5, 10, 20, ... that isn't above."""
    power = 10.0 ** floor(log10(rough))
    return next(m * power for m in (5.0, 2.0, 1.0) if m * power <= rough * 1.001)
