"""Number of a look at a suite -> its level: how alpha is divided among all looks, past and future.

Every challenger that is tried on the same cases is another chance to be promoted by luck. So a
look gets only a share of the policy's alpha, and the shares of all looks have a finite sum.

- inverse_square: the chance that any useless challenger is ever promoted stays under alpha,
  however the looks depend on each other (Bonferroni).
- lord: LORD++; the expected share of useless ones among the promoted stays under alpha, and every
  promotion buys later looks more. That is proved for looks whose p-values are valid given the
  looks before; on cases that never change it holds only as far as they tell little about each
  other.
- none: every look at alpha; the chance of some lucky promotion goes to 1.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import fsum, pi
from typing import Literal

from pydantic import Field

from tasks.config import Settings

Spending = Literal["inverse_square", "lord", "none"]
Series = Callable[[int], float]

LORD_EXPONENT = 1.6
"""LORD++'s series falls as t^-1.6, the choice of Ramdas et al. 2018. In 100 simulated looks, 30 %
of them at real improvements that one test at .05 finds with power .8, it promotes .32 of these;
t^-2 does .22, Javanmard and Montanari's series .15. False among the promoted: .026, .025, .004."""


class Look(Settings):
    """One look at a suite, and what it may cost."""

    number: int = Field(ge=1)
    alpha: float = Field(gt=0, lt=1)
    """Level of this look's test."""
    recorded: bool
    """Whether a ledger holds it; else the number is the caller's word."""
    spent_before: float = Field(ge=0)
    """Sum of the levels of all earlier looks."""
    left: float | None = Field(ge=0)
    """Sum of the levels of all later looks, if none of them promotes; None: it has no limit."""


def alpha_of(rule: Spending, *, alpha: float, number: int, promotions: Sequence[int] = ()) -> float:
    """Level of one look.

    Args:
        rule: how alpha is divided.
        alpha: what all looks share.
        number: of the look, from 1.
        promotions: numbers of the looks that ended PROMOTE; only lord uses them, and only those
            before `number`.

    Raises:
        ValueError: a number below 1.

    References:
        A. Ramdas, F. Yang, M. Wainwright and M. Jordan, Online control of the false discovery rate
        with decaying memory, 2017.
    """
    if number < 1:
        raise ValueError(f"looks are counted from 1, found {number}")
    if rule == "none":
        return alpha
    if rule == "inverse_square":
        return alpha * _share(2.0, number)
    earlier = [at for at in promotions if at < number]
    return _lord(alpha, number, earlier, lambda at: _share(LORD_EXPONENT, at))


def alpha_after(
    rule: Spending, *, alpha: float, number: int, promotions: Sequence[int] = ()
) -> float | None:
    """Sum of the levels of all looks after one, if none of them promotes; None: without limit.

    Args:
        rule: how alpha is divided.
        alpha: what all looks share.
        number: of the last look that isn't counted; 0 for all of them.
        promotions: numbers of the looks that ended PROMOTE, this one included.
    """
    if rule == "none":
        return None
    if rule == "inverse_square":
        return alpha * _rest(2.0, number)
    so_far = [at for at in promotions if at <= number]
    return _lord(alpha, number, so_far, lambda at: _rest(LORD_EXPONENT, at))


def look_at(
    rule: Spending,
    *,
    alpha: float,
    number: int,
    promotions: Sequence[int] = (),
    spent_before: float | None = None,
    recorded: bool = False,
) -> Look:
    """Put together one look.

    Args:
        rule: how alpha is divided.
        alpha: what all looks share.
        number: of the look, from 1.
        promotions: numbers of the earlier looks that ended PROMOTE.
        spent_before: what a ledger says that they cost; None: what this rule gives them.
        recorded: whether a ledger holds this look.
    """
    if spent_before is None:
        spent_before = fsum(
            alpha_of(rule, alpha=alpha, number=earlier, promotions=promotions)
            for earlier in range(1, number)
        )
    return Look(
        number=number,
        alpha=alpha_of(rule, alpha=alpha, number=number, promotions=promotions),
        recorded=recorded,
        spent_before=spent_before,
        left=alpha_after(rule, alpha=alpha, number=number, promotions=promotions),
    )


def lord_plus_plus(
    series: Series, *, alpha: float, wealth: float, number: int, promotions: Sequence[int]
) -> float:
    """LORD++: the first look starts a series of levels, and every promotion starts another.

    wealth * s(t) + (alpha - wealth) * s(t - tau_1) + alpha * sum over j >= 2 of s(t - tau_j)

    Args:
        series: s: not negative, falling, with sum 1.
        alpha: the false discovery rate to keep under.
        wealth: the part of alpha that the first series has.
        number: t, of the look.
        promotions: tau, the numbers of the earlier looks that promoted.
    """
    started = sorted(promotions)
    return fsum(
        [
            wealth * series(number),
            *((alpha - wealth) * series(number - at) for at in started[:1]),
            *(alpha * series(number - at) for at in started[1:]),
        ]
    )


def _lord(alpha: float, number: int, promotions: Sequence[int], series: Series) -> float:
    return lord_plus_plus(
        series, alpha=alpha, wealth=alpha / 2, number=number, promotions=promotions
    )


def _share(exponent: float, number: int) -> float:
    """Term of the series number^-exponent with sum 1."""
    return float(number**-exponent) / _total(exponent)


def _rest(exponent: float, number: int) -> float:
    """What that series adds up to after a term."""
    from scipy.special import zeta

    return float(zeta(exponent, number + 1)) / _total(exponent)


@cache
def _total(exponent: float) -> float:
    from scipy.special import zeta

    return pi**2 / 6 if exponent == 2.0 else float(zeta(exponent))
