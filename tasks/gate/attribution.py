"""A challenger that changed several things -> what each change does by itself.

The gate judges the whole release. When prompt, model, retrieval and index change together, a gain
may hide a loss: each single change on top of the champion shows which part helped. These are
extra comparisons that promote nothing, so they cost no alpha.
"""

from collections.abc import Mapping
from typing import Literal

from tasks.config import Settings
from tasks.gate.compare import compare_all, pair_all
from tasks.gate.decision import Comparison
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores

Effect = Literal["helped", "hurt", "unclear"]


class PartEffect(Settings):
    """The champion with one part of the challenger, against the champion."""

    part: str
    """prompt, model, retrieval or index."""
    release: str
    """Label of the release with only this change."""
    effect: Effect
    """Of the primary measure, at the policy's alpha for each part."""
    primary: Comparison
    worse: tuple[str, ...]
    """Guardrails that this change alone makes worse by more than their margin."""


def attribute(
    champion: Scores, singles: Mapping[str, Scores], policy: GatePolicy, *, seed: int | None = None
) -> tuple[PartEffect, ...]:
    """Compare every single change with the champion.

    Args:
        champion: scores of the live release.
        singles: scores of the champion with one part of the challenger, by the part's name.
        policy: the rules of the decision; one that improves, for a refresh changes one part only.
        seed: of the random draws; None takes the policy's.
    """
    found = []
    for part, scores in singles.items():
        rows = compare_all(
            policy,
            pair_all(policy, champion, scores),
            alpha=policy.alpha,
            seed=policy.seed if seed is None else seed,
        )
        primary = next(row for row in rows if row.role == "primary")
        effect: Effect = "unclear"
        if primary.outcome in ("better", "worse"):
            effect = "helped" if primary.outcome == "better" else "hurt"
        found.append(
            PartEffect(
                part=part,
                release=scores.release,
                effect=effect,
                primary=primary,
                worse=tuple(
                    row.measure
                    for row in rows
                    if row.role == "guardrail" and row.outcome == "worse"
                ),
            )
        )
    return tuple(found)
