import pytest

from tasks.gate.spending import look_at
from tasks.report.budget import WIDTH, budget_bar


def test_the_bar_is_all_that_looks_share(plain) -> None:
    bar = budget_bar(plain.decision)
    look = plain.decision.look
    assert bar.number == 3
    assert [part.key for part in bar.parts] == ["before", "now", "left"]
    assert sum(part.width for part in bar.parts) == pytest.approx(WIDTH)
    before, now, left = bar.parts
    assert before.width / WIDTH == pytest.approx(look.spent_before / plain.policy.alpha)
    assert (now.x, left.x) == (pytest.approx(before.width), pytest.approx(WIDTH - left.width))
    assert not bar.recorded


def test_without_a_limit_nothing_is_drawn(plain) -> None:
    look = look_at("none", alpha=0.05, number=2, recorded=True)
    bar = budget_bar(plain.decision.model_copy(update={"look": look}))
    assert not bar.limited
    assert bar.recorded
    assert bar.parts[-1].alpha == "no limit"


def test_a_first_release_spends_nothing(first) -> None:
    assert budget_bar(first.decision) is None
