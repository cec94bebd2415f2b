"""Numbers -> text: the only place where anything is rounded."""

from math import exp, isclose

from tasks.gate.decision import Comparison

MINUS = "\N{MINUS SIGN}"
UNKNOWN = "not known"

_UNITS = {"latency_s": "s"}


def significant(value: float, digits: int = 3) -> str:
    """Round to significant digits, without an exponent: 0.000123, 1.84, 23.4, 1,240."""
    if value == 0:
        return "0"
    size = abs(value)
    places = 0
    while size < 10 ** (digits - 1) and places < 12:
        size *= 10
        places += 1
    text = f"{abs(value):,.{places}f}"
    return (MINUS if value < 0 else "") + text


def fixed(value: float, places: int) -> str:
    """Round to decimal places, with a real minus sign and no minus zero."""
    text = f"{abs(value):,.{places}f}"
    zero = not text.strip("0.,")
    return (MINUS if value < 0 and not zero else "") + text


def signed(value: float, places: int) -> str:
    """Like `fixed`, with a plus sign for gains."""
    text = fixed(value, places)
    return text if text.startswith(MINUS) or not text.strip("0.,") else f"+{text}"


def percent(share: float, places: int = 1) -> str:
    """A share as per cent."""
    return f"{fixed(share * 100, places)} %"


def p_value(value: float | None) -> str:
    """Three places; below them only the bound."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def money(value: float, currency: str) -> str:
    """Cents where there are some, else three significant digits."""
    text = "0" if value == 0 else f"{value:,.2f}" if value >= 1 else significant(value, 3)
    return f"{text} {currency}"


def duration(seconds: float) -> str:
    """Seconds, then minutes, then hours."""
    if seconds < 120:
        return f"{significant(seconds, 3)} s"
    if seconds < 7200:
        return f"{fixed(seconds / 60, 1)} min"
    return f"{fixed(seconds / 3600, 1)} h"


def count(value: int) -> str:
    """An integer with separators."""
    return f"{value:,}"


def plural(value: int, noun: str, many: str | None = None) -> str:
    """`1 case`, `2 cases`."""
    return f"{value:,} {noun if value == 1 else many or noun + 's'}"


def mean(row_kind: str, measure: str, value: float | None, *, currency: str = "") -> str:
    """A measure's mean in its own unit."""
    if value is None:
        return UNKNOWN
    if row_kind == "binary":
        return percent(value)
    if row_kind == "bounded":
        return fixed(value, 3)
    unit = currency if measure == "cost" else _UNITS.get(measure, "")
    return f"{significant(value)} {unit}".strip()


def natural(row: Comparison) -> tuple[float, float, float]:
    """Change, low and high end as challenger against champion: above 0 is more, not better.

    For a positive measure the relative change of the ratio: -0.08 is 8 % less.
    """
    values = (row.delta, row.ci_low, row.ci_high)
    if row.direction == "lower":
        values = (-row.delta, -row.ci_high, -row.ci_low)
    if row.kind == "positive":
        values = (exp(values[0]) - 1, exp(values[1]) - 1, exp(values[2]) - 1)
    return values


def change(row: Comparison) -> str:
    """The change of a measure in its own unit: `+4.6 points`, `+0.031`, `-8.0 %`."""
    value = natural(row)[0]
    return f"{_amount(row, value)}{_change_unit(row)}"


def interval(row: Comparison) -> str:
    """The interval of the change: `-1.2 to +10.4 points`."""
    _, low, high = natural(row)
    return f"{_amount(row, low)} to {_amount(row, high)}{_change_unit(row)}"


def threshold(row: Comparison) -> str:
    """What the change had to exceed, in the direction of the measure; empty without a vote."""
    if row.threshold is None:
        return ""
    bound = row.threshold if row.direction == "higher" else -row.threshold
    if row.kind == "positive":
        bound = exp(bound) - 1
    if isclose(bound, 0.0, abs_tol=1e-12):
        return "any gain"
    relation = "above" if row.direction == "higher" else "below"
    return f"{relation} {_amount(row, bound)}{_change_unit(row)}"


def _amount(row: Comparison, value: float) -> str:
    return signed(value, 3) if row.kind == "bounded" else signed(value * 100, 1)


def _change_unit(row: Comparison) -> str:
    return {"binary": " points", "bounded": "", "positive": " %"}[row.kind]
