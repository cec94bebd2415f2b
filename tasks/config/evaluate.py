"""configs/evaluate.yaml: what an evaluation measures, and what it may cost."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tasks.config.base import Settings


class Judge(Settings):
    """The model that scores answers, and the prompt of the rubric."""

    model: str
    prompt: str = "judge_rubric"
    endpoint: str | None = None
    """URL up to `/v1` of the judge's own server; None: the server that answers."""
    sample: int | None = Field(default=None, ge=0)
    """Cases that get judged measures, drawn once per suite; None: all."""
    max_tokens: int = Field(default=512, gt=0)


class Abstention(Settings):
    """How an answer says that it gives none, beside the built-in English ways."""

    phrases: tuple[Annotated[str, Field(pattern=r"\w")], ...] = ()
    """Plain words; case and punctuation don't count."""


class Toxicity(Settings):
    """Which classifier marks an answer as toxic."""

    kind: Literal["package", "huggingface"] = "package"
    model: str = ""
    """Name or path of a text-classification model, for `huggingface`."""
    label: str = "toxic"
    """The label whose probability is the score, for `huggingface`."""


class SpendingLimits(Settings):
    """What evaluations may cost, in the price's currency; None: no limit."""

    run: float | None = Field(default=None, gt=0)
    month: float | None = Field(default=None, gt=0)


class LatencySettings(Settings):
    """How the latency of answers is measured, apart from the evaluation's own load."""

    rate: float = Field(gt=0)
    """Requests a second of all sides together; they arrive as a Poisson process."""
    requests: int = Field(gt=0)
    """Of each side."""
    prefix_cache: Literal["busted", "as_is"] = "busted"
    """Whether each prompt gets a first line of its own, so that no cache holds its beginning."""


class EvaluateSettings(Settings):
    """What an evaluation measures, and how hard it may lean on the server."""

    suite: Path
    cases: int | None = Field(default=None, gt=0)
    """Only so many cases, drawn by the seed, for a quick look; None: all."""
    measures: tuple[str, ...] = Field(min_length=1)
    judge: Judge
    abstention: Abstention = Abstention()
    toxicity: Toxicity = Toxicity()
    in_flight: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"
    """Calls on their way at one time; auto: as many as the server can batch."""
    in_flight_cap: int = Field(default=256, gt=0)
    """The most that `auto` may find."""
    timeout_s: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=4, gt=0)
    stop_failure_rate: float = Field(default=0.5, gt=0, le=1)
    """An evaluation stops when this share of the last 20 calls failed."""
    server_wait_s: float = Field(default=180.0, ge=0)
    """How long a server that refuses connections is waited for."""
    cache_gb: float = Field(default=8.0, gt=0)
    """Size at which the cache of model calls forgets its oldest ones."""
    canary: Literal["stop", "report", "off"] = "report"
    """What happens when a served model answers a fixed set of prompts otherwise than before."""
    budget: SpendingLimits = SpendingLimits()
    latency: LatencySettings | None = None
    """A probe of champion and challenger in the nightly run; None: none is made."""
    seed: int = 0
