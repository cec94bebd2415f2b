from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param

from tasks.evaluate.measures.base import Score
from tasks.track.metrics import mean_scores, metric_name, run_metrics, run_params
from tests.evaluations import make_log, make_release


@pytest.mark.parametrize(
    ("measure", "name"),
    [
        ("answer_correct", "answer_correct"),
        ("R@5", "R_at_5"),
        ("nDCG@10", "nDCG_at_10"),
        ("latency (p95) %", "latency _p95_ _percent"),
        ("../../etc/passwd", "etc/passwd"),
        ("//", "unnamed"),
    ],
)
def test_a_measure_keeps_a_readable_name(measure, name):
    assert metric_name(measure) == name


@given(st.text(max_size=40))
def test_every_name_becomes_one_that_mlflow_takes(name):
    _validate_metric_name(metric_name(name))


def test_every_mean_is_over_the_cases_that_have_a_value():
    log = make_log(make_release(), cases=12, right=8, failed=2)
    summary = {score.measure: score for score in mean_scores(log)}
    assert summary["answer_correct"].mean == 8 / 10
    assert (summary["answer_correct"].n, summary["answer_correct"].failed) == (10, 2)
    assert summary["R@4"].n == 12


def test_an_interval_holds_its_mean_and_stays_within_what_is_possible():
    for right in (0, 5, 12):
        for score in mean_scores(make_log(make_release(), cases=12, right=right, failed=0)):
            assert score.ci_low <= score.mean <= score.ci_high
            if score.measure in {"answer_correct", "token_f1", "R@4"}:
                assert score.ci_low >= 0
                assert score.ci_high <= 1


def test_an_interval_stays_honest_when_all_cases_agree():
    summary = {
        score.measure: score
        for score in mean_scores(make_log(make_release(), cases=12, right=12, failed=0))
    }
    assert summary["answer_correct"].mean == 1.0
    assert summary["answer_correct"].ci_low < 0.7


def test_a_single_cluster_has_no_interval_and_a_measure_without_values_no_mean():
    log = make_log(make_release(), cases=1, right=1, failed=0)
    assert {score.ci_low for score in mean_scores(log)} == {None}
    metrics = run_metrics(log, mean_scores(log))
    assert not [name for name in metrics if name.startswith("ci/")]
    empty = replace(log, scores=(Score("q000", "R@4", 1.0),))
    assert [score.measure for score in mean_scores(empty)] == ["R@4"]


def test_a_run_shows_failures_cost_and_tokens_beside_its_means():
    log = make_log(make_release(), cases=12, right=8, failed=2)
    metrics = run_metrics(log, mean_scores(log))
    assert metrics["run/cases"] == 12
    assert metrics["failures/answer_correct"] == 2
    assert metrics["failures/R_at_4"] == 0
    assert metrics["cost/total"] == pytest.approx(metrics["cost/answer"] + metrics["cost/judge"])
    assert metrics["tokens/answer_in"] == 900 * 12
    assert metrics["machine_s/total"] == metrics["machine_s/answer"] == 12.0
    assert "machine_s/judge" not in metrics
    assert next(iter(metrics)) == "answer_correct"


def test_parameters_name_every_part_of_the_release():
    release = make_release(top_k=7)
    params = run_params(make_log(release), release)
    assert params["top_k"] == "7"
    assert params["release"] == release.digest[:12]
    assert params["git_dirty"] == "no"
    for name, value in params.items():
        _validate_param(name, value)


def test_what_git_did_not_say_is_unknown():
    release = make_release()
    log = make_log(release)
    manifest = log.manifest.model_copy(update={"git_commit": None, "git_dirty": None})
    params = run_params(replace(log, manifest=manifest), release)
    assert (params["git_commit"], params["git_dirty"]) == ("unknown", "unknown")
