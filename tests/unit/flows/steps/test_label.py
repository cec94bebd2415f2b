import json

import pytest

from flows.steps.label import (
    evaluated_pair,
    import_csv,
    label_scales,
    labels_directory,
    labels_of_pair,
    open_labelling,
    stored_draws,
    stored_labels,
)
from tasks.errors import BadInput, RegistryError, ScoresError
from tasks.gate.label_csv import label_sheet
from tests.unit.flows.evaluations import registered
from tests.unit.flows.labelling import MEASURE, judged, label_all, two_evaluations


@pytest.fixture
def pair(project, workspace):
    return two_evaluations(project, workspace)


def test_the_champions_newest_evaluation_is_paired_with_the_newest_other_one(workspace, pair):
    assert evaluated_pair(workspace) == pair
    later = judged(workspace, registered(workspace, 2), said="Later.")
    newest = judged(workspace, registered(workspace), said="Again.", right=31)
    assert evaluated_pair(workspace) == (newest, later)
    named = pair[1].manifest.release_label
    assert evaluated_pair(workspace, challenger=named)[1] == pair[1]
    assert evaluated_pair(workspace, champion=named)[0] == pair[1]


def test_an_evaluation_of_another_suite_is_no_partner(project, workspace, pair):
    judged(workspace, registered(workspace, 2), said="Later.", cases=20)
    assert evaluated_pair(workspace)[1] == pair[1]


def test_without_a_champion_or_a_partner_it_says_what_to_do(project, workspace):
    with pytest.raises(RegistryError, match="no champion"):
        evaluated_pair(workspace)
    alone = registered(workspace)
    with pytest.raises(BadInput, match="has no evaluation on this machine") as caught:
        evaluated_pair(workspace, champion=alone.digest)
    assert "ratchet evaluate" in caught.value.next_step
    judged(workspace, alone, said="Old.")
    with pytest.raises(BadInput, match="No release but the champion"):
        evaluated_pair(workspace, champion=alone.digest)
    other = registered(workspace, 1)
    with pytest.raises(BadInput, match=f"Release {other.digest[:12]} was evaluated .* not yet"):
        evaluated_pair(workspace, champion=alone.digest, challenger=other.digest)


def test_people_mark_what_the_policy_knows_except_what_has_no_end(workspace, pair):
    scales = label_scales(workspace)
    assert set(scales) == {"answer_correct", "token_f1", "R@4", "rubric_accuracy"}
    assert scales["rubric_accuracy"].whole


def test_the_draw_is_written_before_the_first_label(workspace, pair):
    work = open_labelling(workspace, *pair, labeller="kim")
    assert not work.path.exists()
    [recorded] = stored_draws(workspace).values()
    assert recorded == work.draw
    assert (recorded.who, len(recorded.cases)) == ("kim", 60)
    assert recorded.at
    assert work.measures == (MEASURE,)


def test_another_person_and_another_day_get_the_same_draw(workspace, pair):
    first = open_labelling(workspace, *pair, labeller="kim")
    again = open_labelling(workspace, *pair, labeller="lee")
    assert again.draw == first.draw
    assert again.path != first.path


def test_a_person_continues_where_she_stopped(workspace, pair):
    label_all(workspace, lambda score: score, cases=5)
    work = open_labelling(workspace, *pair, labeller="kim")
    done = [work.is_done(case) for case in work.draw.cases]
    assert done == [True] * 5 + [False] * 55
    assert len(stored_labels(workspace)) == 10
    other = open_labelling(workspace, *pair, labeller="lee")
    assert not any(other.is_done(case) for case in other.draw.cases)


def test_a_label_that_stands_in_another_file_is_not_asked_for_again(workspace, pair):
    label_all(workspace, lambda score: score, cases=5)
    [path] = labels_directory(workspace).glob("*.jsonl")
    path.rename(path.with_name("moved.jsonl"))
    work = open_labelling(workspace, *pair, labeller="kim")
    assert [work.is_done(case) for case in work.draw.cases[:6]] == [True] * 5 + [False]


@pytest.mark.parametrize("name", ["rouge", "latency_s"])
def test_a_measure_that_people_cannot_mark_is_refused(workspace, pair, name):
    with pytest.raises(BadInput, match=f"can't mark '{name}'") as caught:
        open_labelling(workspace, *pair, measures=[name])
    assert "rubric_accuracy" in caught.value.next_step
    assert not labels_directory(workspace).exists()


def test_the_labels_of_a_pair_are_its_random_sample(workspace, pair):
    assert labels_of_pair(workspace, *pair) == {}
    label_all(workspace, lambda score: score, cases=20)
    found = labels_of_pair(workspace, *pair)[MEASURE]
    assert len(found.differences) == 20
    assert len(found.frame) == 60
    # Of 60 cases the challenger wins 15: from 2 to 5 marks.
    assert set(found.differences.values()) <= {0.0, 3.0}
    assert found.first_unlabelled is not None
    other = judged(workspace, registered(workspace, 2), said="Another.")
    assert labels_of_pair(workspace, pair[0], other) == {}


@pytest.fixture
def sheet(workspace, pair, tmp_path):
    """A file of five cases, filled in."""
    work = open_labelling(workspace, *pair, labeller="kim")
    ids = [case.case_id for case in work.draw.cases[:5]]
    path = tmp_path / "answers.csv"
    text = label_sheet(work.draw, ids, work.shown, work.measures)
    path.write_text(text.replace(",\r\n", ",4\r\n"))
    return path


def test_a_filled_sheet_is_imported_and_again_changes_nothing(workspace, sheet):
    added, replaced, [path] = import_csv(workspace, sheet, labeller="kim")
    assert (added, replaced) == (10, 0)
    before = path.read_bytes()
    assert import_csv(workspace, sheet, labeller="kim") == (0, 0, (path,))
    assert path.read_bytes() == before
    assert {row.value for row in stored_labels(workspace)} == {4.0}


def test_a_corrected_sheet_replaces_what_it_corrects(workspace, sheet):
    import_csv(workspace, sheet, labeller="kim")
    sheet.write_text(sheet.read_text().replace(",4\n", ",2\n", 1))
    added, replaced, _ = import_csv(workspace, sheet, labeller="kim")
    assert (added, replaced) == (0, 1)
    assert sorted(row.value for row in stored_labels(workspace)) == [2.0] + [4.0] * 9


def test_a_label_of_another_file_is_not_imported_twice(workspace, sheet):
    _, _, [path] = import_csv(workspace, sheet, labeller="kim")
    path.rename(path.with_name("moved.jsonl"))
    with pytest.raises(ScoresError, match="in another file"):
        import_csv(workspace, sheet, labeller="kim")


def test_a_name_with_odd_characters_names_a_file_all_the_same(workspace, pair):
    work = open_labelling(workspace, *pair, labeller="../Kim Ö & co")
    assert work.path.parent == labels_directory(workspace)
    assert work.path.name.startswith("Kim-co-")
    assert open_labelling(workspace, *pair, labeller="/").path.name.startswith("somebody-")


def test_every_stored_line_is_a_label_with_its_draw(workspace, pair):
    label_all(workspace, lambda score: score, cases=1)
    [path] = labels_directory(workspace).glob("*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    [draw] = stored_draws(workspace)
    assert {row["draw"] for row in rows} == {draw}
    assert {row["labeller"] for row in rows} == {"kim"}
    assert all(row["at"].endswith("+00:00") for row in rows)
