from pathlib import Path

import pytest

from tasks.errors import BudgetSpent
from tasks.serve.budget import Budget, Budgets


def budget(path: Path, run: float | None = None, month: float | None = None) -> Budget:
    return Budget(path / "spending.json", run=run, month=month, currency="USD")


def test_a_run_stops_when_its_budget_is_spent_and_another_run_has_its_own(tmp_path):
    first = budget(tmp_path, run=1.0)
    first.check("judge")
    first.add(1.0)
    with pytest.raises(BudgetSpent, match="of this run is spent: 1 of 1 USD") as caught:
        first.check("judge")
    assert "budget.run" in caught.value.next_step
    first.save()
    budget(tmp_path, run=1.0).check("judge")


def test_runs_share_the_month(tmp_path):
    for _ in range(2):
        run = budget(tmp_path, month=1.0)
        run.check("judge")
        run.add(0.5)
        run.save()
    with pytest.raises(BudgetSpent, match="of this month"):
        budget(tmp_path, month=1.0).check("judge")


def test_a_run_that_lasts_into_the_next_month_has_that_months_budget(tmp_path, monkeypatch):
    run = budget(tmp_path, month=1.0)
    run.add(1.0)
    with pytest.raises(BudgetSpent, match="of this month"):
        run.check("ask")
    monkeypatch.setattr("tasks.serve.budget._month", lambda: "2999-01")
    run.check("ask")


def test_two_runs_at_once_lose_nothing(tmp_path):
    one, other = budget(tmp_path, month=9.0), budget(tmp_path, month=9.0)
    for run in (one, other, one):
        run.add(1.0)
        run.save()
    late = budget(tmp_path, month=3.0)
    with pytest.raises(BudgetSpent):
        late.check("judge")


def test_what_costs_nothing_or_nobody_knows_is_not_written(tmp_path):
    run = budget(tmp_path, run=1.0)
    run.add(None)
    run.add(0.0)
    run.save()
    assert list(tmp_path.iterdir()) == []


def test_without_limits_nothing_is_refused(tmp_path):
    run = budget(tmp_path)
    run.add(1e9)
    run.check("judge")


def test_all_doors_of_a_run_pay_from_one_budget_a_currency(tmp_path):
    path, run = tmp_path / "spending.json", Budgets()
    answers, judge = (run.of(path, run=1.0, month=None, currency="USD") for _ in range(2))
    answers.add(0.6)
    judge.check("judge")
    judge.add(0.4)
    with pytest.raises(BudgetSpent, match="of this run"):
        answers.check("answer")
    run.of(path, run=1.0, month=None, currency="EUR").check("judge")
    assert run.spent == {"USD": 1.0}
