from typing import get_args

import pytest

from tasks.gate.decide import decide
from tasks.gate.decision import Check, CheckName
from tasks.gate.scores import from_log
from tasks.report.findings import CHECKS, STATUSES, findings


def found(shown, label: str):
    return next(row for row in findings(shown.decision) if row.label == label)


def test_every_check_that_the_gate_knows_has_a_name_and_a_question() -> None:
    assert set(CHECKS) == set(get_args(CheckName))
    assert len({label for label, _ in CHECKS.values()}) == len(CHECKS)


def test_checks_come_in_the_order_in_which_they_are_asked(plain) -> None:
    labels = [row.label for row in findings(plain.decision)]
    assert labels[:7] == [
        "Comparable",
        "Measures",
        "Failures",
        "Noise",
        "Sensitivity",
        "correct",
        "f1",
    ]
    assert len(labels) == len(plain.decision.checks) + 3
    assert labels[-1] == "Without a vote"


@pytest.mark.parametrize(
    ("status", "verdict", "shown"),
    [
        ("passed", "HOLD", "passed"),
        ("failed", "HOLD", "hold"),
        ("failed", "REJECT", "reject"),
        ("note", "HOLD", "note"),
        ("not_checked", "HOLD", "not_checked"),
    ],
)
def test_not_checked_is_neither_passed_nor_failed(promoted, status, verdict, shown) -> None:
    check = Check(name="judge", status=status, verdict=verdict, text="Said.", detail="kappa 0.3")
    (row,) = findings(promoted.decision.model_copy(update={"checks": (check,), "comparisons": ()}))
    assert (row.label, row.status, row.detail) == ("Judge", shown, "kappa 0.3")
    assert len(set(STATUSES.values())) == len(STATUSES)


def test_a_better_primary_is_said_in_counts_with_the_test_below(promoted) -> None:
    row = found(promoted, "correct")
    assert row.status == "passed"
    assert "From 25.0 % to 60.0 % (+35.0 points): 14 won, 0 lost, 26 tied." in row.text
    assert "looks this good by luck in fewer than 1 of 1,000 tries; 30.4 are allowed." in row.text
    assert row.detail.startswith("sign flip on clusters, one-sided: p < 0.001 at level 0.0304; ")
    assert row.detail.endswith("40 cases in 20 clusters.")


def test_an_unclear_primary_says_what_would_settle_it(held) -> None:
    row = found(held, "correct")
    assert row.status == "hold"
    assert "tries; only 30.4 are allowed." in row.text
    assert "2 of 40 cases lack a score and count against the challenger." in row.text
    assert "cases would settle it" in row.next_step


def test_a_guardrail_says_what_it_lost_for_certain(plain) -> None:
    row = found(plain, "f1")
    assert "the true change is above −0.088; it has to be above −0.200." in row.text


def test_a_guardrail_that_should_be_low_is_said_the_other_way_round(plain) -> None:
    measures = {
        name: rule.model_copy(update={"role": "guardrail", "margin": 0.25})
        if name == "tokens"
        else rule
        for name, rule in plain.policy.measures.items()
    }
    policy = plain.policy.model_copy(update={"measures": measures})
    decision = decide(plain.old, plain.new, policy)
    row = next(row for row in findings(decision) if row.label == "tokens")
    assert row.status == "reject"
    assert "(+138.4 %). It had to stay below +25.0 %: 80 cases lost, 0 won." in row.text
    back = decide(plain.new, plain.old, policy)
    row = next(row for row in findings(back) if row.label == "tokens")
    assert row.status == "passed"
    assert "the true change is below −" in row.text


def test_a_worse_primary_says_how_bad_it_looks(promoted) -> None:
    decision = decide(from_log(promoted.new), from_log(promoted.old), promoted.policy)
    row = next(row for row in findings(decision) if row.label == "correct")
    assert row.status == "reject"
    assert "A challenger that is no worse looks this bad by luck in fewer than 1" in row.text
    assert "of a loss: p < 0.001" in row.detail


def test_floors_of_a_first_release_are_checks_too(first) -> None:
    row = found(first, "correct")
    assert (row.status, row.text) == ("reject", "Mean 0.250; at least 0.300 is asked.")
    labels = [each.label for each in findings(first.decision)]
    assert labels.index("Floors") < labels.index("correct") < labels.index("Must-pass cases")
