"""Numbers -> text: the only place where anything is rounded."""

from math import exp, floor, isclose, log10
from typing import Literal

from tasks.gate.decision import Comparison
from tasks.gate.policy import Kind

Direction = Literal["higher", "lower"]

MINUS = "\N{MINUS SIGN}"
UNKNOWN = "not known"

_UNITS = {"latency_s": "s"}
_UNIT_OF_CHANGE: dict[Kind, str] = {"binary": " points", "bounded": "", "positive": " %"}


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


def mean(kind: Kind, measure: str, value: float | None, *, currency: str = "") -> str:
    """A measure's mean in its own unit."""
    if value is None:
        return UNKNOWN
    if kind == "binary":
        return percent(value)
    if kind == "bounded":
        return fixed(value, 3)
    unit = currency if measure == "cost" else _UNITS.get(measure, "")
    return f"{significant(value)} {unit}".strip()


def score(kind: Kind, measure: str, value: float | None) -> str:
    """One case's value: pass or fail, unless it was asked several times."""
    if kind == "binary" and value in (0.0, 1.0):
        return "pass" if value else "fail"
    return "–" if value is None else mean(kind, measure, value)


def natural(kind: Kind, direction: Direction, improvement: float) -> float:
    """An improvement as challenger against champion: above 0 is more, not better.

    For a positive measure the relative change of the ratio: -0.08 is 8 % less.
    """
    value = improvement if direction == "higher" else -improvement
    return exp(value) - 1 if kind == "positive" else value


def amount(kind: Kind, direction: Direction, improvement: float) -> str:
    """An improvement in the measure's own unit and direction: `+4.6 points`, `-8.0 %`."""
    return _plain(kind, natural(kind, direction, improvement)) + _UNIT_OF_CHANGE[kind]


def between(kind: Kind, direction: Direction, low: float, high: float) -> str:
    """Bounds of an improvement, the smaller one first: `-1.2 to +10.4 points`."""
    ends = sorted(natural(kind, direction, end) for end in (low, high))
    return f"{_plain(kind, ends[0])} to {_plain(kind, ends[1])}{_UNIT_OF_CHANGE[kind]}"


def change(row: Comparison) -> str:
    """The change of a measure in its own unit: `+4.6 points`, `+0.031`, `-8.0 %`."""
    return amount(row.kind, row.direction, row.delta)


def interval(row: Comparison) -> str:
    """The interval of the change: `-1.2 to +10.4 points`."""
    return between(row.kind, row.direction, row.ci_low, row.ci_high)


def threshold(row: Comparison) -> str:
    """What the change had to exceed, in the direction of the measure; empty without a vote."""
    if row.threshold is None:
        return ""
    if isclose(row.threshold, 0.0, abs_tol=1e-12):
        return "any gain"
    relation = "above" if row.direction == "higher" else "below"
    return f"{relation} {amount(row.kind, row.direction, row.threshold)}"


def level(alpha: float) -> str:
    """Level of a test: `0.05`, `0.00338`."""
    return significant(alpha).rstrip("0")


def certainty(error: float) -> str:
    """How sure a statement is that is wrong in this share of cases: 0.05 is `95 %`."""
    # Digits for what is left to 100 %: a late look has a small level, and 100 % would be a lie.
    places = max(0, 1 - floor(log10(error * 100)))
    text = fixed((1 - error) * 100, places)
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def chances(p: float, level: float) -> tuple[str, str]:
    """A p-value and its limit as counts of equally many tries: `4 of 1,000`, `30.4`."""
    tries = 1000
    while level * tries < 5:
        tries *= 10
    seen = f"{p * tries:,.3g}" if 1 <= p * tries < 999.5 else _few_or_all(p, tries)
    return f"{seen} of {tries:,}", f"{level * tries:.3g}"


def _few_or_all(p: float, tries: int) -> str:
    return "fewer than 1" if p * tries < 1 else count(round(p * tries))


def _plain(kind: Kind, value: float) -> str:
    return signed(value, 3) if kind == "bounded" else signed(value * 100, 1)
