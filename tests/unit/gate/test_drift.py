import numpy as np
import pytest

from tasks.digest import text_digest
from tasks.errors import CorruptArtifact, ScoresError
from tasks.gate.drift import (
    AskedAgain,
    FrozenAnswer,
    FrozenSet,
    drift,
    load_asked,
    load_frozen,
    save_asked,
    save_frozen,
)
from tasks.store import Home
from tests.unit.gate.labelled import AT, JUDGE, SCALES, SUITE


def frozen_set(scores, *, measure="accuracy"):
    return FrozenSet(
        suite_digest=SUITE,
        judge_digest=JUDGE,
        answers=tuple(
            FrozenAnswer(
                case_id=f"q{number}",
                cluster=f"c{number // 2}",
                answer_digest=text_digest(str(number)),
                log_digest=text_digest("log"),
                scores={measure: score},
            )
            for number, score in enumerate(scores)
        ),
        at=AT,
    )


def asked(frozen, scores, *, measure="accuracy"):
    return AskedAgain(
        anchor_digest=frozen.digest,
        judge_digest=text_digest("judge of now"),
        round=1,
        answers=tuple(
            row.model_copy(update={"scores": {} if score is None else {measure: score}})
            for row, score in zip(frozen.answers, scores, strict=True)
        ),
        at=AT,
    )


def moved(before, after, *, limit=0.1, measure="accuracy"):
    frozen = frozen_set(before, measure=measure)
    return drift(frozen, asked(frozen, after, measure=measure), scales=SCALES, limit=limit)


def test_a_judge_that_says_the_same_has_not_moved():
    found = moved([1.0, 3.0, 5.0, 4.0], [1.0, 3.0, 5.0, 4.0])
    row = found.measures["accuracy"]
    assert (row.absolute.value, row.absolute.low, row.absolute.high) == (0.0, 0.0, 0.0)
    assert (row.n, row.unreadable, row.over) == (4, 0, False)
    assert found.over == ()
    assert found.judge_digest == text_digest("judge of now")
    assert found.frozen_judge == JUDGE


def test_distance_and_direction_are_shares_of_the_scale():
    row = moved([1.0, 3.0, 5.0, 3.0], [2.0, 4.0, 4.0, 3.0]).measures["accuracy"]
    assert row.absolute.value == pytest.approx(3 / 4 / 4)
    assert row.signed.value == pytest.approx(1 / 4 / 4)
    assert row.absolute.low <= row.absolute.value <= row.absolute.high
    assert row.over


def test_marks_that_move_both_ways_are_movement_though_their_mean_stays():
    found = moved([3.0] * 20, [2.0, 4.0] * 10)
    assert found.measures["accuracy"].signed.value == 0.0
    assert found.over == ("accuracy",)


def test_at_the_limit_a_judge_keeps_its_vote():
    assert moved([0.0, 1.0] * 5, [0.0, 1.0] * 4 + [1.0, 1.0], measure="right").over == ()


def test_an_answer_that_the_judge_cannot_score_any_more_counts_as_the_whole_scale():
    row = moved([3.0] * 10, [None, *[3.0] * 9]).measures["accuracy"]
    assert (row.unreadable, row.absolute.value, row.signed.value) == (1, 0.1, 0.0)


def test_an_answer_that_was_not_asked_counts_the_same():
    frozen = frozen_set([3.0] * 4)
    now = asked(frozen, [3.0] * 4)
    now = now.model_copy(update={"answers": now.answers[1:]})
    found = drift(frozen, now, scales=SCALES, limit=0.1)
    assert found.measures["accuracy"].absolute.value == 0.25


def test_the_interval_respects_answers_that_belong_together():
    generator = np.random.default_rng(0)
    before = np.full(80, 3.0)
    together = before + np.repeat(generator.choice([0.0, 2.0], 40), 2)
    apart = before + generator.choice([0.0, 2.0], 80)
    widths = [
        row.high - row.low
        for after in (together, apart)
        for row in [moved(before.tolist(), after.tolist()).measures["accuracy"].absolute]
    ]
    assert widths[0] > 1.2 * widths[1]


def test_measures_that_people_cannot_mark_any_more_are_left_out():
    frozen = frozen_set([3.0] * 4, measure="gone")
    assert drift(frozen, asked(frozen, [3.0] * 4), scales=SCALES, limit=0.1).measures == {}


def test_nothing_frozen_is_nothing_to_compare():
    frozen = frozen_set([])
    with pytest.raises(ScoresError, match="has no answers") as caught:
        drift(frozen, asked(frozen, []), scales=SCALES, limit=0.1)
    assert "ratchet label" in caught.value.next_step


def test_what_is_frozen_is_read_back_and_named_by_its_content(tmp_path):
    home, frozen = Home(tmp_path), frozen_set([3.0, 4.0])
    assert load_frozen(home, SUITE) is None
    save_frozen(frozen, home)
    assert load_frozen(home, SUITE) == frozen
    later = frozen.model_copy(update={"at": "2027-01-01T00:00:00+00:00"})
    assert later.digest == frozen.digest
    assert frozen_set([3.0, 5.0]).digest != frozen.digest
    now = asked(frozen, [3.0, None])
    assert load_asked(home, now.judge_digest) is None
    save_asked(now, home)
    assert load_asked(home, now.judge_digest) == now


def test_a_frozen_set_that_cannot_be_read_is_named(tmp_path):
    home = Home(tmp_path)
    save_frozen(frozen_set([3.0]), home)
    home.path("judge-anchors", f"{SUITE}.json").write_text("{}")
    with pytest.raises(CorruptArtifact, match="can't be read") as caught:
        load_frozen(home, SUITE)
    assert "ratchet judge anchor" in caught.value.next_step
