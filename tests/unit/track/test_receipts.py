import pytest

from tasks.track.receipts import read_receipt, waiting, write_receipt

HERE, THERE = "http://here", "http://there"


def finish(room, name):
    (room / name).mkdir()
    (room / name / "manifest.json").write_text("{}")
    return room / name


def test_a_receipt_counts_for_the_server_that_gave_it(tmp_path):
    write_receipt(tmp_path, tracking_uri=HERE, run_id="r1")
    assert read_receipt(tmp_path, tracking_uri=HERE) == "r1"
    assert read_receipt(tmp_path, tracking_uri=THERE) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_receipt_that_says_nothing_is_none(tmp_path, content):
    (tmp_path / "mlflow.json").write_text(content)
    assert read_receipt(tmp_path, tracking_uri=HERE) is None


def test_only_finished_things_without_a_receipt_are_waiting(tmp_path):
    done, waits, partial = (finish(tmp_path, name) for name in ("a", "b", ".c.partial"))
    (tmp_path / "unfinished").mkdir()
    write_receipt(done, tracking_uri=HERE, run_id="r1")
    assert waiting(tmp_path, "manifest.json", tracking_uri=HERE) == [waits]
    assert partial.is_dir()
