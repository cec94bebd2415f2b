import json

from tasks.track.table import case_table, suite_lineage
from tests.evaluations import make_log, make_release


def test_the_table_has_a_row_a_case_and_a_column_a_measure():
    log = make_log(make_release(), cases=12, right=8, failed=1)
    table = case_table(log)
    assert {len(column) for column in table.values()} == {12}
    assert [name for name in table if name in {"answer_correct", "R@4", "token_f1"}]
    assert table["case_id"] == [case.case_id for case in log.cases]


def test_a_case_without_an_answer_has_its_reason_and_no_value():
    table = case_table(make_log(make_release(), cases=12, right=8, failed=1))
    assert table["answer"][-1] is None
    assert table["answer_correct"][-1] is None
    assert "token_f1: CallFailed: timed out after 4 s" in table["failures"][-1]
    assert table["failures"][0] is None


def test_the_table_is_plain_json():
    table = case_table(make_log(make_release()))
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_lineage_names_the_suite_by_its_digest():
    log = make_log(make_release())
    dataset = suite_lineage(log).dataset
    assert (dataset.name, dataset.digest) == ("stdlib", log.manifest.suite_digest[:12])
    assert json.loads(dataset.profile)["num_rows"] == 12
