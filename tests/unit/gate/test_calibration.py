from dataclasses import replace

import numpy as np
import pytest

from tasks.digest import text_digest
from tasks.errors import CorruptArtifact, ScoresError
from tasks.gate.calibration import (
    JudgeRequirements,
    calibrate,
    load_calibration,
    save_calibration,
)
from tasks.gate.drift import AskedAgain, FrozenAnswer, FrozenSet, drift
from tasks.gate.judge_bias import PairwiseVerdict
from tasks.store import Home
from tests.unit.gate.labelled import AT, JUDGE, SCALES, SUITE, answers, drawn, label

PAIRS = 40
"""Labelled cases, each with two answers."""


def marks(release, seed=0):
    generator = np.random.default_rng([seed, len(release)])
    return generator.integers(1, 6, PAIRS).astype(float)


def blurred(values, sd, seed=0):
    """A judge that is off by about so much."""
    noise = np.random.default_rng([2, seed]).normal(0, sd, len(values))
    return np.clip(np.round(values + noise), 1, 5)


def study(sd, *, random=True, count=2 * PAIRS, judge=blurred):
    """Calibration of a judge with this error, on labels of a draw or of chosen cases."""
    people = [marks("old"), marks("newer")]
    old, new = (
        answers(name, judge(values, sd, seed).tolist())
        for seed, (name, values) in enumerate(zip(("old", "newer"), people, strict=True))
    )
    draw = drawn(old, new)
    order = {case.case_id: place for place, case in enumerate(draw.cases)}
    both = sorted(
        (
            (answer, float(value))
            for side, values in zip((old, new), people, strict=True)
            for answer, value in zip(side, values, strict=True)
        ),
        key=lambda pair: order[pair[0].case_id],
    )
    rows = [label(a, value, draw=draw if random else None) for a, value in both[:count]]
    return [*old, *new], rows, {draw.digest: draw} if random else {}


def calibrated(judged, labels, draws, **options):
    return calibrate(
        judged,
        labels,
        judge_digest=JUDGE,
        suite_digest=SUITE,
        scales=SCALES,
        draws=draws,
        **options,
    )


def test_a_judge_that_agrees_with_people_votes_alone():
    found = calibrated(*study(0.4)).measures["accuracy"]
    assert (found.vote, found.reasons) == ("alone", ())
    assert found.agreement.n == 80
    assert found.n_sampled == 80
    assert found.agreement.decisive is not None
    assert found.agreement.decisive.low >= 0.6


def test_a_fair_judge_votes_with_labels_of_a_random_draw():
    found = calibrated(*study(2.2)).measures["accuracy"]
    assert found.vote == "with_labels"
    assert found.agreement.decisive is not None
    assert 0 < found.agreement.decisive.low < 0.6
    assert "low end must reach 0.6" in found.reasons[0]


def test_labels_of_chosen_cases_give_a_fair_judge_no_vote():
    found = calibrated(*study(2.2, random=False)).measures["accuracy"]
    assert (found.vote, found.n_sampled) == ("report_only", 0)
    assert "0 of 80 labels are a recorded random draw" in found.reasons[-1]


def test_a_judge_that_guesses_only_reports():
    def guess(values, sd, seed):
        return np.random.default_rng([9, seed]).integers(1, 6, len(values)).astype(float)

    found = calibrated(*study(0, judge=guess)).measures["accuracy"]
    assert found.vote == "report_only"
    assert "by chance" in found.reasons[0]


def test_a_judge_that_gives_everything_five_marks_only_reports():
    def generous(values, sd, seed):
        return np.full(len(values), 5.0)

    found = calibrated(*study(0, judge=generous)).measures["accuracy"]
    assert found.vote == "report_only"
    assert "kappa 0.00 (0.00 to 0.00)" in found.reasons[0]


def test_few_labels_give_no_vote_however_well_they_agree():
    found = calibrated(*study(0.0, count=40)).measures["accuracy"]
    assert found.vote == "report_only"
    assert found.reasons == (
        "40 answer(s) have both a label and the judge's score; 50 are needed.",
    )


def test_people_who_give_one_mark_show_nothing():
    judged, rows, draws = study(0.0)
    same = [replace(answer, scores={"accuracy": 3.0}) for answer in judged]
    found = calibrated(same, [row.model_copy(update={"value": 3.0}) for row in rows], draws)
    assert found.measures["accuracy"].vote == "report_only"
    assert "can't be seen" in found.measures["accuracy"].reasons[0]


def test_a_judge_that_pays_for_length_needs_labels():
    judged, rows, draws = study(0.3)
    padded = [
        replace(
            answer,
            length=int(20 * 2 ** (place % 6)),
            scores={"accuracy": min(5.0, answer.scores["accuracy"] + 0.3 * (place % 6) - 0.7)},
        )
        for place, answer in enumerate(judged)
    ]
    rules = JudgeRequirements(min_kappa=0.3)
    found = calibrated(padded, rows, draws, requirements=rules).measures["accuracy"]
    assert found.verbosity_slope is not None
    assert found.verbosity_slope.value > 0.05
    assert found.vote == "with_labels"
    [reason] = found.reasons
    assert reason.startswith("Twice the length earns")


