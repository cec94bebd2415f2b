"""Look -> how the alpha of a suite is divided: spent before, spent now, left."""

from dataclasses import dataclass

from tasks.gate.decision import GateDecision
from tasks.report import numbers

WIDTH = 600.0
"""Units of the bar's width."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the bar."""

    key: str
    label: str
    alpha: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class BudgetBar:
    """What all looks at one suite share."""

    number: int
    parts: tuple[Part, ...]
    limited: bool
    """Whether what is left has an end; without one there is nothing to draw."""
    recorded: bool


def budget_bar(decision: GateDecision) -> BudgetBar | None:
    """Divide the bar; None where no look was spent: a refresh, or a first release."""
    look = decision.look
    if look is None:
        return None
    pieces = [
        ("before", "earlier looks", look.spent_before),
        ("now", "this look", look.alpha),
        ("left", "left", look.left or 0.0),
    ]
    total = sum(alpha for _, _, alpha in pieces)
    parts, x = [], 0.0
    for key, label, alpha in pieces:
        width = WIDTH * alpha / total
        shown = "no limit" if key == "left" and look.left is None else numbers.significant(alpha)
        parts.append(Part(key, label, shown, x, width))
        x += width
    return BudgetBar(look.number, tuple(parts), look.left is not None, look.recorded)
