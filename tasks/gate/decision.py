"""What a decision is: its verdict, its reasons, and every number behind them, as one document."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tasks.config import Settings
from tasks.digest import Digest, canonical_json, digest
from tasks.errors import CorruptArtifact
from tasks.gate.jsonl import write_scores
from tasks.gate.policy import GatePolicy, Kind, Role
from tasks.gate.scores import Scores
from tasks.gate.spending import Look
from tasks.store import new_directory, write_atomic

Verdict = Literal["PROMOTE", "HOLD", "REJECT"]
Outcome = Literal["better", "not_worse", "worse", "unclear", "reported"]


class Comparison(Settings):
    """One measure, challenger against champion, over the cases that have it."""

    measure: str
    role: Role
    kind: Kind
    direction: Literal["higher", "lower"]
    mean_champion: float | None
    """Over the cases that have a score, in the measure's own unit."""
    mean_challenger: float | None
    delta: float
    """Mean paired improvement: above 0 is better, whatever the direction. For a positive measure
    the mean of log(champion / challenger) or of its inverse, so that also there more is better."""
    ci_low: float
    ci_high: float
    """One-sided bounds at `alpha` on each side of delta."""
    alpha: float
    """Level of this measure's test: the look's share for the primary, the policy's for the rest."""
    threshold: float | None
    """What delta must exceed: min_effect or -margin in delta's unit; None for a report measure."""
    p_value: float | None
    """Of H0: delta <= threshold."""
    p_worse: float | None
    """Of H0: the challenger isn't worse (guardrail: not by more than its margin), over the pairs
    with both scores; None for a report measure or without such pairs."""
    p_moved: float | None
    """Two-sided, of H0: a report measure is where it was; adjusted for how many are looked at
    (Holm). None for a measure with a vote."""
    n: int
    n_clusters: int
    n_unpaired: int
    """Cases without a score on at least one side; counted against the challenger."""
    failed_champion: int
    failed_challenger: int
    wins: int
    losses: int
    ties: int
    method: str
    """Test behind `p_value` and the bounds."""
    outcome: Outcome
    n_needed: int | None
    """About how many cases would settle it if the difference is as seen; None: settled, or more
    cases won't help."""


class FloorResult(Settings):
    """One measure of a first release against its absolute floor."""

    measure: str
    direction: Literal["higher", "lower"]
    mean: float
    """With missing scores at their worst value."""
    floor: float
    n: int
    failed: int
    met: bool


class SliceResult(Settings):
    """The primary measure on the cases of one tag."""

    tag: str
    n: int
    n_clusters: int
    delta: float
    low: float
    high: float
    """Bounds that hold for all slices at once, at the policy's alpha on each side."""
    lost: bool
    """Whether even `high` is a loss of more than the margin."""


CheckName = Literal[
    "comparable",
    "measures",
    "failures",
    "suite",
    "floors",
    "noise",
    "power",
    "must_pass",
    "slices",
    "anchor",
    "judge",
    "preference",
    "budget",
]


class Check(Settings):
    """One condition beside the measures."""

    name: CheckName
    status: Literal["passed", "failed", "note", "not_checked"]
    text: str
    verdict: Literal["HOLD", "REJECT"] = "HOLD"
    """What a failure leads to."""
    next_step: str = ""
    """What to do when it failed."""
    detail: str = ""
    """The numbers behind it, for a reader who knows statistics."""
    measures: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()


class Reason(Settings):
    """Why the verdict is what it is: a sentence, and where its numbers are."""

    verdict: Verdict
    """Which verdict it speaks for."""
    text: str
    next_step: str = ""
    """What would settle a HOLD."""
    measure: str | None = None
    cases: tuple[str, ...] = ()


class GateDecision(Settings):
    """The whole record; with the two sets of scores it is enough to decide again."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    comparisons: tuple[Comparison, ...]
    anchor_comparisons: tuple[Comparison, ...]
    """The guardrails once more, against the anchor release."""
    slices: tuple[SliceResult, ...]
    floors: tuple[FloorResult, ...]
    checks: tuple[Check, ...]
    champion: str | None
    """Label of the live release; None when there is none."""
    challenger: str
    champion_release: Digest | None
    challenger_release: Digest | None
    champion_log: Digest | None
    challenger_log: Digest | None
    champion_scores: Digest | None
    challenger_scores: Digest
    anchor_release: Digest | None
    anchor_scores: Digest | None
    noise_digest: Digest | None
    calibration_digest: Digest | None
    look: Look | None
    """Which look at the suite this was, and its share of alpha; None for a refresh or a first
    release, which don't claim to be better."""
    suite_digest: Digest | None
    judge_digest: Digest | None
    policy: GatePolicy
    policy_digest: Digest
    seed: int

    @property
    def digest(self) -> Digest:
        """Identity: equal scores, policy and seed have equal decisions."""
        return digest("gate-decision", 2, self.model_dump(mode="json"))

    def to_bytes(self) -> bytes:
        """The one JSON text of this decision."""
        return canonical_json(self.model_dump(mode="json"))

    def comparison(self, measure: str) -> Comparison | None:
        """The comparison of one measure, if it was made."""
        return next((row for row in self.comparisons if row.measure == measure), None)


def save_decision(
    decision: GateDecision, champion: Scores | None, challenger: Scores, *, room: Path
) -> Path:
    """Write a decision and the scores it was made from to `room/<digest>/`."""
    directory = room / decision.digest
    if directory.is_dir():
        return directory
    with new_directory(directory) as partial:
        write_atomic(partial / "decision.json", decision.to_bytes())
        write_atomic(partial / "challenger.jsonl", write_scores(challenger))
        if champion is not None:
            write_atomic(partial / "champion.jsonl", write_scores(champion))
    return directory


def load_decision(directory: Path) -> GateDecision:
    """Read a decision that `save_decision` wrote.

    Raises:
        CorruptArtifact: it is missing, unreadable, or its content has another digest than its name.
    """
    path = directory / "decision.json"
    try:
        decision = GateDecision.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptArtifact(
            f"The decision in {str(path)!r} can't be read: {error}.",
            next_step="Decide again; equal scores give the same decision.",
        ) from error
    if decision.digest != directory.name:
        raise CorruptArtifact(
            f"The decision in {str(path)!r} has digest {decision.digest}, "
            f"its directory says {directory.name}.",
            next_step="Decide again; somebody changed this file.",
        )
    return decision
