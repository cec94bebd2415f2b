import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.digest import text_digest
from tasks.errors import ScoresError
from tasks.gate.labels import (
    LabelTable,
    Scale,
    judged_answers,
    load_labels,
    save_labels,
    scale_of,
)
from tasks.gate.policy import MeasurePolicy
from tests.evaluations import make_log, make_release
from tests.unit.gate.labelled import AT, SCALES, SUITE, answers, label

ROW = {
    "suite_digest": SUITE,
    "answer_digest": text_digest("an answer"),
    "case_id": "q001",
    "measure": "accuracy",
    "value": 4,
    "labeller": "kim",
    "at": AT,
}


def write(tmp_path, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (tmp_path / "labels.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_labels_are_read_back_as_they_were_written(tmp_path):
    rows = [label(answer, 3.0, by="kim") for answer in answers("r", [1, 2, 3])]
    save_labels(rows, tmp_path / "a.jsonl")
    save_labels([label(answers("r", [1])[0], 2.5, by="lee")], tmp_path / "b.jsonl")
    found = load_labels(tmp_path, SCALES)
    assert found[:3] == tuple(rows)
    assert [(row.labeller, row.value) for row in found[3:]] == [("lee", 2.5)]


def test_without_a_directory_there_are_no_labels(tmp_path):
    assert load_labels(tmp_path / "none", SCALES) == ()


def test_blank_lines_are_allowed(tmp_path):
    assert len(load_labels(write(tmp_path, "", ROW, "  "), SCALES)) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": 6}, "accuracy is 6.0; 1 to 5 was expected"),
        ({"value": 0.5}, "accuracy is 0.5; 1 to 5 was expected"),
        ({"measure": "right", "value": 0.5}, "right is 0.5; 0 or 1 was expected"),
        ({"measure": "rouge"}, "measure is 'rouge'; people can label ['accuracy', 'right']"),
        ({"value": "4"}, "value: Input should be a valid number (found '4')"),
        ({"value": True}, "value: Input should be a valid number (found True)"),
        ({"value": None}, "value"),
        ({"mood": "good"}, "mood: Extra inputs are not permitted"),
        ({"labeller": " "}, "labeller"),
        ({"at": "yesterday"}, "at"),
        ({"at": "2026-11-24T09:00:00"}, "a time with its zone was expected"),
        ({"suite_digest": "abc"}, "suite_digest"),
        ({"answer_digest": None}, "give answer_digest or release_digest"),
    ],
)
def test_a_wrong_line_is_named_with_its_field_and_value(tmp_path, change, said):
    with pytest.raises(ScoresError, match=r"labels.jsonl:2") as caught:
        load_labels(write(tmp_path, {**ROW, "labeller": "lee"}, {**ROW, **change}), SCALES)
    assert said in caught.value.message
    assert "data/labels/README.md" in caught.value.next_step


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_value_that_is_no_number_is_refused(tmp_path, value):
    line = json.dumps(ROW).replace('"value": 4', f'"value": {value}')
    with pytest.raises(ScoresError, match="finite number"):
        load_labels(write(tmp_path, line), SCALES)


@pytest.mark.parametrize("line", ["[1]", "{", "nonsense"])
def test_a_line_that_is_no_object_is_named(tmp_path, line):
    with pytest.raises(ScoresError, match=r"labels.jsonl:1"):
        load_labels(write(tmp_path, line), SCALES)


def test_one_person_labels_a_measure_of_an_answer_once_in_all_files(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW) + "\n")
    (tmp_path / "b.jsonl").write_text("\n" + json.dumps({**ROW, "value": 2}) + "\n")
    with pytest.raises(ScoresError, match=r"b.jsonl:2.*a.jsonl:1 already"):
        load_labels(tmp_path, SCALES)


