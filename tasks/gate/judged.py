"""Measures that a language model scored -> whether they may vote, and what people add to them."""

from collections.abc import Mapping

import numpy as np

from tasks.gate.calibration import JudgeCalibration
from tasks.gate.context_checks import not_checked
from tasks.gate.decision import Check
from tasks.gate.draws import PairedLabels
from tasks.gate.pairs import Pairs
from tasks.gate.policy import GatePolicy, MeasurePolicy
from tasks.gate.ppi import FEWEST, PpiResult, ppi_difference
from tasks.gate.scores import Scores

Labels = Mapping[str, PairedLabels]
"""What people saw between champion and challenger, by measure."""


def voting_judged(policy: GatePolicy) -> tuple[str, ...]:
    """Judged measures that have a role in the decision."""
    return tuple(
        name for name in policy.named("primary", "guardrail") if policy.measures[name].judge
    )


def check_judge(
    calibration: JudgeCalibration | None,
    people: Mapping[str, PpiResult],
    challenger: Scores,
    policy: GatePolicy,
) -> Check:
    """Hold a decision that rests on a judge who wasn't shown to agree with people."""
    step = "Label some answers and compare: ratchet label, then ratchet judge calibrate"
    judged = voting_judged(policy)
    if not judged:
        return Check(name="judge", status="note", text="No measure with a vote is a judge's.")
    if calibration is None or (calibration.judge_digest, calibration.suite_digest) != (
        challenger.judge_digest,
        challenger.suite_digest,
    ):
        text = f"Nobody compared this judge with people: {', '.join(judged)}."
        return not_checked(
            "judge", text, required=policy.judge.required, next_step=step, measures=judged
        )
    votes = {name: calibration.vote(name) for name in judged}
    silent = tuple(
        name
        for name, vote in votes.items()
        if vote == "report_only" or (vote == "with_labels" and name not in people)
    )
    reasons = " ".join(
        f"{name}: {' '.join(calibration.reasons(name))}"
        for name in judged
        if votes[name] != "alone"
    )
    if silent:
        need = [name for name in silent if votes[name] == "with_labels"]
        text = f"The judge may not decide alone: {', '.join(silent)}."
        if need:
            text += f" It may together with labels of these two releases: {', '.join(need)}."
        return Check(
            name="judge",
            status="failed",
            text=text,
            next_step=step,
            detail=reasons,
            measures=silent,
        )
    with_people = [name for name in judged if votes[name] == "with_labels"]
    text = "The judge agrees with people well enough to vote"
    text += f"; with labels: {', '.join(with_people)}." if with_people else "."
    return Check(name="judge", status="passed", text=text, detail=reasons)


def people_of(
    calibration: JudgeCalibration | None,
    labels: Labels,
    paired: Mapping[str, Pairs],
    policy: GatePolicy,
    *,
    seed: int,
) -> dict[str, PpiResult]:
    """Estimates of what people would see, for the measures whose judge votes only with labels."""
    if calibration is None:
        return {}
    found = {}
    for name in voting_judged(policy):
        if calibration.vote(name) != "with_labels" or name not in labels or name not in paired:
            continue
        result = _ppi(labels[name], paired[name], policy.measures[name], seed=seed)
        if result is not None:
            found[name] = result
    return found


def _ppi(labels: PairedLabels, pairs: Pairs, rule: MeasurePolicy, *, seed: int) -> PpiResult | None:
    frame = set(labels.frame)
    labelled = np.array([case in labels.differences for case in pairs.cases])
    rest = np.array([case in frame for case in pairs.cases]) & ~labelled
    if len(np.unique(pairs.cluster[labelled])) < FEWEST:
        return None
    sign = 1.0 if rule.direction == "higher" else -1.0
    seen = [
        sign * labels.differences[case]
        for case, known in zip(pairs.cases, labelled, strict=True)
        if known
    ]
    return ppi_difference(
        seen,
        pairs.differences[labelled],
        pairs.differences[rest],
        clusters_labelled=pairs.cluster[labelled].tolist(),
        clusters_unlabelled=pairs.cluster[rest].tolist(),
        worst=pairs.worst,
        shifted=rule.role != "primary" or rule.min_effect > 0.0,
        seed=seed,
    )
