"""GateDecision -> rows for DVC plots and other programs."""

from typing import Any

from tasks.gate.decision import GateDecision
from tasks.report import words


def comparison_rows(decision: GateDecision) -> list[dict[str, Any]]:
    """One row a measure, unrounded."""
    return [
        {
            "measure": row.measure,
            "role": row.role,
            "champion": row.mean_champion,
            "challenger": row.mean_challenger,
            "delta": row.delta,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "p_value": row.p_value,
            "result": words.result(row),
        }
        for row in decision.comparisons
    ]
