import json
from collections import Counter
from dataclasses import replace

import pytest

from tasks.digest import text_digest
from tasks.errors import CorruptArtifact, ScoresError
from tasks.gate.draws import (
    draw_cases,
    load_draw,
    load_draws,
    paired_labels,
    record_draw,
    sampled_answers,
)
from tasks.gate.labels import LabelTable
from tests.unit.gate.labelled import SUITE, answers, drawn, label


@pytest.fixture
def old():
    return answers("old", [1.0] * 40)


@pytest.fixture
def new():
    return answers("new", [3.0] * 40)


def labelled(draw, old, new, count, *, skip=(), measure="accuracy"):
    """Labels of the first cases of a draw: 2 for the old answer, 4 for the new one."""
    sides = [{answer.case_id: answer for answer in side} for side in (old, new)]
    return [
        label(side[case.case_id], value, draw=draw, measure=measure)
        for place, case in enumerate(draw.cases[:count])
        if place not in skip
        for side, value in zip(sides, (2.0, 4.0), strict=True)
    ]


def test_a_draw_is_a_shuffled_frame_of_what_the_judge_scored_on_both_sides(old, new):
    new[3] = replace(new[3], scores={})
    draw = drawn(old, new[:-1])
    ids = [case.case_id for case in draw.cases]
    assert sorted(ids) == [f"q{number:03d}" for number in range(39) if number != 3]
    assert ids != sorted(ids)
    assert drawn(old, new[:-1]).digest == draw.digest
    assert drawn(old, new[:-1], seed=1).digest != draw.digest


def test_every_case_is_equally_likely_to_come_first(old, new):
    first = Counter(drawn(old, new, seed=seed).cases[0].case_id for seed in range(2000))
    # 40 cases, 50 expected each: five standard deviations are 35.
    assert len(first) == 40
    assert max(abs(count - 50) for count in first.values()) < 35


def test_without_a_judged_case_nothing_can_be_drawn(old, new):
    with pytest.raises(ScoresError, match="of no case in both") as caught:
        draw_cases(old, new, suite_digest=SUITE, measures=["clarity"], seed=0)
    assert "judge.sample" in caught.value.next_step


def test_neither_side_is_always_answer_a_and_nothing_but_the_draw_decides(old, new):
    draw = drawn(old, new)
    first = [draw.shown(case)[0][0] == draw.challenger_release for case in draw.cases]
    assert 8 < sum(first) < 32
    assert first == [draw.challenger_first(case.case_id) for case in draw.cases]


def test_equal_answers_are_shown_once(old):
    same = [replace(answer, release_digest=text_digest("same")) for answer in old]
    draw = drawn(old, same)
    assert {len(draw.shown(case)) for case in draw.cases} == {1}


def test_a_draw_is_recorded_once_and_the_first_record_stays(tmp_path, old, new):
    draw = drawn(old, new).model_copy(update={"who": "kim", "at": "2026-11-24T09:00:00+00:00"})
    record_draw(draw, tmp_path)
    again = record_draw(draw.model_copy(update={"who": "lee"}), tmp_path)
    assert again == draw
    assert load_draws(tmp_path) == {draw.digest: draw}


def test_a_draw_that_was_changed_or_cannot_be_read_is_refused(tmp_path, old, new):
    draw = record_draw(drawn(old, new), tmp_path)
    path = tmp_path / f"{draw.digest}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"seed": 7}))
    with pytest.raises(CorruptArtifact, match="somebody changed it"):
        load_draw(path)
    path.write_text("{")
    with pytest.raises(CorruptArtifact, match="can't be read"):
        load_draws(tmp_path)


def test_the_labelled_top_of_a_draw_is_the_sample(old, new):
    draw = drawn(old, new)
    table = LabelTable(labelled(draw, old, new, 12), suite_digest=SUITE)
    found = paired_labels(table, {draw.digest: draw}, old, new, measure="accuracy")
    assert found is not None
    assert list(found.differences) == [case.case_id for case in draw.cases[:12]]
    assert set(found.differences.values()) == {2.0}
    assert found.frame == tuple(case.case_id for case in draw.cases)
    assert found.first_unlabelled == draw.cases[12].case_id


def test_a_case_that_was_passed_over_ends_the_sample(old, new):
    draw = drawn(old, new)
    table = LabelTable(labelled(draw, old, new, 40, skip=(5,)), suite_digest=SUITE)
    found = paired_labels(table, {draw.digest: draw}, old, new, measure="accuracy")
    assert found is not None
    assert len(found.differences) == 5
    assert found.first_unlabelled == draw.cases[5].case_id
    everything = {(a.case_id, a.answer_digest): a for a in (*old, *new)}
    assert len(sampled_answers(table, draw, everything, "accuracy")) == 10


def test_a_fully_labelled_draw_has_no_end(old, new):
    draw = drawn(old, new)
    table = LabelTable(labelled(draw, old, new, 40), suite_digest=SUITE)
    found = paired_labels(table, {draw.digest: draw}, old, new, measure="accuracy")
    assert found is not None
    assert (len(found.differences), found.first_unlabelled) == (40, None)


def test_of_several_draws_the_one_with_the_most_labels_counts(old, new):
    few, many = drawn(old, new), drawn(old, new, seed=1)
    rows = {row.key: row for row in labelled(few, old, new, 3) + labelled(many, old, new, 20)}
    table = LabelTable(rows.values(), suite_digest=SUITE)
    draws = {draw.digest: draw for draw in (few, many)}
    found = paired_labels(table, draws, old, new, measure="accuracy")
    assert found is not None
    assert found.draw == many.digest


def test_labels_of_other_answers_or_another_suite_say_nothing_about_this_pair(old, new):
    draw = drawn(old, new)
    rows = labelled(draw, old, new, 12)
    draws = {draw.digest: draw}
    table = LabelTable(rows, suite_digest=SUITE)
    other = answers("other", [3.0] * 40)
    assert paired_labels(table, draws, old, other, measure="accuracy") is None
    assert paired_labels(table, {}, old, new, measure="accuracy") is None
    elsewhere = LabelTable(rows, suite_digest=text_digest("elsewhere"))
    assert paired_labels(elsewhere, draws, old, new, measure="accuracy") is None
