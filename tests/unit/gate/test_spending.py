from math import exp, fsum, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from tasks.gate.spending import alpha_after, alpha_of, look_at, lord_plus_plus

LOOKS = st.integers(1, 60)
PROMOTIONS = st.lists(LOOKS, unique=True, max_size=12)


def test_a_million_looks_by_inverse_squares_cost_less_than_alpha() -> None:
    numbers = range(1, 1_000_001)
    spent = fsum(alpha_of("inverse_square", alpha=0.05, number=number) for number in numbers)
    left = alpha_after("inverse_square", alpha=0.05, number=1_000_000)
    assert spent < 0.05
    assert left is not None
    assert spent + left == pytest.approx(0.05, rel=1e-12)


def test_the_first_looks_by_inverse_squares_are_the_textbook_ones() -> None:
    levels = [alpha_of("inverse_square", alpha=0.05, number=number) for number in (1, 2, 10)]
    expected = [0.05 * 6 / np.pi**2 / t**2 for t in (1, 2, 10)]
    assert levels == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("rejections", "levels"),
    [
        (
            (1, 6, 10),
            (
                "0.0002675839 0.0024664457 0.0005732818 0.0004872805 0.0004059066 0.0003447286 "
                "0.0029745013 0.0008450114 0.0007305648 0.0006243143 0.0032185913 0.0010617227 "
                "0.0009256825 0.0008019657 0.0007059610"
            ),
        ),
        (
            (1, 7, 9),
            (
                "0.0002675839 0.0024664457 0.0005732818 0.0004872805 0.0004059066 0.0003447286 "
                "0.0002986627 0.0029389397 0.0008168502 0.0033835974 0.0011873999 0.0010225858 "
                "0.0008785607 0.0007679398 0.0006820264"
            ),
        ),
    ],
)
def test_lord_plus_plus_gives_the_levels_that_onlinefdr_documents(
    rejections: tuple[int, ...], levels: str
) -> None:
    # The R package's documented examples: wealth alpha / 10, series of Javanmard and Montanari.
    def series(at: int) -> float:
        return 0.07720838 * log(max(at, 2)) / (at * exp(sqrt(log(at))))

    for number, level in enumerate(levels.split(), start=1):
        found = lord_plus_plus(
            series,
            alpha=0.05,
            wealth=0.005,
            number=number,
            promotions=[at for at in rejections if at < number],
        )
        assert found == pytest.approx(float(level), abs=6e-11)


@given(LOOKS, PROMOTIONS)
def test_lord_never_has_spent_more_than_alpha_for_each_promotion(
    number: int, promotions: list[int]
) -> None:
    spent = fsum(
        alpha_of("lord", alpha=0.05, number=at, promotions=promotions)
        for at in range(1, number + 1)
    )
    so_far = [at for at in promotions if at <= number]
    left = alpha_after("lord", alpha=0.05, number=number, promotions=promotions)
    assert left is not None
    # Wealth: half of alpha at first, the other half for the first promotion, alpha for the next.
    earned = 0.025 + 0.025 * bool(so_far) + 0.05 * max(len(so_far) - 1, 0)
    assert spent + left == pytest.approx(earned, rel=1e-9)


@given(LOOKS, PROMOTIONS)
def test_a_promotion_never_lowers_a_later_level_and_never_changes_an_earlier_one(
    number: int, promotions: list[int]
) -> None:
    without = alpha_of("lord", alpha=0.05, number=number, promotions=promotions)
    for added in {1, number - 1, number, number + 5} - {0, *promotions}:
        found = alpha_of("lord", alpha=0.05, number=number, promotions=[*promotions, added])
        assert found > without if added < number else found == without


def test_without_a_rule_every_look_has_all_of_alpha_and_nothing_runs_out() -> None:
    look = look_at("none", alpha=0.05, number=7)
    assert look.alpha == 0.05
    assert look.spent_before == pytest.approx(0.30)
    assert look.left is None


def test_a_look_says_what_was_spent_before_and_what_is_left() -> None:
    look = look_at("inverse_square", alpha=0.05, number=3)
    assert look.spent_before == pytest.approx(0.05 * 6 / np.pi**2 * (1 + 1 / 4))
    assert look.spent_before + look.alpha + (look.left or 0) == pytest.approx(0.05)
    assert not look.recorded
    told = look_at("inverse_square", alpha=0.05, number=3, spent_before=0.2, recorded=True)
    assert (told.spent_before, told.alpha) == (0.2, look.alpha)


@pytest.mark.parametrize("rule", ["inverse_square", "lord", "none"])
def test_looks_are_counted_from_one(rule: str) -> None:
    with pytest.raises(ValueError, match="counted from 1, found 0"):
        alpha_of(rule, alpha=0.05, number=0)


STREAMS, LENGTH = 1_000, 60


def false_share(rule: str) -> float:
    """Mean share of false promotions in streams of looks, 30 % of them at real improvements."""
    generator = np.random.default_rng(17)
    real = generator.random((STREAMS, LENGTH)) < 0.3
    # A real one is found with power .8 by a single test at .05.
    p_values = norm.sf(generator.normal(size=real.shape) + 2.49 * real)
    shares = []
    for truth, found in zip(real, p_values, strict=True):
        promotions: list[int] = []
        for number, p_value in enumerate(found, start=1):
            if p_value <= alpha_of(rule, alpha=0.05, number=number, promotions=promotions):
                promotions.append(number)
        false = sum(not truth[number - 1] for number in promotions)
        shares.append(false / max(len(promotions), 1))
    return float(np.mean(shares))


def test_lord_keeps_the_share_of_false_promotions_under_alpha_where_plain_tests_do_not() -> None:
    assert false_share("lord") <= 0.05
    assert false_share("none") > 0.1
