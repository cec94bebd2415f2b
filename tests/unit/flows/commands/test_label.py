import csv
import json

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.commands.label import visible
from flows.steps.label import labels_directory, stored_draws, stored_labels
from tests.unit.flows.labelling import MEASURE, two_evaluations


@pytest.fixture
def pair(project, workspace):
    return two_evaluations(project, workspace)


def press(keys, *arguments):
    """`ratchet label` with these keys pressed one after the other; then the input ends."""
    return CliRunner().invoke(app, ["label", "--by", "kim", *arguments], input=keys)


def values(workspace):
    return [row.value for row in stored_labels(workspace)]


def test_each_answer_gets_the_mark_of_its_key(workspace, pair):
    shown = press("54" + "21", "--cases", "2")
    assert shown.exit_code == 0, shown.output
    assert values(workspace) == [5.0, 4.0, 2.0, 1.0]
    assert "2 of 2 cases are labelled by kim" in shown.stdout
    assert "ratchet judge calibrate" in shown.stdout
    draw = next(iter(stored_draws(workspace).values()))
    rows = stored_labels(workspace)
    assert [row.case_id for row in rows[::2]] == [case.case_id for case in draw.cases[:2]]
    for row, side in zip(rows[:2], draw.shown(draw.cases[0]), strict=True):
        assert (row.release_digest, row.answer_digest) == side


def test_q_stops_and_the_same_command_continues(workspace, pair):
    shown = press("54" + "2q", "--cases", "3")
    assert shown.exit_code == 0
    assert "1 of 3 cases are labelled" in shown.stdout
    # The case that was not finished is asked again from its start.
    assert values(workspace) == [5.0, 4.0]
    shown = press("33" + "22", "--cases", "3")
    assert "Case 2 of 3" in shown.stdout
    assert "Case 1 of 3" not in shown.stdout
    assert values(workspace) == [5.0, 4.0, 3.0, 3.0, 2.0, 2.0]
    assert "3 of 3 cases are labelled" in press("", "--cases", "3").stdout


def test_b_goes_back_to_the_case_before(workspace, pair):
    press("54" + "3b" + "12" + "33", "--cases", "2")
    assert sorted(values(workspace)) == [1.0, 2.0, 3.0, 3.0]


def test_other_keys_are_ignored(workspace, pair):
    press("x60 5\n4", "--cases", "1")
    assert values(workspace) == [5.0, 4.0]


def test_nobody_sees_which_release_gave_an_answer(workspace, pair):
    shown = press("", "--cases", "1").stdout
    for log in pair:
        assert log.manifest.release_label not in shown
        assert log.manifest.release_digest[:12] not in shown
    assert "Answer A" in shown
    assert "Answer B" in shown
    assert "Reference" in shown


def test_untrusted_text_is_shown_as_it_is_and_controls_nothing(workspace, pair):
    shown = press("", "--cases", "1").stdout
    assert "<script>alert(" in shown
    assert "New [bold]and[/] longer" in shown
    assert visible("a\x1b[31mb\x07\u202ec\td\ne") == "a\ufffd[31mb\ufffd\ufffdc\td\ne"
    assert visible("[red]") == r"\[red]"
    assert visible("") == "[dim](an empty answer)[/]"


def test_a_measure_of_yes_and_no_has_two_keys(workspace, pair):
    # The rubric was scored in both, so its cases can be marked on another measure too.
    shown = press("1" + "2" + "0" + "5" + "4", "--measure", "answer_correct", "--measure", MEASURE)
    assert "(0 to 1)" in shown.stdout
    assert sorted(values(workspace)) == [0.0, 1.0, 4.0, 5.0]


def test_a_sheet_is_written_filled_in_and_imported(ratchet, workspace, pair, tmp_path):
    path = tmp_path / "answers.csv"
    shown = ratchet("label", "--csv", str(path), "--cases", "3")
    assert shown.exit_code == 0
    assert "3 case(s) to label" in shown.stdout
    assert stored_draws(workspace)
    assert stored_labels(workspace) == ()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {MEASURE: "4"} for row in rows)
    shown = ratchet("label", "import", str(path), "--by", "kim", "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["added"] == 6
    assert values(workspace) == [4.0] * 6
    assert "0 label(s) added, 0 replaced" in ratchet(
        "label", "import", str(path), "--by", "kim"
    ).stdout.replace("\n", " ")


def test_a_sheet_never_overwrites_a_file(ratchet, workspace, pair, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("my labels")
    shown = ratchet("label", "--csv", str(path))
    assert shown.exit_code == 2
    assert "exists, and may hold labels" in shown.stderr
    assert path.read_text() == "my labels"


@pytest.mark.parametrize(
    "arguments",
    [
        ("label", "--measure", "rouge"),
        ("label", "--challenger", "nobody"),
        ("label", "import", "nowhere.csv"),
    ],
)
def test_bad_input_is_named_with_a_next_step(ratchet, workspace, pair, arguments):
    shown = ratchet(*arguments)
    assert shown.exit_code == 2
    assert "Next:" in shown.stderr
    assert "Traceback" not in shown.output
    assert not list(labels_directory(workspace).glob("*.jsonl"))


def test_before_the_first_run_there_is_nothing_to_label(ratchet, project):
    shown = ratchet("label")
    assert shown.exit_code == 2
    assert "There is no champion yet" in shown.stderr
