"""configs/gate.yaml -> GatePolicy: which measures decide, and how much evidence they need."""

from math import log
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.config import Settings, load_settings, settings_digest
from tasks.digest import Digest
from tasks.errors import ConfigError
from tasks.gate.calibration import JudgeRequirements
from tasks.gate.spending import Spending

Kind = Literal["binary", "bounded", "positive"]
Role = Literal["primary", "guardrail", "report"]
PREFERENCE = "preference"
"""The measure of a pair: a judge's preference between the answers of both releases."""
_PREFERENCE_RULE = ("bounded", "report", "higher", (0.0, 1.0))


class MeasurePolicy(Settings):
    """How one measure takes part in a decision."""

    kind: Kind
    """binary: 0 or 1; bounded: inside `range`; positive: 0 or more, compared by its ratio."""
    role: Role
    """primary: must be better; guardrail: must not be worse; report: shown, has no vote."""
    direction: Literal["higher", "lower"]
    """Which way is better."""
    range: tuple[float, float] = (0.0, 1.0)
    """Least and greatest value of a bounded measure; a missing score counts as the bad end."""
    ratio_limit: float = Field(default=8.0, gt=1)
    """A positive measure's ratio counts at most this much each way, and a missing one exactly."""
    min_effect: float = Field(default=0.0, ge=0)
    """The primary must be better by more than this; for a positive measure a share (0.1: 10 %)."""
    effect: float | None = Field(default=None, gt=0)
    """The improvement worth finding: what `ratchet gate plan` sizes the suite for."""
    margin: float | None = Field(default=None, gt=0)
    """How much worse a guardrail may be, in its own unit; for a positive measure a share."""
    floor: float | None = None
    """What the mean of a first release must reach, or not exceed where lower is better."""
    judge: bool = False
    """Whether a model gave the score; it has a vote only while it agrees with people."""

    @property
    def width(self) -> float:
        """The largest difference that one case can have, in the unit of the comparison."""
        return log(self.ratio_limit) if self.kind == "positive" else self.range[1] - self.range[0]

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        low, high = self.range
        if low >= high:
            raise ValueError(f"range must go from low to high, found {[low, high]}")
        if self.kind != "bounded" and (low, high) != (0.0, 1.0):
            raise ValueError(f"range belongs to bounded measures; this one is {self.kind}")
        if self.role == "guardrail" and self.margin is None:
            raise ValueError("a guardrail needs a margin: how much worse is still acceptable")
        limit = self.ratio_limit - 1 if self.kind == "positive" else high - low
        for name in ("min_effect", "effect", "margin"):
            value = getattr(self, name)
            if value is not None and value >= limit:
                raise ValueError(
                    f"{name} must be below {limit:g}, the largest difference that a case can "
                    f"have, found {value:g}"
                )
        if self.effect is not None and self.effect <= self.min_effect:
            raise ValueError(
                f"effect must be above min_effect ({self.min_effect:g}), found {self.effect:g}: "
                "an improvement that isn't enough can't be the one worth finding"
            )
        return self


class MustPass(Settings):
    """Cases that a release must not lose."""

    measure: str
    """The binary measure that says whether a case passes."""
    confirm: int = Field(default=2, ge=0, le=20)
    """How often a lost case is asked again; lost is what fails in most of these too."""


class Slices(Settings):
    """Groups of cases with the same tag, looked at for a loss that the mean hides."""

    tags: tuple[str, ...] | None = None
    """Which tags; null: all."""
    margin: float = Field(default=0.15, gt=0)
    """Largest loss of a slice, in the unit of the primary measure."""
    min_clusters: int = Field(default=10, ge=5)
    """Smaller slices are left out: too little to say anything."""


class Noise(Settings):
    """How much the champion differs from itself when it is evaluated twice."""

    required: bool = False
    """Hold while it isn't known."""
    refresh: bool = True
    """The nightly run measures it when the suite or the judge changed."""
    cases: int | None = Field(default=24, ge=5)
    """On so many cases; null: all."""


class Anchor(Settings):
    """A fixed release that no challenger may fall behind, however slowly."""

    required: bool = False


class Budget(Settings):
    """The ledger of looks at a suite."""

    required: bool = False
    """Hold unless the look was written into the ledger before."""


class JudgeVote(JudgeRequirements):
    """What a measure with `judge: true` needs before it has a vote."""

    required: bool = False
    """Hold while the judge isn't calibrated."""
    recheck: bool = False
    """The nightly run asks the judge about the frozen answers again, and takes its vote away when
    it moved; without it that happens when the judge itself changed."""


