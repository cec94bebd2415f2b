"""One release evaluated twice -> noise floor: how far two evaluations of the same thing differ.

A difference that the champion shows against itself says nothing about a challenger. With a
deterministic server it is 0; sampling, batching and a language model as judge make it larger.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from tasks.config import Settings
from tasks.digest import Digest, digest
from tasks.errors import ScoresError
from tasks.gate.compare import pair_all
from tasks.gate.documents import read_document
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores, check_values
from tasks.store import write_json

FACTOR = 2.0
"""A difference must be this many standard deviations of the noise to count."""


class MeasureNoise(Settings):
    """How one measure of the same release differs between two evaluations."""

    sd: float = Field(ge=0)
    """Standard deviation of the mean A/A difference at `n_clusters` clusters."""
    n: int
    n_clusters: int
    changed: int
    """Cases whose score differs at all."""


class NoiseFloor(Settings):
    """A/A noise on one suite with one judge."""

    suite_digest: Digest | None
    judge_digest: Digest | None
    release_digest: Digest | None
    measures: dict[str, MeasureNoise]

    @property
    def digest(self) -> Digest:
        """Identity of what was found."""
        return digest("noise-floor", 1, self.model_dump(mode="json"))

    def floor(self, measure: str, n_clusters: int) -> float | None:
        """Least mean difference that isn't noise on so many clusters, in the comparison's unit."""
        noise = self.measures.get(measure)
        if noise is None:
            return None
        return FACTOR * noise.sd * float(np.sqrt(noise.n_clusters / n_clusters))


def noise_floor(first: Scores, second: Scores, policy: GatePolicy) -> NoiseFloor:
    """Compare two evaluations of one release.

    Args:
        first: one evaluation.
        second: another one of the same release on the same cases; its model was asked again.
        policy: its measures with a vote are looked at.

    Raises:
        ScoresError: the two are of different releases, suites or judges.
    """
    for what in ("release_digest", "suite_digest", "judge_digest"):
        old, new = getattr(first, what), getattr(second, what)
        if old != new:
            raise ScoresError(
                f"An A/A comparison needs one release evaluated twice; the {what} is {old!r} in "
                f"one evaluation and {new!r} in the other.",
                next_step="Measure the noise of the champion: ratchet gate noise",
            )
    for side in (first, second):
        check_values(side, policy)
    found = {}
    for name, pairs in pair_all(policy, first, second).items():
        if policy.measures[name].role == "report" or (complete := pairs.only_measured()) is None:
            continue
        sums = complete.sums()
        # Both sides are the same release: the true difference is 0 and needs no estimate.
        spread = float(np.sqrt(np.sum(sums**2))) / len(complete.differences)
        found[name] = MeasureNoise(
            sd=round(spread, 12),
            n=len(complete.differences),
            n_clusters=len(sums),
            changed=int(np.sum(complete.differences != 0)),
        )
    return NoiseFloor(
        suite_digest=first.suite_digest,
        judge_digest=first.judge_digest,
        release_digest=first.release_digest,
        measures=found,
    )


def save_noise(noise: NoiseFloor, path: Path) -> None:
    """Write a noise floor."""
    write_json(path, noise.model_dump(mode="json"))


def load_noise(path: Path) -> NoiseFloor | None:
    """Read what `save_noise` wrote; None when it never did.

    Raises:
        CorruptArtifact: it can't be read.
    """
    return read_document(
        path,
        NoiseFloor,
        what="noise floor",
        next_step="Measure it again: ratchet gate noise",
    )
