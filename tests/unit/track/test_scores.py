from tasks.track.scores import split


def test_a_table_is_written_row_by_row_as_mlflow_reads_it():
    table = {"case_id": ["q1", "q2"], "token_f1": [0.5, None]}
    assert split(table) == {
        "columns": ["case_id", "token_f1"],
        "data": [["q1", 0.5], ["q2", None]],
    }
