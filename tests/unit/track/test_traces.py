from tasks.track.traces import chosen_results
from tests.evaluations import make_log, make_release


def ids(results):
    return [result.case.case_id for result in results]


def test_half_of_the_cases_are_the_same_in_every_run_of_a_suite():
    runs = [make_log(make_release(), cases=24, right=right, failed=right // 4) for right in (4, 20)]
    first, second = (ids(chosen_results(log, limit=6)) for log in runs)
    assert first[:3] == second[:3]
    assert len(set(first)) == len(set(second)) == 6


def test_the_other_half_is_what_failed_or_did_worst():
    log = make_log(make_release(), cases=24, right=20, failed=2)
    shown = ids(chosen_results(log, limit=12))
    assert {"q022", "q023"} <= set(shown[:8])
    # Wrong, and the passage wasn't found.
    assert "q020" in shown


def test_a_small_evaluation_is_shown_whole():
    log = make_log(make_release(), cases=3, right=2, failed=0)
    assert sorted(ids(chosen_results(log))) == ["q000", "q001", "q002"]
