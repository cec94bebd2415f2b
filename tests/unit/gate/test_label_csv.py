import csv
import io

import pytest

from tasks.errors import ScoresError
from tasks.gate.label_csv import SheetCase, label_sheet, load_csv
from tests.unit.gate.labelled import AT, SCALES, SUITE, answers, drawn


@pytest.fixture
def draw():
    return drawn(answers("old", [1.0] * 6), answers("new", [3.0] * 6))


@pytest.fixture
def sheet(draw):
    """Rows of a sheet of the whole draw, as dictionaries."""
    shown = {
        case.case_id: SheetCase(
            f'What, "exactly", is {case.case_id}?',
            "=1+1",
            {case.champion: "an old answer\nof two lines", case.challenger: "+new"},
        )
        for case in draw.cases
    }
    ids = [case.case_id for case in draw.cases]
    return list(csv.DictReader(io.StringIO(label_sheet(draw, ids, shown, ["accuracy", "right"]))))


def written(path, rows, encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def load(path, draw):
    return load_csv(path, draws={draw.digest: draw}, scales=SCALES, labeller="kim", at=AT)


def test_a_sheet_has_a_row_for_each_answer_in_the_draws_order(draw, sheet):
    assert [row["case_id"] for row in sheet] == [
        case.case_id for case in draw.cases for _ in range(2)
    ]
    assert [row["answer"] for row in sheet] == ["A", "B"] * 6
    first = draw.cases[0]
    assert sheet[0]["text"].lstrip("'") == (
        "+new" if draw.challenger_first(first.case_id) else "an old answer\nof two lines"
    )
    assert {row["accuracy"] for row in sheet} == {""}
    # Nobody must learn from the file whose answer it is.
    assert not {draw.champion_release, draw.challenger_release} & {
        cell for row in sheet for cell in row.values()
    }


def test_what_a_model_wrote_never_becomes_a_formula(sheet):
    assert {row["reference"] for row in sheet} == {"'=1+1"}
    assert {row["text"] for row in sheet} == {"'+new", "an old answer\nof two lines"}


def test_a_filled_sheet_gives_labels_of_the_right_answers(tmp_path, draw, sheet):
    for row in sheet[:4]:
        row["accuracy"] = "4" if row["text"] == "'+new" else "2"
    sheet[0]["right"] = "1"
    found = load(written(tmp_path / "a.csv", sheet), draw)
    assert len(found) == 5
    by_release = {(row.release_digest, row.value) for row in found if row.measure == "accuracy"}
    assert by_release == {(draw.challenger_release, 4.0), (draw.champion_release, 2.0)}
    cases = {case.case_id: case for case in draw.cases}
    for row in found:
        case = cases[row.case_id]
        new = row.release_digest == draw.challenger_release
        assert row.answer_digest == (case.challenger if new else case.champion)
        assert (row.labeller, row.at, row.draw, row.suite_digest) == ("kim", AT, draw.digest, SUITE)


def test_a_sheet_that_a_spreadsheet_saved_is_read_too(tmp_path, draw, sheet):
    sheet[0]["accuracy"] = " 3 "
    found = load(written(tmp_path / "a.csv", sheet, encoding="utf-8-sig"), draw)
    assert [row.value for row in found] == [3.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": "6"}, "accuracy is 6.0; 1 to 5 was expected"),
        ({"accuracy": "good"}, "value: Input should be a valid number (found 'good')"),
        ({"accuracy": "nan"}, "finite number"),
        ({"accuracy": "3", "case_id": "q999"}, "case 'q999' isn't in the draw"),
        ({"accuracy": "3", "answer": "C"}, "answer is 'C', expected one of ['A', 'B']"),
        ({"accuracy": "3", "draw": "abc"}, "draw 'abc' isn't recorded"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path, draw, sheet, change, said):
    two_lines = next(row for row in sheet if "\n" in row["text"])
    with pytest.raises(ScoresError, match=r"a.csv:4: ") as caught:
        load(written(tmp_path / "a.csv", [two_lines, sheet[0] | change, *sheet[1:]]), draw)
    assert said in caught.value.message


def test_the_same_answer_twice_is_refused(tmp_path, draw, sheet):
    sheet[0]["accuracy"] = "3"
    with pytest.raises(ScoresError, match="is labelled in line"):
        load(written(tmp_path / "a.csv", [sheet[0], sheet[0]]), draw)


def test_a_sheet_that_nobody_filled_in_has_no_labels(tmp_path, draw, sheet):
    with pytest.raises(ScoresError, match="has no label yet"):
        load(written(tmp_path / "a.csv", sheet), draw)


def test_labels_of_another_tool_have_the_fields_of_a_label_as_columns(tmp_path, draw):
    [answer] = answers("old", [1.0])
    row = {
        "suite_digest": SUITE,
        "answer_digest": answer.answer_digest,
        "release_digest": "",
        "case_id": "q000",
        "measure": "right",
        "value": "1",
        "labeller": "lee",
        "at": AT,
        "draw": "",
    }
    [found] = load(written(tmp_path / "a.csv", [row]), draw)
    assert (found.labeller, found.value, found.release_digest, found.draw) == ("lee", 1, None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("draw,case_id,answer,rouge\n", "unknown column(s) ['rouge']"),
        ("suite,value\n", "unknown column(s) ['suite']"),
        ("", "no label yet"),
        ("case_id,value\nq1\n", "a.csv:2: expected 2 columns"),
        ("case_id,value\nq1,1,2\n", "a.csv:2: expected 2 columns"),
        ("case_id,value\nq1,1\n", "a.csv:2"),
        ('case_id,value\n"q1"x,1\n', "can't be read"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, draw, text, said):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ScoresError) as caught:
        load(path, draw)
    assert said in caught.value.message
    assert caught.value.next_step


def test_a_file_that_is_missing_or_not_utf_8_is_refused(tmp_path, draw):
    with pytest.raises(ScoresError, match="can't be read"):
        load(tmp_path / "none.csv", draw)
    path = tmp_path / "a.csv"
    path.write_bytes(b"case_id,value\n\xff,1\n")
    with pytest.raises(ScoresError, match="can't be read"):
        load(path, draw)
