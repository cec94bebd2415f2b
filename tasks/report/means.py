"""Scores of a first release -> the mean of every measure: there is nothing to compare it with."""

from dataclasses import dataclass

from tasks.gate.pairs import mean_of
from tasks.gate.policy import GatePolicy, Kind
from tasks.gate.scores import Scores


@dataclass(frozen=True, slots=True)
class Mean:
    """One measure, over the cases that have a score."""

    measure: str
    kind: Kind
    """positive when nobody says what it is: such a number is shown as it is."""
    mean: float | None
    n: int
    failed: int


def means(scores: Scores, policy: GatePolicy) -> tuple[Mean, ...]:
    """Every measure that was measured, also those that the policy doesn't know."""
    rows = []
    for name in scores.rows_of:
        cases = scores.values_of(name)
        rule = policy.measures.get(name)
        kind: Kind = "positive"
        if rule is not None:
            kind = rule.kind
        elif name in scores.declared:
            kind = scores.declared[name][0]
        known = [values for values in cases.values() if any(v is not None for v in values)]
        failed = sum(None in values for values in cases.values())
        rows.append(Mean(name, kind, mean_of(known), len(known), failed))
    return tuple(rows)