class GatePolicy(Settings):
    """The rules of a decision; a change of any of them is another policy digest."""

    mode: Literal["improve", "refresh"] = "improve"
    """improve: the primary must get better; refresh: nothing may get worse."""
    cheaper: str | None = None
    """The measure that must get better when only the way of serving the model changed."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance that one test passes although its bad hypothesis holds."""
    spending: Spending = "inverse_square"
    """How alpha is divided among the looks at one suite."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Chance to find the effect that is there, for planning."""
    underpowered: Literal["warn", "hold"] = "warn"
    """What to do when the suite is too small for the primary's `effect`."""
    failure_limit: float = Field(default=0.05, ge=0, lt=1)
    """Largest share of failed or missing scores of a deciding measure on either side, and of cases
    whose evidence the challenger's corpus lacks."""
    clusters: bool = True
    """Whether cases of one cluster count as related."""
    mcnemar: Literal["exact", "mid_p"] = "exact"
    """Test of a binary primary with unrelated cases; mid-p is a little less strict."""
    resamples: int = Field(default=10_000, ge=999, le=1_000_000)
    """Random draws of each test by resampling."""
    seed: int = Field(default=0, ge=0)
    must_pass: MustPass | None = None
    """Null: no such check."""
    slices: Slices | None = None
    """Null: no such check."""
    noise: Noise = Noise()
    anchor: Anchor = Anchor()
    budget: Budget = Budget()
    judge: JudgeVote = JudgeVote()
    attribution: bool = False
    """Evaluate the single changes too when a challenger changes several things."""
    measures: dict[str, MeasurePolicy] = Field(min_length=1)

    @field_validator("must_pass", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"measure": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _can_decide(self) -> Self:
        primaries = self.named("primary")
        if self.mode == "improve" and len(primaries) != 1:
            raise ValueError(f"exactly one measure must be primary, found {list(primaries)}")
        if self.mode == "refresh" and (primaries or not self.named("guardrail")):
            raise ValueError("a refresh is decided by guardrails alone; give at least one")
        pair = self.measures.get(PREFERENCE)
        if pair and (pair.kind, pair.role, pair.direction, pair.range) != _PREFERENCE_RULE:
            raise ValueError(
                f"{PREFERENCE} compares two releases and has no vote: it needs kind bounded, "
                f"role report, direction higher and range [0, 1], found {pair.kind}, {pair.role}, "
                f"{pair.direction}, {list(pair.range)}"
            )
        cheaper = self.measures.get(self.cheaper) if self.cheaper else None
        if self.cheaper and (cheaper is None or cheaper.kind != "positive"):
            raise ValueError(f"cheaper has to name a positive measure, found {self.cheaper!r}")
        rule = self.measures.get(self.must_pass.measure) if self.must_pass else None
        if self.must_pass and (rule is None or rule.kind != "binary"):
            raise ValueError(
                f"must_pass has to name a binary measure, found {self.must_pass.measure!r}"
            )
        return self

    @property
    def digest(self) -> Digest:
        """Identity of the rules."""
        return settings_digest("gate-policy", self)

    @property
    def primary(self) -> str | None:
        """The measure that must be better; a refresh has none."""
        return next(iter(self.named("primary")), None)

    def named(self, *roles: Role) -> tuple[str, ...]:
        """Names of the measures with one of these roles, in the file's order."""
        return tuple(name for name, rule in self.measures.items() if rule.role in roles)

    def for_refresh(self) -> "GatePolicy":
        """The policy of a corpus refresh: the primary becomes a guardrail with its own margin.

        Newer documents with the same prompt and model are no improvement that has to be proved;
        they must only do no harm.

        Raises:
            ConfigError: the primary has no margin.
        """
        if self.mode == "refresh":
            return self
        measures = self._primary_guarded("Only the corpus changed")
        changed = self.model_copy(update={"mode": "refresh", "measures": measures})
        return GatePolicy.model_validate(changed.model_dump())

    def for_cheaper(self) -> "GatePolicy":
        """The policy of another serving profile: `cheaper` is primary, and the primary a guardrail.

        The same weights served otherwise aren't meant to answer better; they have to cost less and
        must do no harm.

        Raises:
            ConfigError: the primary has no margin.
        """
        if self.cheaper is None or self.cheaper == self.primary:
            return self
        measures = self._primary_guarded("Only the way of serving the model changed")
        measures[self.cheaper] = measures[self.cheaper].model_copy(update={"role": "primary"})
        changed = self.model_copy(update={"measures": measures})
        return GatePolicy.model_validate(changed.model_dump())

    def _primary_guarded(self, why: str) -> dict[str, MeasurePolicy]:
        measures = dict(self.measures)
        for name in self.named("primary"):
            if measures[name].margin is None:
                raise ConfigError(
                    f"{why}, so {name!r} must not get worse; the policy doesn't say by how much it "
                    "may.",
                    next_step=f"Give measures.{name} a margin in configs/gate.yaml.",
                )
            changes = {"role": "guardrail", "min_effect": 0.0, "effect": None}
            measures[name] = measures[name].model_copy(update=changes)
        return measures


def load_policy(path: Path) -> GatePolicy:
    """Read `configs/gate.yaml`.

    Raises:
        ConfigError: the file is missing or wrong; the message names each wrong line.
    """
    return load_settings(path, GatePolicy)
