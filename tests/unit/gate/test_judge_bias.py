import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binomtest

from tasks.errors import ScoresError
from tasks.gate.judge_bias import PairwiseVerdict, position_consistency, verbosity_slope


def made(n, *, slope, seed=0):
    generator = np.random.default_rng(seed)
    people = generator.integers(1, 6, n).astype(float)
    lengths = generator.integers(20, 2000, n)
    noise = generator.normal(0, 0.5, n)
    judge = 0.5 + 0.8 * people + slope * np.log2(1 + lengths) + noise
    return judge.tolist(), people.tolist(), lengths.tolist()


def test_a_judge_that_pays_for_length_is_found_and_by_how_much():
    found = verbosity_slope(*made(400, slope=0.3))
    assert found is not None
    assert found.low < 0.3 < found.high
    assert found.low > 0.2


def test_length_that_comes_with_quality_is_no_bias():
    generator = np.random.default_rng(1)
    people = generator.integers(1, 6, 300).astype(float)
    lengths = (50 * people + generator.integers(0, 60, 300)).astype(int)
    judge = people + generator.normal(0, 0.3, 300)
    found = verbosity_slope(judge.tolist(), people.tolist(), lengths.tolist())
    assert found is not None
    assert found.low < 0 < found.high


def test_slope_and_interval_are_those_of_statsmodels():
    judge, people, lengths = made(60, slope=0.1)
    clusters = [place // 4 for place in range(60)]
    found = verbosity_slope(judge, people, lengths, clusters=clusters)
    design = np.column_stack([np.ones(60), people, np.log2(1 + np.array(lengths))])
    fit = sm.OLS(np.array(judge), design).fit(
        cov_type="cluster", cov_kwds={"groups": np.array(clusters)}, use_t=True
    )
    assert found is not None
    assert found.value == pytest.approx(fit.params[2], abs=1e-10)
    low, high = fit.conf_int()[2]
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-10)


def test_people_who_say_the_same_of_all_leave_the_length_alone():
    judge, _, lengths = made(50, slope=0.3)
    found = verbosity_slope(judge, [3.0] * 50, lengths)
    assert found is not None
    fit = sm.OLS(np.array(judge), sm.add_constant(np.log2(1 + np.array(lengths)))).fit()
    assert found.value == pytest.approx(fit.params[1])


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_answers_have_no_slope(n):
    judge, people, lengths = made(10, slope=0.1)
    assert verbosity_slope(judge[:n], people[:n], lengths[:n]) is None


def test_answers_of_one_length_have_no_slope():
    judge, people, _ = made(30, slope=0.1)
    assert verbosity_slope(judge, people, [100] * 30) is None


def test_length_that_only_repeats_what_people_say_has_no_slope():
    lengths = [2**mark - 1 for mark in (1, 2, 3, 4, 5)] * 6
    people = [1.0, 2.0, 3.0, 4.0, 5.0] * 6
    assert verbosity_slope(people, people, lengths) is None


def verdicts(*pairs):
    return [
        PairwiseVerdict(case_id=f"q{number}", order=order, winner=winner)
        for number, pair in enumerate(pairs)
        for order, winner in zip(("AB", "BA"), pair, strict=True)
    ]


def test_a_verdict_that_follows_the_answer_is_consistent_and_one_that_follows_the_place_is_not():
    found = position_consistency(verdicts(*[("A", "A")] * 6, ("tie", "tie"), *[("A", "B")] * 3))
    assert found is not None
    assert (found.n, found.share.value) == (10, 0.7)
    exact = binomtest(7, 10).proportion_ci(0.95, method="exact")
    assert (found.share.low, found.share.high) == pytest.approx((exact.low, exact.high))


def test_a_case_that_was_shown_in_one_order_alone_says_nothing():
    assert position_consistency(verdicts(("A", "A"))[:1]) is None
    assert position_consistency([]) is None
    found = position_consistency(verdicts(("A", "A"), ("B", "B"))[:3])
    assert found is not None
    assert found.n == 1


def test_two_verdicts_in_the_same_order_are_refused():
    with pytest.raises(ScoresError, match="'q0' has two verdicts in the order AB"):
        position_consistency(verdicts(("A", "A"))[:1] * 2)
