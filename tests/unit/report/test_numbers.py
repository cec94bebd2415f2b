import pytest

from tasks.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.000123456, "0.000123"),
        (1.8449, "1.84"),
        (23.44, "23.4"),
        (1240.4, "1,240"),
        (-2.5, "−2.50"),
    ],
)
def test_significant_digits_without_an_exponent(value: float, text: str) -> None:
    assert numbers.significant(value) == text


def test_there_is_no_minus_zero_and_no_p_of_zero() -> None:
    assert numbers.signed(-0.0001, 3) == "0.000"
    assert numbers.signed(0.0125, 3) in ("+0.012", "+0.013")
    assert numbers.p_value(0.0000001) == "< 0.001"
    assert numbers.p_value(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.500 s"), (95, "95.0 s"), (600, "10.0 min"), (8000, "2.2 h")]
)
def test_durations_have_fitting_units(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


def test_change_is_in_the_measures_own_direction_and_unit(promoted) -> None:
    correct = promoted.decision.comparison("correct")
    tokens = promoted.decision.comparison("tokens").model_copy(
        update={"delta": -0.6931471805599453, "ci_low": -0.7, "ci_high": -0.6}
    )
    assert numbers.change(correct) == "+35.0 points"
    # Twice the tokens is worse for a measure that should be low, and still 100 % more.
    assert numbers.change(tokens) == "+100.0 %"
    assert numbers.interval(tokens) == "+82.2 to +101.4 %"
    assert numbers.mean("positive", "latency_s", 1.5) == "1.50 s"
    assert numbers.mean("positive", "cost", 0.002, currency="EUR") == "0.00200 EUR"
    assert numbers.mean("binary", "correct", None) == "not known"


def test_an_improvement_is_said_in_the_measures_own_direction() -> None:
    assert numbers.amount("bounded", "lower", 0.25) == "−0.250"
    assert numbers.between("bounded", "lower", -0.1, 0.25) == "−0.250 to +0.100"
    assert numbers.between("binary", "higher", -0.1, 0.25) == "−10.0 to +25.0 points"


def test_a_single_case_passes_or_fails_unless_it_was_asked_several_times() -> None:
    assert numbers.score("binary", "correct", 1.0) == "pass"
    assert numbers.score("binary", "correct", 0.0) == "fail"
    assert numbers.score("binary", "correct", 0.5) == "50.0 %"
    assert numbers.score("bounded", "f1", 1.0) == "1.000"
    assert numbers.score("positive", "latency_s", None) == "–"


@pytest.mark.parametrize(
    ("error", "text"), [(0.05, "95 %"), (0.1, "90 %"), (0.0304, "97 %"), (0.00122, "99.88 %")]
)
def test_certainty_never_reads_as_complete(error: float, text: str) -> None:
    assert numbers.certainty(error) == text
    assert numbers.certainty(1e-6) == "99.9999 %"


@pytest.mark.parametrize(
    ("p", "level", "texts"),
    [
        (0.004, 0.05, ("4 of 1,000", "50")),
        (1e-9, 0.0304, ("fewer than 1 of 1,000", "30.4")),
        (0.0009, 0.00084, ("9 of 10,000", "8.4")),
        (0.712, 0.05, ("712 of 1,000", "50")),
        (1.0, 0.05, ("1,000 of 1,000", "50")),
    ],
)
def test_a_p_value_and_its_limit_count_the_same_tries(p, level, texts) -> None:
    assert numbers.chances(p, level) == texts
