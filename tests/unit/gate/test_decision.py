from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.errors import CorruptArtifact
from tasks.gate.decide import decide
from tasks.gate.decision import load_decision, save_decision
from tasks.gate.jsonl import load_scores
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores

MakeScores = Callable[..., Scores]


def test_the_record_alone_is_enough_to_decide_again(
    make: MakeScores, policy: GatePolicy, tmp_path: Path
) -> None:
    n = 60
    old = make({"correct": [0.0] * n, "f1": [0.5] * n, "tokens": [9.0] * n}, must_pass=[2])
    new = make({"correct": [1.0] * n, "f1": [0.6] * n, "tokens": [9.0] * n}, must_pass=[2])
    decision = decide(old, new, policy, seed=3)
    directory = save_decision(decision, old, new, room=tmp_path)
    found = load_decision(directory)
    assert found == decision
    sides = [
        load_scores(directory / f"{s}.jsonl", found.policy) for s in ("champion", "challenger")
    ]
    again = decide(*sides, found.policy, seed=found.seed)
    assert again.to_bytes() == decision.to_bytes()
    assert save_decision(decision, old, new, room=tmp_path) == directory


def test_a_changed_record_is_noticed(make: MakeScores, policy: GatePolicy, tmp_path: Path) -> None:
    scores = make({"correct": [0.0] * 9})
    directory = save_decision(decide(None, scores, policy), None, scores, room=tmp_path)
    path = directory / "decision.json"
    path.write_text(path.read_text().replace("REJECT", "PROMOTE"))
    with pytest.raises(CorruptArtifact, match="has digest"):
        load_decision(directory)
    path.unlink()
    with pytest.raises(CorruptArtifact, match="can't be read"):
        load_decision(directory)