def test_all_wrong_lines_are_named_but_not_more_than_anybody_reads(tmp_path):
    rows = [{**ROW, "value": 9, "case_id": f"q{number}"} for number in range(25)]
    with pytest.raises(ScoresError, match="25 wrong label") as caught:
        load_labels(write(tmp_path, *rows), SCALES)
    assert "and 5 more" in caught.value.message
    assert len(caught.value.problems) == 25


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "labels.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ScoresError, match="UTF-8"):
        load_labels(tmp_path, SCALES)


def test_a_bounded_measure_has_five_steps_and_a_binary_one_two():
    rule = MeasurePolicy(kind="bounded", role="report", direction="higher", range=(1, 5))
    scale = scale_of(rule)
    assert scale is not None
    assert (scale.values, scale.keys, scale.whole) == (
        (1.0, 2.0, 3.0, 4.0, 5.0),
        ("1", "2", "3", "4", "5"),
        True,
    )
    part = scale_of(MeasurePolicy(kind="bounded", role="report", direction="higher"))
    assert part is not None
    assert (part.values, part.whole) == ((0.0, 0.25, 0.5, 0.75, 1.0), False)
    yes_no = scale_of(MeasurePolicy(kind="binary", role="report", direction="higher"))
    assert yes_no is not None
    assert (yes_no.values, yes_no.keys, yes_no.whole) == ((0.0, 1.0), ("0", "1"), True)
    assert scale_of(MeasurePolicy(kind="positive", role="report", direction="lower")) is None


@given(st.floats(1, 5))
def test_a_value_counts_as_the_nearest_step(value: float) -> None:
    scale = SCALES["accuracy"]
    found = scale.values[scale.nearest(value)]
    assert all(abs(found - value) <= abs(other - value) for other in scale.values)


def test_in_the_middle_of_two_steps_the_lower_one_counts():
    assert SCALES["accuracy"].nearest(3.5) == 2
    assert Scale(values=(0.0, 1.0)).nearest(0.5) == 0


def test_an_evaluation_gives_its_answers_with_what_the_judge_said():
    log = make_log(make_release(), cases=6, right=2, failed=1)
    found = judged_answers(log)
    # The case without an answer can't be labelled.
    assert [answer.case_id for answer in found] == [f"q{number:03d}" for number in range(5)]
    assert found[0].scores == {"rubric_accuracy": 5.0}
    assert found[4].scores == {"rubric_accuracy": 2.0}
    answer = log.results[0].answer
    assert answer is not None
    assert found[0].answer_digest == text_digest(answer.text)
    assert found[0].length == len(answer.text)
    assert found[0].release_digest == log.manifest.release_digest


def test_a_label_is_found_by_the_answers_text_or_by_its_release():
    first, second = answers("r", [1, 2])
    by_release = label(second, 5.0).model_copy(update={"answer_digest": None})
    table = LabelTable([label(first, 2.0), by_release], suite_digest=SUITE)
    assert table.mean(first, "accuracy") == 2.0
    assert table.mean(second, "accuracy") == 5.0
    assert table.mean(first, "right") is None


def test_several_people_are_averaged_and_labels_of_another_suite_are_left_out():
    [answer] = answers("r", [1])
    rows = [label(answer, 2.0), label(answer, 5.0, by="lee")]
    other = label(answer, 1.0, by="max", suite=text_digest("other"))
    table = LabelTable([*rows, other], suite_digest=SUITE)
    assert table.mean(answer, "accuracy") == 3.5
    assert table.values(answer, "accuracy") == {"kim": 2.0, "lee": 5.0}
    assert len(table.labels) == 2


def test_the_digest_of_labels_covers_what_was_said_and_not_the_order():
    rows = [label(answer, 2.0) for answer in answers("r", [1, 2])]
    digest = LabelTable(rows, suite_digest=SUITE).digest
    assert LabelTable(rows[::-1], suite_digest=SUITE).digest == digest
    changed = [rows[0], rows[1].model_copy(update={"value": 3.0})]
    assert LabelTable(changed, suite_digest=SUITE).digest != digest
