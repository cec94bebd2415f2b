from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import CorruptArtifact, ScoresError
from tasks.gate.noise import load_noise, noise_floor, save_noise
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores

MakeScores = Callable[..., Scores]


def evaluation(make: MakeScores, correct: list[float], **options: object) -> Scores:
    n = len(correct)
    return make({"correct": correct, "f1": [0.5] * n, "tokens": [20.0] * n}, **options)


def test_a_release_that_answers_alike_has_no_noise(make: MakeScores, policy: GatePolicy) -> None:
    same = evaluation(make, [1.0, 0.0] * 30)
    noise = noise_floor(same, same, policy)
    assert {found.sd for found in noise.measures.values()} == {0.0}
    assert set(noise.measures) == {"correct", "f1", "tokens"}


def test_the_floor_is_two_standard_deviations_of_the_mean_difference(
    make: MakeScores, policy: GatePolicy
) -> None:
    generator = np.random.default_rng(0)
    floors, differences = [], []
    for _ in range(400):
        first, again = (generator.random(100) < 0.5 for _ in range(2))
        differences.append(first.mean() - again.mean())
        noise = noise_floor(
            evaluation(make, first.astype(float).tolist()),
            evaluation(make, again.astype(float).tolist()),
            policy,
        )
        floors.append(noise.floor("correct", 100))
    assert np.mean(np.array(floors, dtype=float)) == pytest.approx(2 * np.std(differences), rel=0.1)


def test_more_cases_have_a_lower_floor(make: MakeScores, policy: GatePolicy) -> None:
    first, again = [1.0, 0.0] * 25, [1.0] * 50
    noise = noise_floor(evaluation(make, first), evaluation(make, again), policy)
    assert noise.floor("correct", 200) == pytest.approx((noise.floor("correct", 50) or 0) / 2)
    assert noise.measures["correct"].changed == 25
    assert noise.floor("clarity", 50) is None


def test_two_releases_are_no_noise(make: MakeScores, policy: GatePolicy) -> None:
    first = evaluation(make, [1.0] * 20)
    with pytest.raises(ScoresError, match="release_digest"):
        noise_floor(first, replace(first, release_digest="other"), policy)


def test_noise_is_read_back_as_it_was_written(
    make: MakeScores, policy: GatePolicy, tmp_path: Path
) -> None:
    noise = noise_floor(evaluation(make, [1.0, 0.0] * 10), evaluation(make, [1.0] * 20), policy)
    save_noise(noise, tmp_path / "noise.json")
    assert load_noise(tmp_path / "noise.json") == noise
    (tmp_path / "noise.json").write_text("{")
    with pytest.raises(CorruptArtifact, match="can't be read"):
        load_noise(tmp_path / "noise.json")