def test_a_judge_of_pairs_that_follows_the_place_needs_labels():
    verdicts = [
        PairwiseVerdict(case_id=f"q{number}", order=order, winner="A" if order == "AB" else "B")
        for number in range(20)
        for order in ("AB", "BA")
    ]
    found = calibrated(*study(0.4), pairwise=verdicts)
    assert found.position is not None
    assert found.position.share.value == 0.0
    assert found.measures["accuracy"].vote == "with_labels"
    assert "0% of 20 pairs" in found.measures["accuracy"].reasons[0]


def test_yes_and_no_are_compared_by_plain_kappa():
    people = (np.arange(60) % 3 > 0).astype(float)
    judged = answers("r", people.tolist(), measure="right")
    rows = [
        label(answer, float(value), measure="right")
        for answer, value in zip(judged, people, strict=True)
    ]
    found = calibrated(judged, rows, {}).measures["right"]
    assert found.vote == "alone"
    assert found.agreement.decisive == found.agreement.kappa
    assert not found.agreement.graded


def test_several_people_are_averaged_and_compared_with_each_other():
    judged, rows, draws = study(0.4)
    others = [row.model_copy(update={"labeller": "lee"}) for row in rows[:30]]
    found = calibrated(judged, [*rows, *others], draws).measures["accuracy"]
    assert found.between_people == 1.0
    assert calibrated(judged, rows, draws).measures["accuracy"].between_people is None


def test_labels_of_another_suite_or_of_unknown_answers_are_left_out():
    judged, rows, draws = study(0.4)
    elsewhere = [row.model_copy(update={"suite_digest": text_digest("else")}) for row in rows]
    assert calibrated(judged, elsewhere, draws).measures["accuracy"].agreement.n == 0
    unknown = [row.model_copy(update={"answer_digest": text_digest("x")}) for row in rows]
    assert calibrated(judged, unknown, draws).measures["accuracy"].agreement.n == 0


def test_the_same_labels_in_another_order_are_the_same_calibration():
    judged, rows, draws = study(2.2)
    first, second = calibrated(judged, rows, draws), calibrated(judged[::-1], rows[::-1], draws)
    assert first.digest == second.digest
    changed = [rows[0].model_copy(update={"value": 6.0 - rows[0].value or 1.0}), *rows[1:]]
    assert calibrated(judged, changed, draws).digest != first.digest


def test_a_measure_that_nobody_calibrated_only_reports():
    found = calibrated(*study(0.4))
    assert found.vote("accuracy") == "alone"
    assert found.vote("clarity") == "report_only"
    assert found.reasons("clarity") == ("clarity was not calibrated.",)


def test_drift_takes_the_vote_away_until_it_is_calibrated_again():
    found = calibrated(*study(0.4))
    frozen = FrozenSet(
        suite_digest=SUITE,
        judge_digest=JUDGE,
        answers=(
            FrozenAnswer(
                case_id="q0",
                cluster="c",
                answer_digest=text_digest("a"),
                log_digest=text_digest("log"),
                scores={"accuracy": 5.0},
            ),
        ),
        at=AT,
    )
    now = AskedAgain(
        anchor_digest=frozen.digest,
        judge_digest=JUDGE,
        round=1,
        answers=(frozen.answers[0].model_copy(update={"scores": {"accuracy": 4.0}}),),
        at=AT,
    )
    steady = found.with_drift(drift(frozen, now, scales=SCALES, limit=0.3))
    assert steady.vote("accuracy") == "alone"
    assert steady.reasons("accuracy") == ()
    void = found.with_drift(drift(frozen, now, scales=SCALES, limit=0.1))
    assert void.vote("accuracy") == "report_only"
    assert void.reasons("accuracy")[0] == (
        "Its scores of the frozen answers moved (accuracy by 25.0% of the scale; 10% is allowed): "
        "calibrate it again."
    )
    assert void.digest != found.digest


def test_a_calibration_is_read_back_as_it_was_written(tmp_path):
    home, found = Home(tmp_path), calibrated(*study(2.2))
    assert load_calibration(home, JUDGE) is None
    save_calibration(home, found)
    assert load_calibration(home, JUDGE) == found
    home.path("calibrations", f"{JUDGE}.json").write_text("[]")
    with pytest.raises(CorruptArtifact, match="can't be read") as caught:
        load_calibration(home, JUDGE)
    assert "ratchet judge calibrate" in caught.value.next_step


def test_two_verdicts_of_a_pair_in_one_order_are_refused():
    verdict = PairwiseVerdict(case_id="q0", order="AB", winner="A")
    with pytest.raises(ScoresError, match="two verdicts"):
        calibrated([], [], {}, pairwise=[verdict, verdict])


def test_the_library_of_the_gate_loads_nothing_heavy():
    import subprocess
    import sys

    program = "import sys, tasks.gate.calibration, tasks.gate.ppi, tasks.gate.label_csv\n"
    program += "print(sorted({'sklearn', 'scipy', 'krippendorff', 'vllm'} & set(sys.modules)))"
    shown = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert shown.strip() == "[]"
