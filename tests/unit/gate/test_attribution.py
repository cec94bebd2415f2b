from collections.abc import Callable
from dataclasses import replace

from tasks.gate.attribution import attribute
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores

MakeScores = Callable[..., Scores]


def release(make: MakeScores, passes: int, tokens: float = 20.0) -> Scores:
    n = 130
    correct = [1.0] * passes + [0.0] * (n - passes)
    made = make({"correct": correct, "f1": [0.5] * n, "tokens": [tokens] * n})
    return replace(made, release=f"passes {passes}")


def test_each_change_is_told_whether_it_helped_or_hurt(
    make: MakeScores, policy: GatePolicy
) -> None:
    effects = attribute(
        release(make, 60),
        {
            "prompt": release(make, 90, tokens=60.0),
            "retrieval": release(make, 61),
            "index": release(make, 40),
        },
        policy,
    )
    assert {row.part: row.effect for row in effects} == {
        "prompt": "helped",
        "retrieval": "unclear",
        "index": "hurt",
    }
    assert effects[0].worse == ("tokens",)
    assert effects[0].primary.wins == 30
    assert effects[1].release == "passes 61"
