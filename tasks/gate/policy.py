"""configs/gate.yaml -> GatePolicy: which measures decide, and how much evidence they need."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.config import Settings, load_settings, settings_digest
from tasks.digest import Digest

Kind = Literal["binary", "bounded", "positive"]
Role = Literal["primary", "guardrail", "report"]


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
    margin: float | None = Field(default=None, gt=0)
    """How much worse a guardrail may be, in its own unit; for a positive measure a share."""
    floor: float | None = None
    """What the mean of a first release must reach, or not exceed where lower is better."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        low, high = self.range
        if low >= high:
            raise ValueError(f"range must go from low to high, found {[low, high]}")
        if self.kind != "bounded" and (low, high) != (0.0, 1.0):
            raise ValueError(f"range belongs to bounded measures; this one is {self.kind}")
        if self.role != "report" and self.margin is None:
            # The primary too: a corpus refresh turns it into a guardrail.
            raise ValueError(f"a {self.role} needs a margin: how much worse is still acceptable")
        return self


class GatePolicy(Settings):
    """The rules of a decision; a change of any of them is another policy digest."""

    mode: Literal["improve", "refresh"] = "improve"
    """improve: the primary must get better; refresh: nothing may get worse."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance that one test passes although its bad hypothesis holds."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Used only for the number of cases that a HOLD asks for."""
    failure_limit: float = Field(default=0.05, ge=0, lt=1)
    """Largest share of failed or missing scores of a deciding measure on either side."""
    clusters: bool = True
    """Whether cases of one cluster count as related."""
    resamples: int = Field(default=10_000, ge=999, le=1_000_000)
    """Random draws of each test by resampling."""
    seed: int = Field(default=0, ge=0)
    must_pass: str | None = None
    """The binary measure that says whether a must-pass case passes; null: no such check."""
    measures: dict[str, MeasurePolicy] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_decide(self) -> Self:
        primaries = self.named("primary")
        if self.mode == "improve" and len(primaries) != 1:
            raise ValueError(f"exactly one measure must be primary, found {list(primaries)}")
        if self.mode == "refresh" and (primaries or not self.named("guardrail")):
            raise ValueError("a refresh is decided by guardrails alone; give at least one")
        rule = self.measures.get(self.must_pass) if self.must_pass else None
        if self.must_pass and (rule is None or rule.kind != "binary"):
            raise ValueError(f"must_pass has to name a binary measure, found {self.must_pass!r}")
        return self

    @property
    def digest(self) -> Digest:
        """Identity of the rules."""
        return settings_digest("gate-policy", self)

    def named(self, *roles: Role) -> tuple[str, ...]:
        """Names of the measures with one of these roles, in the file's order."""
        return tuple(name for name, rule in self.measures.items() if rule.role in roles)

    def for_refresh(self) -> "GatePolicy":
        """The policy of a corpus refresh: the primary becomes a guardrail with its own margin.

        Newer documents with the same prompt and model are no improvement that has to be proved;
        they must only do no harm.
        """
        if self.mode == "refresh":
            return self
        changes = {"role": "guardrail", "min_effect": 0.0}
        measures = {
            name: rule.model_copy(update=changes) if rule.role == "primary" else rule
            for name, rule in self.measures.items()
        }
        changed = self.model_copy(update={"mode": "refresh", "measures": measures})
        return GatePolicy.model_validate(changed.model_dump())


def load_policy(path: Path) -> GatePolicy:
    """Read `configs/gate.yaml`.

    Raises:
        ConfigError: the file is missing or wrong; the message names each wrong line.
    """
    return load_settings(path, GatePolicy)
