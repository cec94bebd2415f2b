"""A design -> many pairs of releases with scores whose true difference is known.

Every score comes from a normal latent value: half of its variance is the difficulty of the case,
which both releases share; the other half is the release's own, and a share `icc` of that is common
to all cases of a cluster. So `icc` is the correlation of two latent differences of one cluster.
"""

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Literal

import numpy as np

from tasks.gate.inference import Bools, Floats, Ints
from tasks.gate.policy import GatePolicy, MeasurePolicy, Role
from tasks.gate.scores import ScoredCase, ScoreRow, Scores

Kind = Literal["binary", "five levels", "log ratio"]

KINDS: tuple[Kind, ...] = ("binary", "five levels", "log ratio")
SIZES = (20, 50, 200, 1000)
ICCS = (0.0, 0.1, 0.3)

CLUSTER_SIZE = {20: 2, 50: 5, 200: 10, 1000: 10}
"""Cases of a document where they are related; 10 clusters are the fewest."""

_CUTS: dict[Kind, tuple[float, ...]] = {
    "binary": (0.4,),
    "five levels": (0.10, 0.25, 0.45, 0.75),
}
"""Shares of scores below each step, for a release without any effect."""

_RATIO_SPREAD = 0.5
"""Standard deviation of a log ratio of tokens, about what two prompts differ by."""

MEASURE = "score"
RATIO_LIMIT = 8.0


@dataclass(frozen=True)
class Design:
    """What a simulated suite looks like."""

    kind: Kind
    n: int
    icc: float

    @property
    def cluster(self) -> Ints:
        """Number of each case's cluster, shape (n,); without relation each case is its own."""
        size = CLUSTER_SIZE[self.n] if self.icc else 1
        return np.arange(self.n) // size

    @property
    def width(self) -> float:
        """The largest difference that a case can have."""
        return {"binary": 1.0, "five levels": 4.0, "log ratio": log(RATIO_LIMIT)}[self.kind]

    def __str__(self) -> str:
        return f"{self.kind}, n {self.n}, ICC {self.icc:g}"


@dataclass(frozen=True)
class Batch:
    """Many simulated nights, one a row; more is better, and a ratio is minus the log of tokens."""

    design: Design
    champion: Floats
    """Shape (nights, n)."""
    challenger: Floats

    @property
    def differences(self) -> Floats:
        """What the gate compares: limited as a policy limits a ratio. Shape (nights, n)."""
        return np.clip(self.challenger - self.champion, -self.design.width, self.design.width)

    @property
    def sums(self) -> Floats:
        """Sum of the differences of each cluster, shape (nights, C)."""
        first = np.flatnonzero(np.diff(self.design.cluster, prepend=-1))
        return np.add.reduceat(self.differences, first, axis=1)

    @property
    def sizes(self) -> Floats:
        """Cases of each cluster, shape (C,)."""
        return np.bincount(self.design.cluster).astype(np.float64)


def simulate(design: Design, nights: int, *, effect: float, seed: int) -> Batch:
    """Draw nights whose challenger is better by `effect` on average.

    Args:
        design: the suite.
        nights: how many.
        effect: the true mean difference, in the unit of `Batch.differences`; may be negative.
        seed: of the draws; every design has its own.
    """
    code = [KINDS.index(design.kind), design.n, round(100 * design.icc)]
    generator = np.random.default_rng([seed, *code])
    shape = (nights, design.n)
    difficulty = sqrt(0.5) * generator.standard_normal(shape)
    champion, challenger = (difficulty + _own_part(design, nights, generator) for _ in range(2))
    shift = _latent_shift(design.kind, effect)
    return Batch(design, _scores(design.kind, champion), _scores(design.kind, challenger + shift))


def as_scores(batch: Batch, night: int) -> tuple[Scores, Scores]:
    """One night as the gate's own input: champion and challenger."""
    design = batch.design
    cluster = design.cluster
    cases = tuple(
        ScoredCase(f"case-{i:04d}", f"document-{cluster[i]:04d}") for i in range(design.n)
    )

    def side(values: Floats, release: str) -> Scores:
        if design.kind == "log ratio":
            values = np.exp(-values)
        rows = tuple(
            ScoreRow(case.case_id, MEASURE, float(value))
            for case, value in zip(cases, values, strict=True)
        )
        return Scores(cases=cases, rows=rows, release=release)

    return side(batch.champion[night], "champion"), side(batch.challenger[night], "challenger")


def policy_for(
    design: Design, role: Role, *, resamples: int, margin: float | None = None
) -> GatePolicy:
    """A policy that asks one question about the simulated measure.

    Args:
        design: the suite.
        role: primary asks "better?", guardrail "not worse by the margin?".
        resamples: draws of each test.
        margin: of a guardrail, in the unit of `Batch.differences`.
    """
    ratio = design.kind == "log ratio"
    measure: dict[str, object] = {
        "kind": {"binary": "binary", "five levels": "bounded", "log ratio": "positive"}[
            design.kind
        ],
        "role": role,
        "direction": "lower" if ratio else "higher",
        "margin": exp(margin) - 1 if ratio and margin else margin,
        "ratio_limit": RATIO_LIMIT,
        "range": (1.0, 5.0) if design.kind == "five levels" else (0.0, 1.0),
    }
    return GatePolicy(
        mode="improve" if role == "primary" else "refresh",
        resamples=resamples,
        measures={MEASURE: MeasurePolicy.model_validate(measure)},
    )


def _own_part(design: Design, nights: int, generator: np.random.Generator) -> Floats:
    alone = generator.standard_normal((nights, design.n))
    if not design.icc:
        return sqrt(0.5) * alone
    cluster = design.cluster
    shared = generator.standard_normal((nights, int(cluster[-1]) + 1))[:, cluster]
    return sqrt(0.5 * design.icc) * shared + sqrt(0.5 * (1 - design.icc)) * alone


def _scores(kind: Kind, latent: Floats) -> Floats:
    if kind == "log ratio":
        return _RATIO_SPREAD * latent
    from scipy.stats import norm

    above: list[Bools] = [latent > norm.ppf(cut) for cut in _CUTS[kind]]
    lowest = 1.0 if kind == "five levels" else 0.0
    return np.asarray(lowest + np.sum(above, axis=0, dtype=np.float64))


def _latent_shift(kind: Kind, effect: float) -> float:
    """The shift of the latent value that moves the mean difference by exactly `effect`."""
    if not effect:
        return 0.0
    from scipy.optimize import brentq
    from scipy.stats import norm

    if kind == "log ratio":
        return _shift_of_limited_ratio(effect)
    cuts = norm.ppf(_CUTS[kind])
    before = float(np.sum(norm.sf(cuts)))
    return float(brentq(lambda shift: np.sum(norm.sf(cuts - shift)) - before - effect, -5, 5))


def _shift_of_limited_ratio(effect: float) -> float:
    from scipy.optimize import brentq
    from scipy.stats import norm

    # The difference is normal with this spread, and limited to +-limit.
    spread, limit = _RATIO_SPREAD, log(RATIO_LIMIT)

    def over(bound: float, mean: float) -> float:
        """Mean of what exceeds the bound."""
        z = (bound - mean) / spread
        return spread * float(norm.pdf(z) - z * norm.sf(z))

    mean = brentq(lambda mean: over(-limit, mean) - over(limit, mean) - limit - effect, -2, 2)
    return float(mean) / _RATIO_SPREAD
