from tasks.track.traces import chosen_results
from tests.evaluations import make_log, make_release


def ids(results):
    return [result.case.case_id for result in results]


def test_failed_cases_come_first_then_the_worst_and_then_the_best():
    log = make_log(make_release(), cases=12, right=8, failed=1)
    chosen = ids(chosen_results(log, limit=5))
    assert chosen[0] == "q011"
    # 10 wasn't answered right and its passage wasn't found; 1 is right, 0 lacks its passage.
    assert chosen[1] == "q010"
    assert chosen[-1] == "q001"
    assert len(set(chosen)) == 5


def test_a_small_evaluation_is_shown_whole():
    log = make_log(make_release(), cases=3, right=2, failed=0)
    assert sorted(ids(chosen_results(log))) == ["q000", "q001", "q002"]
